"""Plots that turn on a thing: lost, found, broken, shared, wanted, made, given away."""

# Each plot: name, what it features beside the hero ("o" thing, "p" place, "f" friend), how it
# may end (a theme of stories.ENDINGS), and its lines in the language of world.py.
PLOTS = [
    ("lost_thing", "op", "glad", [
        "{h} had {o.a}. [{h.he} loved the {o} very much.|It was {h.his} favorite thing.|{h.he} "
        "took it with {h.him} everywhere.]",
        "One [{weather} |]day, {h} went to {p}[ with the {o}|]. {h.he} [ran and played|walked "
        "around|looked at many things] for a long time.",
        "When {h} came home, the {o} was [gone|not there|missing]. \"[Oh no!|Where is it?] I lost "
        "my {o}!\" cried {h}.",
        "[{h.he} looked {hide}, but it was not there.|{h.he} looked {hide} and {hide2}, but "
        "{h.he} could not find it.]",
        "[{g} saw that {h} was sad.|{g} came and gave {h.him} a hug.] \"[Think|Try to "
        "remember],\" said {g}. \"[Where did you have it last?|Where did you play today?]\"",
        "\"{p.at}!\" said {h}. They [walked|went] back to {p} together.",
        "[They looked and looked.|They looked everywhere.] Then they met {t.intro}. \"[Are you "
        "looking for this?|Is this yours?]\" asked {t}.",
        "It was the {o.full}! [It had been {hide}.|{t} had found it {hide}.]",
        "\"[Thank you|Thank you so much],\" said {h}. {h.he} [hugged the {o}|held the {o} tight] "
        "and gave {t} {food}.",
    ]),
    ("found_thing", "op", "honest", [
        "One [{weather} |]day, {h} was walking {p.at}. {h.he} saw something [in the grass|on the "
        "ground|next to a stone].",
        "It was {o.a}. \"[What a nice {o}|How pretty],\" said {h}. \"[I want to keep it.|I wish "
        "it was mine.]\"",
        "But then {h} thought, \"[Someone must be missing this {o}.|This {o} belongs to "
        "someone.|Maybe someone is sad now.]\"",
        "{h} asked {w.intro}, \"[Is this your {o}?|Did you lose this?]\" \"No,\" said {w}. \"[Ask "
        "by the road.|Ask the others.|Keep asking.]\"",
        "{h} asked {t.intro} too, but {t} [shook {t.his} head|did not know].",
        "[At last|Then] {h} heard someone crying. It was {f.intro}. \"[Why do you cry?|What is "
        "wrong?]\" asked {h}.",
        "\"I lost my {o},\" said {f}. [{h} smiled.|{h} held it up.] \"[Here it is|This must be "
        "yours|Look what I found],\" said {h}.",
        "{f} was so happy that {f.he} [jumped up and down|laughed out loud|hugged {h}]. \"You are "
        "[honest|very kind],\" said {f}. \"[Do you want to play with me?|Let us play together!]\"",
        "They played with the {o} [all afternoon|until the sun went down].",
    ]),
    ("broken_thing", "of", "honest", [
        "{h} had a friend, {f.intro}. {f} had {o.a}[ and was very proud of it|].",
        "One day, {h} [wanted to see it|asked to hold it|played with it]. But the {o} [fell "
        "down|slipped from {h.his} hands] and broke.",
        "{h} [was scared|did not know what to do|felt very bad]. [No one had seen it.|{f} was not "
        "there.] {h} hid the {o} {hide}.",
        "Later, {f} asked, \"[Where is my {o}?|Have you seen my {o}?]\" {h} said, \"[I do not "
        "know.|I have not seen it.]\"",
        "But {h.his} tummy [hurt|felt funny]. {h.he} could not [sleep|eat|play]. {g} asked, "
        "\"What is wrong?\" and {h} told {g.him} [everything|the truth].",
        "\"[The truth is the best way|It is brave to tell the truth|You must tell {f}],\" said "
        "{g}.",
        "So {h} went to {f}. \"I broke your {o}. I am sorry,\" said {h}[ with tears in {h.his} "
        "eyes|].",
        "{f} was sad, but [not angry|then {f.he} smiled]. \"[Thank you for telling me|I am glad "
        "you told me],\" said {f}. \"[We can fix it.|Let us fix it together.]\"",
        "They used [glue|some tape and string|a nail and some paint], and soon the {o} was [as "
        "good as new|almost like new].",
    ]),
    ("share_thing", "of", "share", [
        "{h} had {o.a}. [It was new.|{g} had made it for {h.him}.] {h} did not want to share it.",
        "{f.intro} came and asked, \"[Can I play too?|May I try your {o}?]\" \"No! It is mine,\" "
        "said {h}.",
        "{f} [went away|walked away] with a sad face. {h} played alone. [But it was no fun.|After "
        "a while it was boring.]",
        "{h} saw {f} [sitting under a tree|sitting on a stone] all alone. {h.he} [thought about "
        "it|felt bad].",
        "[\"I would be sad too,\" thought {h}.|\"It is more fun with a friend,\" thought {h}.]",
        "{h} went to {f} and said, \"I am sorry. [You can have a turn.|Do you want to play with "
        "my {o}?]\"",
        "{f} [smiled|jumped up]. \"[Thank you!|Yes, please!]\" said {f}. They took turns with the "
        "{o}[ and laughed a lot|].",
        "[Then {f} shared {f.his} {foods}.|{f} had {foods} and gave half of them to {h}.]",
    ]),
    ("two_want_one", "of", "share", [
        "{h} and {h.his} friend {f.full} [were playing outside|were out for a walk] when they saw "
        "{o.a} [in the grass|on the path|next to a tree].",
        "\"I saw it first!\" said {h}. \"No, I did!\" said {f}. They both pulled at the {o}.",
        "[They pulled and pulled.|They shouted at each other.] Then {w.intro} came by. \"[Why are "
        "you so loud?|What is all this noise?]\" asked {w}.",
        "\"We both want the {o},\" said {h}. {w} thought for a [moment|while]. \"[Can you use it "
        "together?|What can you do with it together?]\" asked {w}.",
        "{h} looked at {f}, and {f} looked at {h}. \"[We could take turns|We could play {game} "
        "with it],\" said {f}.",
        "So {h} had the {o} [in the morning, and {f} had it in the evening|on sunny days, and {f} "
        "had it on rainy days]. [Soon they did not even count.|It worked very well.]",
        "\"[Two can have more fun than one|I like it better this way],\" said {h}, and {f} "
        "[nodded|laughed].",
    ]),
    ("make_gift", "o", "kind", [
        "It was [almost|nearly] {g.intro}'s birthday. {h} wanted to give {g.him} [something "
        "nice|a present], but {h.he} had no money.",
        "\"[What can I do?|What can I give?]\" asked {h}. {w.intro} heard {h.him}. \"[Make "
        "something with your own hands|The best gifts come from the heart],\" said {w}.",
        "{h} had an idea. {h.he} would make {o.a}. {h.he} [worked all day|worked for {num} days] "
        "and told no one.",
        "[First it looked funny.|The first one was not good.] {h} tried again. [{h.he} used wood, "
        "paper and paint.|{h.he} cut and painted and glued.]",
        "On the birthday, {h} said, \"[This is for you.|I made this for you.]\" {g} opened the "
        "[box|paper] and saw the {o}.",
        "\"You made this {o} yourself?\" asked {g}. {g.his} eyes [were wet|were shining]. \"It is "
        "the best gift of all!\"",
        "They [hugged|laughed] and ate {dish} together. {g} kept the {o} [for many years|next to "
        "{g.his} bed].",
    ]),
    ("lend_in_need", "op", "kind", [
        "{h} got {o.a} [from {g.intro}|for {h.his} birthday]. {h.he} was [so happy|very proud].",
        "{h} took it to {p} to [show it to everyone|play with it]. On the way {h.he} met "
        "{t.intro}. {t} was [crying|shaking|very sad].",
        "\"[What is the matter?|Why are you sad?]\" asked {h}. \"[I hurt my leg and cannot walk "
        "home|I am cold and I have no home|I lost my way and I am scared],\" said {t}.",
        "{h} looked at the {o}. [{h.he} had an idea.|Maybe the {o} could help.] \"[You may have "
        "my {o}|Take my {o} for tonight],\" said {h}.",
        "{t} [felt better at once|smiled for the first time]. {h} stayed with {t} until {t.his} "
        "mother came.",
        "The next day, {t} came back with the {o}[ and {food}|]. \"You helped me, so I want to "
        "help you,\" said {t}.",
        "From then on, [{h} and {t} were friends|the two met {p.at} every day].",
    ]),
    ("wind_takes", "op", "glad", [
        "One windy day, {h} took {h.his} {o.full} to {p}. [The wind was strong.|The clouds were "
        "moving fast.]",
        "[Whoosh!|Suddenly,] the wind took the {o} and carried it [up, up, up|high into the "
        "air|far away].",
        "\"Stop! [Come back!|That is my {o}!]\" shouted {h}. {h.he} ran after it. {h.he} ran past "
        "{p2}, but the {o} [flew on|did not stop].",
        "At last it [got stuck in a tall tree|came down on a roof|landed on a high branch]. {h} "
        "could not reach it. {h.he} [jumped and jumped|tried to climb], but it was too high.",
        "Then {t.intro} came by. \"[I can help you|Let me try],\" said {t}. \"[You are too "
        "small|But you are so little],\" said {h}.",
        "{t} [did not give up|only smiled]. {t.he} went up [step by step|very slowly], and gave "
        "the {o} a push. [Plop!|Bump!] It fell right down to {h}.",
        "\"You are small, but you are [so brave|a big help]!\" said {h}. {h} let {t} play with "
        "the {o} [all day|as long as {t.he} wanted].",
    ]),
    ("magic_thing", "op", "learn", [
        "One day, {h} found {o.a} {p.at}. When {h.he} touched it, it [began to glow|made a funny "
        "sound|shook a little].",
        "\"I am a magic {o},\" said a tiny voice. \"I will give you three wishes.\" {h} [could "
        "not believe it|was so surprised].",
        "First {h} wished for [{foods}|{dish}]. Poof! There was so much {h.he} could not [eat it "
        "all|move]. [{h.his} tummy hurt.|It was too much.]",
        "Then {h} wished {wish}. [It was fun, but {h.he} was all alone.|It was nice for a while, "
        "but {h} missed home.]",
        "{h} thought for a long time about the last wish. \"I wish [to be home again|to be with "
        "my family],\" said {h}.",
        "[Poof!|In a blink] {h.he} was back home[, and {g.intro} was there|]. The {o} was only a "
        "{o} now[, and it did not talk any more|].",
        "\"[I have all I need|This is the best wish],\" said {h}, and {h.he} [laughed|smiled].",
    ]),
    ("talking_thing", "o", "kind", [
        "In {h.his} room there was {o.a}. [It was old and full of dust.|No one used it any more.]",
        "One night, {h} heard {sound}. It was the {o}! \"[I am so lonely|I am sad],\" said the "
        "{o}. \"[Nobody plays with me.|Everyone forgot me.]\"",
        "{h} rubbed {h.his} eyes. \"You can talk?\" asked {h}. \"[Only at night|Only to kind "
        "ears],\" said the {o}.",
        "{h} felt sorry. {h.he} [cleaned the {o} with a soft cloth|took the {o} into {h.his} "
        "arms]. \"[I will play with you every day|You can sleep next to me],\" said {h}.",
        "The {o} told {h} a story about [{dream}|a ship on the sea|a time long ago]. {h} listened "
        "until {h.he} fell asleep.",
        "In the morning, the {o} was quiet. But {h} was sure that it [smiled|looked a little "
        "brighter].",
    ]),
    ("swap", "of", "learn", [
        "{h} had {o.a}, and {f.intro} had {o2.a}. {h} looked at the {o2} and thought, \"[I want "
        "that one|That is much better than mine].\"",
        "\"Do you want to trade?\" asked {h}. \"Yes,\" said {f}. So {h} gave away the {o} and got "
        "the {o2}.",
        "At first {h} was [happy|very glad]. But the {o2} was [too heavy|hard to use|not so much "
        "fun]. And {h.he} [missed the {o}|thought about the {o} all night].",
        "The next day {h} went to see {f}. {f} was [sad too|sitting alone]. \"I miss my {o2},\" "
        "said {f}. \"And I miss my {o}!\" said {h}.",
        "They both [laughed|began to laugh]. They traded back [at once|right away].",
        "\"[What I had was just right for me|I did not know how much I liked it],\" said {h}. "
        "They played with both things together.",
    ]),
    ("treasure_map", "opf", "friend", [
        "{h} found an old map {hide}. There was a red cross on it, {p.at}. \"A treasure!\" cried "
        "{h}.",
        "{h} ran to {h.his} friend {f.full}. \"[Come with me|Let us find the treasure],\" said "
        "{h}. They packed {foods} and [a rope|a lamp|a shovel] and went off.",
        "The way was [long|hard]. They [crossed a stream|walked through tall grass|climbed over "
        "rocks]. {f} was [tired|afraid], but {h} [held {f.his} hand|sang a song to cheer {f.him} "
        "up].",
        "At last they came to {p}. They dug and dug. [Clonk!|Then they hit something hard.] It "
        "was an old box.",
        "{h} opened the box. There was no gold in it. There was {o.a} and a letter.",
        "The letter said, \"[The real treasure is the friend who came with you.|You have walked "
        "so far together. That is the treasure.]\"",
        "{h} and {f} looked at each other and [smiled|laughed]. They [shared the {foods}|took "
        "turns with the {o}] and walked home [arm in arm|side by side].",
    ]),
    ("thing_wakes", "op", "glad", [
        "{h} [made|built] {o.a} all by {h.self}. It had two eyes [made of buttons|of paint] and a "
        "big smile.",
        "\"[I wish you were alive|I wish you could play with me],\" said {h}. That night a star "
        "fell from the sky, and the {o} [opened its eyes|began to move].",
        "\"Hello!\" said the {o}. {h} [jumped out of bed|could not believe it]. They [went "
        "out|ran] to {p} in the moonlight.",
        "They played {game}. They [danced in the grass|rolled down the hill] and laughed. \"[This "
        "is the best night of my life|I wish it would never end],\" said the {o}.",
        "When the sun came up, the {o} said, \"I must sleep now. [But I will always be your "
        "friend.|But I will wake when you dream.]\"",
        "{h} carried it home and put it next to {h.his} bed. [{g} came in and asked, \"Did you "
        "sleep well?\" {h} only smiled.|And that night {h} dreamed of the {o} again.]",
    ]),
    ("sell_at_market", "o", "kind", [
        "{h} had worked hard and had {num} coins. {h.he} went to the market to buy {o.a}. {h.he} "
        "had wanted it for a long time.",
        "On the way {h.he} saw {t.intro} [with no food|who was very hungry]. [{h} wanted to walk "
        "on, but {h.he} could not.|{h} stopped.]",
        "[\"When did you eat last?\" asked {h}. \"I have not eaten for two days|\"Are you "
        "hungry?\" asked {h}. \"Yes, very],\" said {t}.",
        "{h} bought {dish} and {foods} for {t}. Now all the coins were gone. [\"No {o} today,\" "
        "thought {h}, but {h.he} was not sad.|There was no money left for the {o}.]",
        "{w.intro} at the market had seen it all. \"You have a good heart,\" said {w}. \"I want "
        "you to have this.\" It was {o.a}!",
        "{h} [danced all the way home|thanked again and again|was so happy that {h.he} could not "
        "speak].",
    ]),
]
