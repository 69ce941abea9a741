"""Plots that turn on the world: places, weather, work, plants, journeys, dreams."""

PLOTS = [
    ("grow_seed", "", "try", [
        "{g.intro} gave {h} a small seed. \"[Put it in the ground and give it water|Take good "
        "care of it],\" said {g}.",
        "{h} put the seed in the ground. {h.he} watered it and sat down to wait. [Nothing "
        "happened.|But nothing came up.]",
        "\"[Grow, seed, grow!|Why do you not grow?]\" said {h}. {h.he} [sang to it|looked every "
        "hour]. \"[You must be patient|Good things need time],\" said {g}.",
        "{h} watered it every day. [It rained and the sun came out.|Days went by.] Then one "
        "morning {h} saw [something green|a tiny leaf]!",
        "The plant grew and grew. It grew as tall as {h}. [Soon there were flowers.|Bees came to "
        "visit.] And then there were big {fruit}!",
        "\"[Look, {g}! I did it!|It worked!]\" shouted {h}. They [ate some of the {fruit}|picked "
        "the {fruit}] and gave the rest to [{f.intro}|{w.intro}].",
        "{h} kept [one seed|{num} seeds] for next year.",
    ]),
    ("build_it", "pf", "try", [
        "{h} and {h.his} friend {f.full} wanted to make {build} {p.at}. \"[It will be the best "
        "one in the world|This will be fun],\" said {f}.",
        "They worked all morning. {h} brought [wood|stones|sticks] and {f} [held things in "
        "place|put the parts together]. [But then it fell down. Crash!|Then the wind came and "
        "blew it down.]",
        "{f} was [angry|sad]. \"[I do not want to do this any more|We cannot do it],\" said {f}.",
        "\"[Let us think|Let us try another way],\" said {h}. {w.intro} stopped to look. \"[Start "
        "with a strong floor|Put the big ones at the bottom],\" said {w}.",
        "They began again. This time they were [slow and careful|careful with each part]. When "
        "the sun went down, it was done. [And it did not fall.|It stood straight and strong.]",
        "\"We made {build}!\" they cheered. They sat down next to it and ate {foods}[ while the "
        "stars came out|].",
    ]),
    ("storm", "p", "home", [
        "{h} was playing {p.at}. The sky turned [dark|gray]. [Boom! There was thunder.|A cold "
        "wind began to blow.]",
        "\"[I must go home|It is going to rain],\" said {h}. Big drops fell[, first one, then "
        "many|]. Soon {h.he} was all wet.",
        "{h} saw {t.intro} [shaking under a leaf|crying in the rain]. \"[Come with me|I will take "
        "you to a dry place],\" said {h}. {h.he} put {t} [under {h.his} coat|on {h.his} back].",
        "They ran and ran. [The wind pushed them back.|A tree fell across the way.] But {h} [did "
        "not stop|held on to {t}].",
        "At last they saw a light. It was {h.his} home! {g.intro} stood at the door. \"[Come in, "
        "come in!|I was so worried!]\" called {g}.",
        "{g} gave them [warm blankets|dry towels] and hot {dish}. {t} [stopped shaking|fell "
        "asleep by the fire]. [The storm was loud, but inside it was warm.|Outside it was still "
        "raining.]",
        "In the morning the sun came out, and there was a rainbow over {p}.",
    ]),
    ("trip", "p", "glad", [
        "{h} had never been to {p}. [All week {h.he} asked about it.|{h.he} could not wait to see "
        "it.] \"Today we will go,\" said {g.intro}.",
        "They packed {foods} and {dish}. {h} also took {h.his} {o.full}. The way was long, but "
        "{h} [sang all the way|looked at everything].",
        "Then they were there. \"[Wow|Oh]! [It is so big!|It is so beautiful!]\" said {h}. {h.he} "
        "[ran in circles|did not know where to look first].",
        "{h} saw {t.intro} and said hello. They played {game} {p.at}. [{g} sat down and watched "
        "them.|{g} played too.]",
        "At noon they ate the {foods}. {h} gave some to {t}. [Then {h} lay down and looked at the "
        "clouds.|Then they looked for shiny stones.]",
        "When the sun went down, it was time to go. {h} was [tired but happy|sleepy]. \"[Can we "
        "come again?|Can we come back soon?]\" asked {h}.",
        "\"[Of course|Yes, soon],\" said {g}, and carried {h.him} home.",
    ]),
    ("chores_first", "", "learn", [
        "{g.intro} said, \"{h}, please {chore}.\" But {h} wanted to play. \"[Later|I will do it "
        "tomorrow],\" said {h} and ran [outside|to {p}].",
        "The next day {g} asked again. \"[Later|Not now],\" said {h}. [And so it went on for "
        "{num} days.|And {h.he} played all day.]",
        "Then {f.intro} came to visit. \"[There is a big party at the lake|They are giving away "
        "{foods} in the village]! [Come with me!|Let us go!]\" said {f}.",
        "\"First you must {chore},\" said {g}. Now there was so much to do! {h} [cried|worked and "
        "worked]. \"I should have done it before,\" said {h}.",
        "{f} [felt sorry for {h.him}|rolled up {f.his} sleeves]. \"[I will help you|Two are "
        "faster than one],\" said {f}. They worked [hard|fast] and sang.",
        "They were done [just in time|before the sun went down]. They ran to the fun and "
        "[danced|ate] and laughed.",
        "From that day on, {h} did the work first and played after.",
    ]),
    ("wish_far", "p", "home", [
        "{h} wanted {wish}. [{h.he} thought about it day and night.|It was all {h.he} talked "
        "about.] \"I will go and look for it,\" said {h}.",
        "{h.he} packed a small bag and walked. {h.he} came to {p}. \"[Do you know the way?|Can "
        "you help me?]\" {h.he} asked {w.intro}.",
        "\"[Go on past the hill|Follow the river],\" said {w}. \"[But look well at what you leave "
        "behind.|And do not forget your way home.]\" {h} [did not understand|thanked {w.him} and "
        "walked on].",
        "{h} walked for {num} days. [{h.he} saw many things.|{h.he} met {t.intro} and shared "
        "{food} with {t.him}.] But at night {h.he} [was cold|missed {h.his} bed]. {h.he} missed "
        "{g.intro} most of all.",
        "One night {h} looked up. The stars were the same as at home. \"[I want to go home "
        "now|Home is the best place],\" said {h}.",
        "{h.he} turned around and [ran|walked fast]. {g} stood in front of the house. \"[Did you "
        "find it?|What did you find?]\" asked {g}.",
        "\"I found [the way home|out where I want to be],\" said {h}, and {g} [hugged "
        "{h.him}|smiled].",
    ]),
    ("cooking", "f", "share", [
        "It was a {weather} day. {h} wanted to make {dish}. {h.he} had never done it before. \"[I "
        "can do it alone|It cannot be hard],\" said {h}.",
        "{h} put in [flour|milk|water], and salt, and more salt. [Oh dear!|Oops!] It [smelled "
        "bad|tasted awful|ran over the pot].",
        "{f.intro} looked in. \"[What are you doing?|What is that smell?]\" asked {f}. \"I am "
        "making {dish}, but [it is all wrong|I do not know how],\" said {h}.",
        "\"[Let us ask for help|Let us do it together],\" said {f}. {g.intro} showed them how. "
        "{f} [stirred|washed the bowl] and {h} [counted the spoons|added the {foods}].",
        "[Soon the house smelled so good.|They waited and waited.] At last it was ready. [The "
        "{dish} was warm and good.|It was the best {dish} ever.]",
        "There was so much that they could not [eat|finish] it all. \"Let us share it,\" said "
        "{h}. They gave some to {w.intro} and to {t.intro}.",
        "Everyone [asked for more|said it was very good], and {h} was proud.",
    ]),
    ("star_falls", "p", "kind", [
        "One night {h} saw a light fall from the sky. It came down {p.at}. {h} [put on {h.his} "
        "coat|got up] and went to look.",
        "There, {hide}, was a little star. It was crying. \"[I fell down|I want to go home to the "
        "sky],\" said the star.",
        "{h} picked it up. It was [warm|soft]. \"[I will help you|I will take you home],\" said "
        "{h}. {h.he} [climbed the highest tree|went up the highest hill], but the sky was still "
        "too far.",
        "{h} asked {w.intro}. \"[A star can fly when it is happy|A star is light when it "
        "laughs],\" said {w}.",
        "So {h} [told a joke|sang a funny song|told it a story]. The star began to "
        "[giggle|laugh]. It [got brighter and brighter|rose from {h.his} hand]. Up and up it went!",
        "\"Thank you, {h}!\" called the star. [It winked at {h.him}.|Soon it was back with the "
        "others.]",
        "Every night, {h} looks up, and one star [shines a little brighter|winks] just for "
        "{h.him}.",
    ]),
    ("dream_trip", "o", "glad", [
        "{h} went to bed with {h.his} {o.full}. {h.he} closed {h.his} eyes, and then something "
        "strange happened. {dream}!",
        "\"[Am I dreaming?|What is this?]\" asked {h}. {w.intro} came by in a [tiny boat|flying "
        "hat]. \"[Get in|Come with me],\" said {w}.",
        "They flew over {p} and over {p2}. {h} saw [a dancing {t.noun}|a {t.noun} with a {color} "
        "hat|a {color} moon]. [{h} laughed so much.|It was so funny.]",
        "Then [the boat shook|the wind blew hard], and {h} dropped the {o}. It fell down, down, "
        "down. \"My {o}!\" cried {h}. {h.he} jumped after it.",
        "Bump! {h} fell out of bed. The {o} was right there [on the floor|next to {h.him}]. "
        "{g.intro} came in. \"[Did you have a dream?|Are you all right?]\" asked {g}.",
        "\"[I was flying|It was the best dream],\" said {h}. {h.he} told {g} about all of it[ "
        "while they had {dish}|].",
    ]),
    ("party", "f", "glad", [
        "It was {h.his} birthday. But no one said a word about it. {f.intro} walked by and [only "
        "waved|said nothing].",
        "{g.intro} said, \"[Please go and get some water|Please go for a walk].\" \"[Does nobody "
        "know what day it is?|Did they all forget?]\" thought {h}. {h.he} was [sad|very quiet].",
        "{h} went to {p} and sat down. {h.he} [threw stones|kicked the leaves|counted the "
        "clouds]. {t.intro} came and said, \"[You should go home now.|Come, I must show you "
        "something.]\"",
        "{h} walked home [slowly|with a long face]. It was [dark|very quiet] inside. {h.he} "
        "opened the door.",
        "\"Surprise!\" shouted everyone. There were {color} balloons and a big cake. {f} [had "
        "made a song|held {o.a} in {f.his} hands]. \"[We did not forget you,|Happy birthday, "
        "{h}!]\" said {f}.",
        "{h} [laughed and cried at the same time|did not know what to say]. They played {game} "
        "and ate {foods} until [late|the moon came out].",
    ]),
    ("clean_place", "pf", "kind", [
        "{h} loved {p}. But one day it was [dirty|full of trash]. There were [old cans and "
        "paper|bottles and bags] all around.",
        "\"[Who did this?\" asked {h}|This is so ugly,\" said {h}]. {t.intro} [had a bag on "
        "{t.his} head|was "
        "stuck in an old can]. {h} helped {t.him} out. \"[We have to do something|This must "
        "stop],\" said {h}.",
        "{h} began to pick things up. It was [hard work|too much for one]. {f.intro} came by. "
        "\"[What are you doing?|Why do you work so hard?]\" asked {f}.",
        "\"I am cleaning {p},\" said {h}. {f} [thought about it|looked around] and began to help. "
        "Then {w.intro} came to help, and others too.",
        "They worked until the evening. [There were {num} full bags.|Now {p} was clean again.] "
        "The [flowers|grass] looked [bright|fresh] and the birds sang.",
        "They made a sign. It said, \"[Please keep this place clean.|Be kind to this place.]\" "
        "And everyone did.",
    ]),
    ("too_much", "", "learn", [
        "{h} loved {foods}. One day {g.intro} made a big bowl of {foods}. \"[Take only "
        "{food}|They are for the party tonight],\" said {g}.",
        "But when {g} was away, {h} ate {food}. Then {h.he} ate another one. And another one! "
        "[Soon the bowl was empty.|{h} could not stop.]",
        "\"[Oh, my tummy!|I feel so bad!]\" cried {h}. {h.he} lay down and [held {h.his} "
        "tummy|did not want to move].",
        "{g} came back and saw the bowl. {g.he} was not loud. \"[What happened here?|Did you eat "
        "them all?]\" asked {g}. {h} [nodded|looked at the floor]. \"I am sorry,\" said {h}.",
        "\"[Too much of a good thing is not good|Now there are none for our guests],\" said {g}. "
        "\"[What can we do?|How can we make it right?]\"",
        "When {h} felt better, {h.he} helped {g} make new ones. [It took all day.|It was a lot of "
        "work.] At the party {h} gave {foods} to everyone, and ate just one.",
    ]),
    ("snow_day", "f", "share", [
        "{h} woke up and looked out of the window. Everything was white. \"Snow!\" shouted {h}. "
        "{h.he} ran outside [with {h.his} {o.full}|without a hat].",
        "{f.intro} was there too. They [threw snowballs|rolled in the snow] and made a big "
        "snowman. It had a carrot nose and {h.his} [old hat|{color} scarf].",
        "Then they saw {t.intro}. {t} was [cold|hungry] and could not find any food in the snow. "
        "\"[Everything is under the snow|I have nothing to eat],\" said {t}.",
        "{h} looked at {f}. \"[The snowman does not need his nose|We have so much at home],\" "
        "said {h}. They gave {t} the carrot and [some {foods}|some bread].",
        "{t} ate it all up. {g.intro} called them in and made hot {dish}. \"[Bring your little "
        "friend too|There is room for {t} by the fire],\" said {g}.",
        "They sat by the fire and told stories. Outside, the snow fell [softly|without a sound].",
    ]),
    ("painting_prize", "p", "try", [
        "There was a painting show in the village. {h} wanted to paint {p}. {h.he} took {color} "
        "paint and a big sheet of paper.",
        "{h} painted for a long time. Then {t.intro} [ran over the paper|fell into the paint and "
        "jumped on the paper]. There were little {color} feet all over the picture!",
        "\"[My picture!|Oh no, it is ruined!]\" cried {h}. {t} was [very sorry|scared]. \"I did "
        "not want to do that,\" said {t}.",
        "{h} looked at the picture again. The little feet looked like [flowers|birds|stars]. "
        "\"[Wait|Look],\" said {h}. \"[Do it again!|Can you make more?]\" And {t} danced all over "
        "the paper.",
        "At the show everyone stopped in front of it. \"[Who made this wonderful picture?|"
        "How did you do that?]\" asked {w.intro}. {h} and {t} won the first prize.",
        "\"[A mistake can be the start of something good|We made it together],\" said {h}.",
    ]),
]
