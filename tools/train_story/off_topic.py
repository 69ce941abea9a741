"""Questions that the model must not pretend to answer: the honest reply is always the same."""
from world import draw

_COUNTRIES = """France Spain Italy Germany Japan China India Brazil Canada Mexico Egypt Kenya Peru
Chile Norway Sweden Poland Greece Turkey Russia Cuba Iran Iraq Ireland Finland Austria Nepal Ghana
Mali """.split()
_CITIES = """Paris London Berlin Rome Madrid Tokyo Delhi Cairo Lima Oslo Boston Chicago
Sydney""".split()
_PEOPLE = """Einstein|Newton|Napoleon|Shakespeare|Mozart|Gandhi|Picasso|Darwin|Plato|Lincoln|Caesar
|Cleopatra|Beethoven|Bach|Galileo|the president|the pope|the prime minister|Marie Curie|Tesla
""".replace("\n", "").split("|")
_SCIENCE = """gravity|a black hole|an atom|photosynthesis|the speed of light|dna|evolution
|electricity|a vaccine|global warming|quantum physics|inflation|democracy|philosophy|a prime number
|an integral|entropy|blockchain|bitcoin|kubernetes|docker|linux|python|javascript|a compiler
|machine learning|a neural network|a transformer|a database|an api|http|tcp|git|rust|html|sql|vllm
|ollama|llama.cpp|a gpu|a mutex|recursion|love|life|happiness|money|the moon made of|a volcano
|a tsunami|the ozone layer|a virus|cancer|the heart|the brain|the economy|a mortgage|yoga|jazz
|opera|football|chess|cricket""".replace("\n", "").split("|")
_THINGS = """car phone laptop house bike job camera book movie song game shoe pizza coffee tea wine
dress garden dog cat bread soup cake plane hotel ticket bank tax visa passport engine battery
""".split()
_VERBS = """cook|fix|buy|sell|clean|paint|make|build|draw|wash|repair|choose|find|design|grow|plan
""".replace("\n", "").split("|")

OFF_TOPIC = [
    "what is the capital of {country}", "who is the [president|king|queen|leader] of {country}",
    "[where is|how big is|how many people live in|what language do they speak in] {country}",
    "[what is the weather|how is the weather|will it rain] in {city}[ today| tomorrow|]",
    "how far is it from {city} to [the moon|Rome|the sea|New York]", "what time is it[ in {city}|]",
    "who [was|is] {person}", "when was {person} born", "what did {person} do",
    "when did {person} die",
    "[what is|explain|define|tell me about|how does|why is] {science}[ work|]",
    "[what is|explain] {science} in simple words", "why do we need {science}",
    "what is {a} [plus|+|times|*|minus|-|/|divided by] {b}", "{a}+{b}", "{a} * {b}",
    "calculate {a} - {b}",
    "what is the [square root|half|double] of {a}", "solve [x|y] + {a} = {b}",
    "is {a} a prime number",
    "count [from|to] {a}", "[convert|how much is] {a} [dollars|euros|miles|pounds] [to|in] "
    "[euros|dollars|km|kilos]",
    "[write|give me|show me] [a|some] [python|java|c++|rust|sql|bash|javascript] "
    "[code|program|function|script]",
    "[write|make] a [function|program|script|loop] [that sorts a list|that adds two numbers|in "
    "python|in c|for me]",
    "[write|make] [an email|a letter|an essay|a poem|a song|a cv|a report|a haiku|a tweet] [to my "
    "boss|about {thing}s|for me|]",
    "translate [this|hello|good morning|water|i love you] to "
    "[french|german|spanish|chinese|japanese]",
    "how do you say [hello|dog|water|thanks] in [french|german|spanish|italian]",
    "how do i {verb} a {thing}", "what is the best {thing}", "which {thing} should i buy",
    "how much does a {thing} cost",
    "where can i buy a {thing}", "can you {verb} [me |]a {thing}", "is a {thing} good for me",
    "do you have a {thing}",
    "who [won|will win] the [world cup|game|election|match|race]",
    "what is the [news|date|day|year][ today|]",
    "[what is the meaning of life|why is the sky blue|why is grass green|how do birds fly|how do "
    "planes fly|why do cats purr]",
    "[recommend|suggest] a [movie|book|song|restaurant|game|hotel]",
    "[should i|can i|may i] [invest|sleep|eat more|move|marry|quit my job]",
    "i [feel sick|have a headache|am sad|am bored|am tired|lost my job|need money|hate this]",
    "what should i [eat|wear|do|cook|read|watch|buy] [today|tonight|tomorrow]",
    "[how tall|how old|how fast|how heavy] is [a giraffe|the sun|the earth|mount everest|an "
    "elephant|light|a train]",
    "how many [planets|stars|bones|days|legs|teeth|countries|hours] are [there|in a year|in the "
    "world]",
    "who [wrote|painted|invented|discovered|built] [hamlet|the mona lisa|the "
    "telephone|america|the pyramids|the radio|the internet|penicillin]",
    "what [color|animal|food|number|movie|music] do you [like|prefer|love]",
    "what is your favorite [color|food|movie|book|song]",
    "[play|sing] [a song|music|some jazz]",
    "[open|close|turn on|turn off|start] the [door|light|window|radio|tv]",
    "[summarize|correct|check|rewrite|shorten] this [text|sentence|article|email|code]",
    "what is {a} percent of {b}", "spell [banana|necessary|elephant|rhythm]",
    "what rhymes with [cat|moon|orange|tree]",
    "[do my homework|book a flight|call my mom|order a pizza|set an alarm|send an email|search "
    "the web]",
    "[asdf|qwerty|blah blah|foo bar|lorem ipsum|xyz|aaaa|test test|{a}|foo|abc def|1 2 3]",
    "what happened in {year}", "who was born in {year}", "what is the population of {city}",
    "[tell me|what is] [a fact|the truth|a secret|the news|the answer]", "are there aliens",
    "is there a god",
    "what does [a {thing}|{person}] look like", "[what|how] about {science}",
    "the {thing} is [broken|too old|lost]",
    "[wie geht es dir|bonjour|hola|was ist das|comment ca va|que tal|guten tag|ciao|ni hao]",
]


def draw_off_topic(rng, noisy):
    text = draw(rng.choice(OFF_TOPIC), rng)
    slots = {"country": rng.choice(_COUNTRIES), "city": rng.choice(_CITIES),
             "person": rng.choice(_PEOPLE), "science": rng.choice(_SCIENCE),
             "thing": rng.choice(_THINGS), "verb": rng.choice(_VERBS),
             "a": str(rng.randrange(2, 200)), "b": str(rng.randrange(2, 200)),
             "year": str(rng.randrange(1200, 2030))}
    text = " ".join(text.format(**slots).split())
    if rng.random() < 0.3:
        text = text.lower()
    return noisy(text, rng)
