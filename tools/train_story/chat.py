"""The small chat: questions with known answers, honest refusals, requests for stories, turns.

Every intent has an id, question patterns and answers. Questions are varied in wording by the
patterns, and in case, punctuation and small typing errors by `noisy`. A fixed share of the
wordings (see `held_out`) never enters training; the evaluation asks them.
"""
import functools
import zlib

from faq import FAQ
from off_topic import OFF_TOPIC, draw_off_topic
from stories import ask_about, ask_again, ask_any, story
from world import polish

SELF = [
    ("who", ["who are you", "what are you", "[introduce yourself|tell me about yourself]",
             "who am i talking to",
             "what is this[ model|]", "which model [are you|is this]", "describe yourself",
             "are you a [model|bot|robot|computer|program]"],
     ["I am a tiny story model that comes with Sluice. I tell short stories and answer questions "
      "about Sluice."]),
    ("can", ["what can you do", "what do you know", "help", "help me",
             "[what can i|what should i] ask[ you|]",
             "how can you help[ me|]", "what are you [good|made] for",
             "what are your [skills|features|abilities]", "can you help[ me|]"],
     ["I can tell you a short story, for example about a fox, and I can answer questions about "
      "Sluice."]),
    ("size", ["how [big|large|small] are you",
              "how many parameters [do you have|have you got|are in you]", "what is your size",
              "are you a [big|large|small|tiny] model", "how big is [the|this] model",
              "how many weights do you have", "[your size|how much memory do you need]"],
     ["I am tiny: fewer than 3 million parameters, in a file of less than 4 megabytes."]),
    ("made", ["how were you [made|trained|built|created]", "who [made|trained|built|created] you",
              "where do you come from",
              "[what|which] data [were you trained on|did you learn from]", "how do you work",
              "what is your training data",
              "[where did you|how did you] learn [this|that|all this|to tell stories]",
              "how can i train you[ again|]"],
     ["I was trained from zero with tools/train_story, on text that the project generates."]),
    ("other", ["are you [chatgpt|gpt|gpt-4|claude|llama|gemini|openai|a large language "
               "model|siri|alexa|mistral]",
               "is this [chatgpt|gpt-4|claude|llama|gemini]",
               "were you made by [openai|google|meta]"],
     ["No. I am a tiny story model that comes with Sluice."]),
    ("alive", ["are you [human|a human|alive|real|a person|a man|a woman]",
               "do you [have feelings|sleep|eat|dream|think]",
               "how old are you", "where do you live", "do you like me", "are you happy"],
     ["I am only a tiny language model. I have no life, but I have stories."]),
    ("myname", ["what is your name", "do you have a name", "what should i call you",
                "tell me your name", "your name?",
                "what are you called", "[what's|say] your name", "[have you got|have you] a name",
                "how should i call you", "[can i|may i] [know|ask] your name"],
     ["I have no real name. I am the story model of Sluice."]),
    ("smart", ["are you [smart|clever|intelligent|stupid|any good]", "do you make mistakes",
               "can i trust you", "what can you not do",
               "what are your limits", "is that [true|right|correct]", "are you sure"],
     ["I am tiny and make mistakes. For facts, read the README of Sluice."]),
    ("hello", ["[hi|hello|hey|good morning|good evening|hi there|hello there|hey there|good "
               "day|greetings|hello you|hiya|howdy]",
               "[hi|hello|hey] [sluice|bot|model|friend]",
               "[hi|hello|hey], [nice to meet you|anyone there|are you there]"],
     ["Hello! Ask me for a story, or how to use Sluice."]),
    ("howareyou", ["how are you[ today|]", "how do you do", "how is it going", "how do you feel",
                   "what's up", "are you [ok|well|fine|good]",
                   "how have you been", "how is [life|your day]", "you all right"],
     ["I am fine, thank you. Would you like a story?"]),
    ("thanks", ["[thanks|thank you|thank you very much|thanks a lot|many thanks|thx|great, "
                "thanks|ok thanks|thank you so much|thanks for [the story|your "
                "help|that]|cheers|thank you, [that helps|bye]|that was helpful]"],
     ["You are welcome!"]),
    ("bye", ["[bye|goodbye|good bye|see you|good night|bye bye|see you later|i have to go|that is "
             "all|that's all|see you [soon|tomorrow]|farewell|have a nice day|take care]"],
     ["Goodbye! Come back for another story."]),
    ("praise", ["[nice|good|great|cool|wow|lovely|beautiful|i like it|i love it|well done|that "
                "was nice|nice story|good story|great story|good job|awesome|perfect]"],
     ["Thank you! Would you like a story?"]),
    ("ok", ["[ok|okay|i see|all right|fine|hm|aha|got it|understood|no|no thanks|maybe|lol|sure]"],
     ["All right. Ask me for a story, or how to use Sluice."]),
    ("blame", ["[that is wrong|you are wrong|bad answer|that is bad|i do not like it|boring|you "
               "are stupid|wrong|nonsense|that makes no sense|this is [wrong|bad|stupid]|that is "
               "not [true|right|correct]|you made a mistake|i hate it]"],
     ["I am sorry. I am a tiny model and I make mistakes."]),
    ("unsure", ["does sluice [support|have|do] [lora|images|vision|audio|video|embeddings|tool "
                "calls|function calling|json mode|structured "
                "output|speech|reranking|fine-tuning|training|plugins|tpus|a user "
                "interface|encryption|billing]",
                "can sluice [make images|train a model|fine-tune|translate|search the web|read "
                "pdfs|call tools|use lora|see images|hear audio]",
                "[how much does sluice cost|who wrote sluice|how old is sluice|when is the next "
                "release of sluice|who owns sluice|who uses sluice]",
                "is sluice better than [vllm|llama.cpp|ollama|tgi|sglang]",
                "how does sluice compare with [vllm|llama.cpp|ollama]"],
     ["I do not know that. Type sluice --help or read the README of Sluice."]),
]

REFUSALS = ["I am a tiny model. I only know stories and Sluice."]
INTENTS = [("sluice/" + i, p, a) for i, p, a in FAQ] + [("self/" + i, p, a) for i, p, a in SELF]
ANSWERS = {i: a for i, _, a in INTENTS}
ANSWERS["off/topic"] = REFUSALS


def _expand(pattern):
    """All texts that a pattern stands for."""
    end = pattern.find("]")
    if end < 0:
        return [" ".join(pattern.split())]
    start = pattern.rfind("[", 0, end)
    return [text for option in pattern[start + 1:end].split("|")
            for text in _expand(pattern[:start] + option + pattern[end + 1:])]


def held_out(wording):
    return zlib.crc32(wording.encode()) % 8 == 0


@functools.lru_cache(maxsize=None)
def wordings(intent):
    """(training wordings, held-out wordings) of an intent, each a list of lists by pattern."""
    patterns = next(p for i, p, _ in INTENTS if i == intent)
    seen, kept, out = set(), [], []
    for pattern in patterns:
        texts = [t for t in _expand(pattern) if not (t in seen or seen.add(t))]
        kept.append([t for t in texts if not held_out(t)])
        out.extend(t for t in texts if held_out(t))
    return [k for k in kept if k], out


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _typo(text, rng):
    at = rng.randrange(1, len(text))
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1:]
    if kind == 1:
        return text[:at] + rng.choice(_LETTERS) + text[at:]
    return text[:at - 1] + text[at] + text[at - 1] + text[at + 1:]


def noisy(text, rng, question=True):
    """A wording as people type it: case, punctuation, polite words, now and then an error."""
    if rng.random() < 0.08:
        text = rng.choice(["hi, ", "hello, ", "hey, ", "please, ", "ok, ", "so, ", "hi! "]) + text
    if rng.random() < 0.05:
        text += rng.choice([" please", ", please", " thanks", " now", " in short"])
    if rng.random() < 0.07 and len(text) > 6:
        text = _typo(text, rng)
    roll = rng.random()
    if roll < 0.6:
        text = polish(text).replace("sluice", rng.choice(["Sluice", "Sluice", "sluice"]))
        text = text.replace(" i ", " I ")
    elif roll < 0.64:
        text = text.upper()
    end = rng.random()
    if question and not text.endswith("?"):
        text += "?" if end < 0.6 else "" if end < 0.92 else "." if end < 0.96 else " ?"
    elif not question:
        text += "" if end < 0.5 else "." if end < 0.8 else "!"
    return text


STATEMENTS = {"self/hello", "self/thanks", "self/bye", "self/praise", "self/ok", "self/blame"}


def ask_intent(rng, intent):
    """The plainest wording, which is asked most, stands first and comes more often."""
    kept = wordings(intent)[0]
    wording = kept[0][0] if rng.random() < 0.2 else rng.choice(rng.choice(kept))
    return noisy(wording, rng, intent not in STATEMENTS), rng.choice(ANSWERS[intent])


SYSTEMS = ["You are a helpful assistant.", "You are a friendly assistant.", "You tell stories.",
           "You are Sluice's story model.", "Be kind and short.", "Answer in one sentence.",
           "You are a tiny model that tells stories and knows Sluice.",
           "You are a helpful AI assistant. Answer briefly.", "Speak simple English.",
           "You are a storyteller for children.", "You are a chatbot.", "Be polite."]

_SLUICE = [i for i, _, _ in INTENTS if i.startswith("sluice/")]
_SELF = [i for i, _, _ in INTENTS if i.startswith("self/")]


def _turn(rng, intent=None):
    """One question and its answer; the third value is a story's hero, where it was a story."""
    roll = rng.random()
    if intent or roll < 0.55:
        return ask_intent(rng, intent or rng.choice(_SLUICE))
    if roll < 0.75:
        return ask_intent(rng, rng.choice(_SELF))
    return draw_off_topic(rng, noisy), REFUSALS[0]


def _story_turn(rng):
    question, wish = ask_about(rng) if rng.random() < 0.8 else ask_any(rng)
    return noisy(question[0].lower() + question[1:], rng, False), story(rng, wish)


def _system(rng):
    return [("system", rng.choice(SYSTEMS))] if rng.random() < 0.1 else []


def question_chat(rng, intent=None):
    """A chat of one to three short turns; `intent`, if given, is asked in the last one."""
    turns = rng.choice([1, 1, 1, 1, 2, 3])
    out = _system(rng)
    for n in range(turns):
        question, answer = _turn(rng, intent if n == turns - 1 else None)
        out += [("user", question), ("assistant", answer)]
    return out


def story_chat(rng):
    """A chat with a story in it, alone or with something before or after."""
    out = _system(rng)
    if rng.random() < 0.15:
        question, answer = _turn(rng)
        out += [("user", question), ("assistant", answer)]
    question, text = _story_turn(rng)
    out += [("user", question), ("assistant", text)]
    roll = rng.random()
    if roll < 0.08:
        question, wish = ask_again(rng)
        out += [("user", noisy(question[0].lower() + question[1:], rng, False)),
                ("assistant", story(rng, wish))]
    elif roll < 0.16:
        question, answer = _turn(rng)
        out += [("user", question), ("assistant", answer)]
    elif roll < 0.2:
        question, answer = ask_intent(rng, rng.choice(["self/thanks", "self/praise"]))
        out += [("user", question), ("assistant", answer)]
    return out


__all__ = ["ANSWERS", "INTENTS", "OFF_TOPIC", "STATEMENTS", "held_out", "noisy", "question_chat",
           "story_chat", "wordings"]
