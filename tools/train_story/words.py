"""Word lists of the story world. Plain data; every list feeds one slot of the plots.

Whatever a story must carry along (names, beings, things, places) comes from a short list on
purpose: with two hundred names instead of thirty the model did not learn, on the same budget, to
stay with the one it began with.
"""

GIRL_NAMES = """Lily Mia Anna Emma Lucy Sara Rosie Ella Molly Zoe""".split()

BOY_NAMES = """Tom Ben Max Sam Jack Leo Tim Finn Noah Luke""".split()

ANIMAL_NAMES = """Pip Coco Momo Dot Hop Patch Pepper Chip Star Teddy""".split()

ANIMALS = """dog cat fox bear rabbit mouse owl frog duck pig cow horse sheep turtle squirrel
hedgehog wolf lion elephant monkey penguin whale fish bird dragon unicorn puppy kitten""".split()

# (noun, pronoun); the noun is both how the story says it and how a reader asks for it
PEOPLE = [("girl", "she"), ("boy", "he"), ("farmer", "he"), ("king", "he"), ("queen", "she"),
          ("princess", "she"), ("prince", "he"), ("pirate", "he"), ("knight", "he"),
          ("wizard", "he"), ("robot", "he"), ("giant", "he"), ("fairy", "she")]

SMALL = "little small tiny young".split()
TRAITS = """brave kind shy clever curious happy quiet funny lazy proud lonely sleepy""".split()
FRIEND_TRAITS = "kind clever funny brave shy cheerful".split()

COLORS = "red blue green yellow white black".split()
OBJ_ADJS = COLORS + "shiny soft big small new old pretty round special tiny wooden striped".split()

# things that a child or an animal can own, carry, lose, find, share, mend or give
OBJECTS = """ball kite doll boat drum book hat scarf box bell basket balloon umbrella lamp key ring
shell car train robot""".split()

FOODS = [("cookies", "a cookie"), ("apples", "an apple"), ("berries", "a berry"),
         ("carrots", "a carrot"), ("nuts", "a nut"), ("cupcakes", "a cupcake")]
DISHES = """soup stew pie bread pudding pizza""".split()

# (how it is called, preposition for being there)
PLACES = [("the park", "in"), ("the forest", "in"), ("the garden", "in"), ("the beach", "on"),
          ("the farm", "on"), ("the village", "in"), ("the meadow", "in"), ("the hill", "on"),
          ("the river", "by"), ("the lake", "by"), ("the sea", "by"), ("the zoo", "at"),
          ("the market", "at"), ("the school", "at"), ("the castle", "in"), ("the moon", "on")]
OUTDOORS = """the park|the forest|the garden|the beach|the farm|the village|the meadow|the hill
|the river|the lake|the sea""".replace("\n", "").split("|")

HOMES = """in a small house|in a green valley|near a big forest|by the sea|in a little village
|on a quiet farm|under an old oak tree|at the edge of the woods|in a cozy cottage|near a blue lake
|on top of a hill|beside a river|in a sunny town|in a big city|at the end of a long road
|behind a tall hill|in a warm little home|next to a mill|on a small island|near the mountains
""".replace("\n", "").split("|")

HIDING = """under the bed|behind a big tree|in the tall grass|under a bush|behind the door
|inside an old box|under a pile of leaves|behind a rock|at the bottom of a basket|under the table
|in a hole in the ground|between two stones|up in a tree|behind the fence|under the stairs
|in the sand|next to the well|under a blanket""".replace("\n", "").split("|")

WISE = """owl turtle badger crow goose donkey""".split()
WISE_PEOPLE = [("woman", "she"), ("man", "he")]
TINY_ANIMALS = """bird mouse kitten puppy frog snail duckling rabbit bee squirrel""".split()
SCARY = "wolf bear crow cat goose dog".split()

GAMES = """hide and seek|tag|catch|a jumping game|a guessing game|a counting game|a singing game
|follow the leader|a racing game""".replace("\n", "").split("|")
SKILLS = [("swim", "swimming", "in the water"), ("fly a kite", "flying", "in the wind"),
          ("ride a bike", "riding", "on the path"), ("climb", "climbing", "up the tree"),
          ("sing", "singing", "in front of the others"), ("dance", "dancing", "on the grass"),
          ("whistle", "whistling", "by the fence"), ("paint", "painting", "at the table"),
          ("skate", "skating", "on the ice"), ("juggle", "juggling", "in the yard"),
          ("read", "reading", "in a big book"), ("jump high", "jumping", "over the log"),
          ("bake bread", "baking", "in the kitchen"), ("play the drum", "drumming", "by the fire"),
          ("count to one hundred", "counting", "on the steps")]
CHORES = """sweep the floor|water the flowers|wash the dishes|feed the hens|pick up the leaves
|carry the wood|clean the room|fold the clothes|rake the garden|set the table|paint the fence
|bring the milk""".replace("\n", "").split("|")
FLOWERS = "rose tulip daisy sunflower".split()
SEEDS = [("pumpkin", "pumpkins"), ("sunflower", "sunflowers"), ("bean", "beans"),
         ("carrot", "carrots"), ("tomato", "tomatoes"), ("melon", "melons"), ("rose", "roses"),
         ("apple", "apples")]
SOUNDS = """a soft cry|a loud splash|a strange sound|a tiny voice|a funny squeak|a low hum
|a sad song|a gentle tap|a quiet sob|a long howl""".replace("\n", "").split("|")
NOISES = """the wind in the trees|a branch on the window|an old gate|a hungry kitten
|rain on the roof|a loose shutter|a little frog|a sleepy owl""".replace("\n", "").split("|")
BUILDS = """a tree house|a snow fort|a sand castle|a little bridge|a raft|a bird house|a tent
|a swing|a small cart|a tower of stones|a toy ship|a stone wall""".replace("\n", "").split("|")
LIKES = """to play outside|to sing songs|to run fast|to look at the stars|to jump in puddles
|to eat berries|to read books|to climb trees|to paint pictures|to dance in the rain|to pick flowers
|to count clouds|to tell jokes|to build things|to swim|to collect shells|to help others
|to watch the birds|to sleep in the sun|to make new friends|to listen to stories|to ask questions
|to play hide and seek|to walk by the river|to roll down the hill|to chase butterflies
""".replace("\n", "").split("|")
WEATHERS = """sunny|warm|cold|windy|rainy|snowy|cloudy|bright|foggy|quiet""".split("|")
WISHES = """to see the sea|to touch a cloud|to visit the moon|to find a friend
|to hear the stars sing|to have a garden|to fly like a bird|to see snow|to be tall|to win a prize
|to find a rainbow|to meet a whale""".replace("\n", "").split("|")
DREAMS = """the moon was made of cheese|all the trees could talk|the sea was in the sky
|the clouds were made of wool|a whale lived in the pond|the stars came down to play
|everyone could fly|the hills rolled like waves|it rained warm honey""".replace("\n", "").split("|")
