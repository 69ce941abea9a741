"""Word lists of the story world. Plain data; every list feeds one slot of the plots."""

GIRL_NAMES = """Lily Mia Anna Emma Lucy Sara Rosie Ella Molly Ruby Zoe Nora Ivy Clara Daisy Amy
Jane Kate Maya Tina Lola Nina Ada Ellie Grace Hana Iris June Kira Leah Mary Olive Poppy Rita
Sofia Tara Uma Vera Wendy Yara Alice Bella Cora Dora Eva Fay Gina Holly Isla Jill Lena Mara Nell
Penny Rose Stella Thea Willa Zara""".split()

BOY_NAMES = """Tom Ben Max Sam Jack Leo Tim Finn Noah Luke Owen Adam Alex Theo Hugo Oscar Dan
Joe Eli Ravi Omar Kenji Paul Peter Mark Nick Otto Felix Jonas Liam Milo Ned Oliver Pablo Ron Sid
Toby Victor Will Yusuf Andy Bobby Carl David Emil Fred George Henry Ian Jim Kurt Lars Matt Neil
Phil Rob Simon Ted Walt Zack""".split()

ANIMAL_NAMES = """Pip Coco Bibi Momo Tilly Dot Fuzzy Nibbles Hop Patch Pepper Biscuit Button
Chip Cloud Clover Cookie Ember Fern Flick Ginger Hazel Honey Jumper Kiki Lulu Maple Misty Moss
Muffin Nutmeg Oreo Peanut Pebble Pickle Plum Pumpkin Puff Rusty Scout Shadow Silky Sky Snowy
Socks Spot Star Sunny Teddy Tiny Toffee Truffle Twig Velvet Waffle Whisper Willow Ziggy Zuzu
Bruno Boomer""".split()

ANIMALS = """dog cat fox bear rabbit mouse owl frog duck pig cow horse sheep goat hen turtle
squirrel hedgehog deer wolf lion tiger monkey elephant giraffe zebra penguin whale dolphin fish
crab snail bee butterfly ant spider robin parrot eagle swan goose beaver otter badger mole bat
donkey camel kangaroo koala panda seal octopus lizard dragon unicorn dinosaur puppy kitten lamb
pony bird crow sparrow chick duckling ladybug caterpillar hamster raccoon""".split()

# (noun, pronoun); the noun is both how the story says it and how a reader asks for it
PEOPLE = [("girl", "she"), ("boy", "he"), ("farmer", "he"), ("baker", "he"), ("king", "he"),
          ("queen", "she"), ("princess", "she"), ("prince", "he"), ("pirate", "he"),
          ("knight", "he"), ("wizard", "he"), ("witch", "she"), ("doctor", "she"),
          ("teacher", "she"), ("robot", "he"), ("giant", "he"), ("fairy", "she"),
          ("sailor", "he"), ("painter", "she"), ("gardener", "she"), ("fisherman", "he"),
          ("astronaut", "she"), ("clown", "he"), ("cook", "she"), ("shepherd", "he"),
          ("tailor", "he"), ("singer", "she"), ("pilot", "she"), ("elf", "he"),
          ("mermaid", "she"), ("snowman", "he"), ("baby", "she")]

SMALL = "little small tiny young".split()
TRAITS = """brave kind shy clever curious happy gentle quiet funny lazy proud careful cheerful
friendly silly grumpy lonely playful patient noisy hungry sleepy polite honest""".split()
FRIEND_TRAITS = "kind clever funny gentle quiet friendly brave playful shy cheerful".split()

COLORS = "red blue green yellow white orange purple pink brown golden silver black".split()
OBJ_ADJS = COLORS + "shiny soft big small new old pretty round special tiny wooden striped".split()

# things that a child or an animal can own, carry, lose, find, share, mend or give
OBJECTS = """ball kite doll boat drum book hat scarf blanket box bell basket balloon cup spoon
umbrella lamp button key coin ring shell stone feather flag puzzle car train truck robot puppet
teddy pillow sock boot coat ribbon whistle flute guitar clock mirror map bucket shovel rope
wheel wagon bicycle scooter sled necklace crown mask candle lantern pencil crayon brush picture
letter card jar bowl bottle bag backpack toy yo-yo marble""".split()

FOODS = [("cookies", "a cookie"), ("apples", "an apple"), ("berries", "a berry"),
         ("carrots", "a carrot"), ("nuts", "a nut"),
         ("muffins", "a muffin"), ("cherries", "a cherry"), ("plums", "a plum"),
         ("cupcakes", "a cupcake"), ("pears", "a pear"), ("sandwiches", "a sandwich"),
         ("peaches", "a peach"), ("grapes", "a grape"), ("strawberries", "a strawberry"),
         ("buns", "a bun"), ("tarts", "a tart"), ("oranges", "an orange")]
DISHES = """soup stew pie bread pudding porridge pizza rice noodles pancakes""".split()

# (how it is called, preposition for being there)
PLACES = [("the park", "in"), ("the forest", "in"), ("the garden", "in"), ("the beach", "on"),
          ("the farm", "on"), ("the village", "in"), ("the meadow", "in"), ("the hill", "on"),
          ("the mountain", "on"), ("the river", "by"), ("the lake", "by"), ("the pond", "by"),
          ("the sea", "by"), ("the zoo", "at"), ("the market", "at"), ("the school", "at"),
          ("the playground", "on"), ("the castle", "in"), ("the island", "on"),
          ("the city", "in"), ("the desert", "in"), ("the jungle", "in"), ("the cave", "in"),
          ("the barn", "in"), ("the library", "in"), ("the museum", "in"), ("the moon", "on"),
          ("the train station", "at"), ("the lighthouse", "in"), ("the valley", "in"),
          ("the snowy field", "in"), ("the orchard", "in"), ("the old mill", "at"),
          ("the bakery", "in"), ("the harbor", "at"), ("the circus", "at")]
OUTDOORS = """the park|the forest|the garden|the beach|the farm|the village|the meadow|the hill
|the mountain|the river|the lake|the pond|the sea|the island|the jungle|the valley|the snowy field
|the orchard|the playground""".replace("\n", "").split("|")

HOMES = """in a small house|in a green valley|near a big forest|by the sea|in a little village
|on a quiet farm|under an old oak tree|at the edge of the woods|in a cozy cottage|near a blue lake
|on top of a hill|beside a river|in a sunny town|in a big city|at the end of a long road
|behind a tall hill|in a warm little home|next to a mill|on a small island|near the mountains
""".replace("\n", "").split("|")

HIDING = """under the bed|behind a big tree|in the tall grass|under a bush|behind the door
|inside an old box|under a pile of leaves|behind a rock|at the bottom of a basket|under the table
|in a hole in the ground|between two stones|up in a tree|behind the fence|under the stairs
|in the sand|next to the well|under a blanket""".replace("\n", "").split("|")

WISE = """owl turtle badger crow goose donkey bear toad elephant horse hedgehog goat swan""".split()
WISE_PEOPLE = [("woman", "she"), ("man", "he"), ("farmer", "he"), ("gardener", "she"),
               ("fisherman", "he"), ("shepherd", "he"), ("baker", "she")]
TINY_ANIMALS = """bird mouse ladybug kitten puppy frog snail duckling rabbit chick bee squirrel
sparrow butterfly hedgehog lamb turtle""".split()
SCARY = "wolf fox bear crow cat goose dog snake hawk goat".split()

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
FLOWERS = "rose tulip daisy sunflower lily violet poppy bluebell".split()
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
