"""Plots that turn on others: help, fear, quarrels, new friends, small ones and big ones."""

PLOTS = [
    ("new_friend", "pf", "friend", [
        "{h} was [lonely|sad]. {h.he} had no one to play with. \"[I wish I had a friend|I want a "
        "friend],\" said {h}.",
        "One [{weather} |]day, {h} went to {p}. There {h.he} saw {f.intro}, who was [all alone "
        "too|sitting by {f.self}].",
        "{h} wanted to say hello, but {h.he} was [too shy|afraid]. [{h.he} hid {hide}.|{h.he} "
        "looked at the ground.]",
        "Then {f} [dropped {f.his} {foods}|began to sing|waved]. {h} [laughed|went a little "
        "closer]. \"Hello, [I am|my name is] {h}. [What is your name?|Who are you?]\"",
        "\"I am {f},\" said {f}. \"[Do you want to play {game}?|Do you like {foods}?]\" \"Yes!\" "
        "said {h}.",
        "They played {p.at} [all day|until it was dark]. {f} told jokes and {h} [laughed a "
        "lot|showed {f.him} a secret place].",
        "When it was time to go, {f} asked, \"[Will you come back tomorrow?|Can we play again?]\" "
        "\"[Of course!|Every day!]\" said {h}.",
    ]),
    ("trapped_animal", "p", "kind", [
        "One [{weather} |]day, {h} was {p.at}. {h.he} heard {sound}. [\"Who is there?\" asked "
        "{h}.|{h} stopped and listened.]",
        "It was {t.intro}. {t} was stuck [under a branch|between two rocks|in a net|in some mud]. "
        "\"Help! [I cannot get out|Please help me],\" cried {t}.",
        "\"[Do not worry|Do not be afraid],\" said {h}. {h.he} pulled [as hard as {h.he} "
        "could|with all {h.his} strength], but {t} [did not move|was still stuck].",
        "{h} ran to get {g.intro}. \"Come quickly!\" called {h}. {g} brought [a rope|a long "
        "stick], and together they pulled. [One, two, three!|They pulled again and again.] {t} "
        "was free!",
        "{g} [looked at {t.his} leg|gave {t.him} some water]. \"[You will be fine|You need to "
        "rest],\" said {g}.",
        "{h} took care of {t} for {num} days. [{h.he} brought {t.him} {foods}.|{h.he} made a soft "
        "bed for {t.him}.] Then {t} was [strong|well] again.",
        "\"I will never forget you,\" said {t}. [And {t} came to visit often.|{t.he} went home to "
        "{t.his} family.]",
    ]),
    ("small_saves_big", "ps", "brave", [
        "{h} met {s.intro} {p.at}. \"[Go away|You are too small to play here],\" said {s}. \"[I "
        "am big and strong, and you are not.|Small ones are no use.]\"",
        "{h} was [sad|a little afraid], but {h.he} said nothing. {h.he} sat down [under a tree|by "
        "the path] and ate {h.his} {foods}.",
        "[Suddenly|Then] there was a loud cry. {s} had fallen into a [deep hole|pit]. \"[Help "
        "me!|I cannot get out!]\" shouted {s}.",
        "{h} could have walked away. But {h.he} ran to the hole. \"[I will help you|Hold on],\" "
        "called {h}.",
        "{h} was not strong, but {h.he} was [clever|smart]. {h.he} [pushed a long branch into the "
        "hole|tied a rope to a tree and threw it down]. {s} climbed up, step by step.",
        "{s} looked at {h} and said, \"[I was wrong|I am sorry I was mean]. You are small, but "
        "[you have a big heart|you are very brave].\"",
        "\"[Do you want some of my {foods}?|Shall we play now?]\" asked {h}. After that day, {s} "
        "was [kind to everyone|never mean again].",
    ]),
    ("dark_noise", "", "brave", [
        "It was night. {h} was in bed[ under the warm blanket|]. Then {h.he} heard a noise. [Tap, "
        "tap, tap.|Scratch, scratch.|Whooo.]",
        "\"[Is it a monster?|What was that?]\" whispered {h}. {h.he} [pulled the blanket over "
        "{h.his} head|called for {g.intro}|held {h.his} {o} tight].",
        "[{g} came with a lamp.|{g} sat down on the bed.] \"[Let us look together|When you know "
        "what it is, you will not be afraid],\" said {g}.",
        "They went to the window[ on tiptoe|]. {h} was scared, but {h.he} [took a deep breath|was "
        "brave] and looked out.",
        "It was only {noise}! {h} [laughed|had to laugh]. \"[That is not a monster at all|I was "
        "afraid of that],\" said {h}.",
        "\"[The dark hides things, but it does not change them|Being brave means to look "
        "anyway],\" said {g}.",
        "{h} went back to bed. The noise came again, but now {h} [only smiled|was not afraid] and "
        "[fell asleep|dreamed that {dream}].",
    ]),
    ("lost_in_place", "p", "home", [
        "{h} and {g.intro} went to {p}. \"[Stay close to me|Do not go too far],\" said {g}.",
        "But {h} saw [a blue butterfly|a little light|a shiny stone] and followed it. {h.he} went "
        "[left and right|deeper and deeper|on and on]. When {h.he} turned around, {g} was "
        "[gone|not there].",
        "\"{g}! Where are you?\" called {h}. No one answered. {h} [began to cry|felt very "
        "small|sat down on a stone].",
        "{w.intro} heard {h.him}. \"[Why are you crying?|Are you lost?]\" asked {w}. \"[I am "
        "lost|I cannot find {g}],\" said {h}.",
        "\"[Stay where you are, and make a noise|When you are lost, stay in one place and "
        "call],\" said {w}. \"[I will wait with you.|We will call together.]\"",
        "They [called and called|sang a loud song]. Soon {h} heard a voice. \"{h}! {h}!\" It was "
        "{g}!",
        "{h} ran into {g.his} arms. \"[I was so worried|I am so glad I found you],\" said {g}. "
        "\"[I will stay close now|I will listen next time],\" said {h}.",
    ]),
    ("quarrel", "f", "friend", [
        "{h} and {f.intro} were best friends. [They did everything together.|They played every "
        "day.]",
        "One day they played {game}. \"I won!\" said {h}. \"No, I won!\" said {f}. \"[You never "
        "play fair!|You always say that!]\"",
        "{h} [ran home|went away] and {f} went away too. \"[I do not need a friend like that|I "
        "will never play with {f.him} again],\" said {h}.",
        "The next day was [long|boring]. {h} tried to play alone, but [it was no fun|there was no "
        "one to laugh with]. {g} asked, \"[Where is {f}?|Why are you so quiet?]\"",
        "{h} told {g.him} about it. \"[You miss {f} more than you miss the game|A friend is worth "
        "more than a game],\" said {g}.",
        "{h} ran to see {f}. On the way {h.he} met {f}, who was [running too|on the way to {h}]! "
        "\"I am sorry,\" they said at the same time.",
        "They laughed [and hugged|until their tummies hurt]. [Then they played again, and no one "
        "counted.|After that, they did not care who won.]",
    ]),
    ("sick_friend", "f", "kind", [
        "{h} went to see {h.his} friend {f.full}. But {f} was in bed. \"[I am sick|My head "
        "hurts],\" said {f}. \"[I cannot play today.|I have to stay in bed.]\"",
        "{h} was sad. Then {h.he} had an idea. {h.he} went home and made {dish}[ with {g.intro}|].",
        "{h} also picked [a {flower}|some flowers] and drew a [funny|pretty] picture. {h.he} "
        "carried it all to {f}.",
        "\"[Look what I have for you|This is for you],\" said {h}. {f} ate the {dish} and "
        "[smiled|felt warm].",
        "{h} sat by the bed and told a story in which {dream}. {f} [laughed and laughed|forgot "
        "that {f.he} was sick].",
        "After {num} days, {f} was well again. \"[You were the best medicine|You made me well],\" "
        "said {f}. They went out and played {game}.",
    ]),
    ("scary_is_kind", "ps", "learn", [
        "Everyone was afraid of {s.intro} who lived near {p}. \"[Do not go there|{s} is mean],\" "
        "they said to {h}.",
        "One day, {h} was {p.at} when [it began to rain hard|it got dark]. {h.he} [slipped and "
        "hurt {h.his} foot|could not find the way home].",
        "{h} heard steps. It was {s}! {h} [shook with fear|closed {h.his} eyes]. \"[Please do not "
        "hurt me|Go away],\" cried {h}.",
        "\"[I will not hurt you|Do not be afraid],\" said {s} in a soft voice. \"[You are "
        "cold.|Your foot needs help.] Come with me.\"",
        "{s} took {h} to a [warm|dry] place and gave {h.him} {dish}. {s} told {h} that {s.he} was "
        "[very lonely|always alone]. \"Everyone runs away from me,\" said {s}.",
        "In the morning, {s} brought {h} home. \"{s} is [kind|my friend]!\" {h} told everyone. "
        "[\"We were wrong,\" they said.|At first they did not believe it.]",
        "Soon they all came to visit {s}[ with {foods}|], and {s} was never lonely again.",
    ]),
    ("help_many", "pf", "friend", [
        "{h} wanted to move a big log that lay on the path to {p}. {h.he} pushed and pushed, but "
        "it [was too heavy|did not move].",
        "{f.intro} came by. \"[Let me help you|I will push too],\" said {f}. They pushed "
        "together. [The log moved a little, but then it rolled back.|It did not move.]",
        "Then {w.intro} came and pushed. \"[One, two, three, push!|All together now!]\" But it "
        "still [did not go|stayed where it was].",
        "At last {t.intro} came. \"Can I help?\" asked {t}. {f} laughed. \"[You are so "
        "little!|What can you do?]\" But {h} said, \"[Everyone can help.|Come and try.]\"",
        "They all pushed, and {t} pushed too. [Crack!|Rumble!] It [rolled|moved] right off the "
        "path! \"[We did it!|Hooray!]\" they shouted.",
        "\"It was {t} who [made the difference|gave the last push],\" said {h}. {t} [was very "
        "proud|stood very tall].",
        "They all walked to {p} and [shared {foods}|had a picnic with {dish}].",
    ]),
    ("teach_skill", "f", "try", [
        "{h} wanted to learn to {skill}. All the others could do it, but {h} could not.",
        "{h} tried {doing} {where}. [Plop!|Oops!] It went wrong. [Some of them laughed.|{h} felt "
        "hot in the face.] \"[I will never learn it|I give up],\" said {h}.",
        "{f.intro} had seen it. \"I could not do it at first,\" said {f}. \"[I tried a hundred "
        "times.|I fell down every day.] [Let me show you.|I will help you.]\"",
        "Every day they met and practiced. [Monday was bad.|The first day was hard.] [Tuesday was "
        "a little better.|The second day was better.] {h} [did not stop|kept trying].",
        "After {num} days, {h} took a deep breath and tried again. [And it worked!|This time it "
        "went well!] \"I can {skill}!\" shouted {h}.",
        "[All the others clapped.|Everyone cheered.] \"[You never gave up|I knew you could do "
        "it],\" said {f}.",
    ]),
    ("race", "pf", "friend", [
        "There was a big race {p.at}. {h} wanted to win. {f.intro} was in the race too.",
        "\"[Ready, set, go!|One, two, three, go!]\" said {w.intro}. They all ran. {h} was fast. "
        "[Soon {h.he} was in front.|{h} could see the end.]",
        "Then {h} heard a cry. {f} had [fallen|tripped over a stone] and held {f.his} knee. The "
        "others [ran past|did not stop].",
        "{h} looked at the end of the race. {h.he} looked at {f}. [Then {h} turned around.|{h} "
        "stopped running.] \"[Can you stand up?|Are you hurt?]\" asked {h}.",
        "{h} helped {f} to stand, and they walked [slowly|step by step] to the end together. They "
        "were the last ones.",
        "But [everyone cheered for them|everyone clapped]. {w} came with two [prizes|ribbons]. "
        "\"[This one is for the best friend|Some things are better than winning],\" said {w}.",
        "\"You could have won,\" said {f}. \"[I did win|I won a friend],\" said {h}.",
    ]),
    ("liar_calls", "p", "honest", [
        "{h} liked to play tricks. One day {p.at} {h.he} shouted, \"Help! {s.intro} is here!\" "
        "Everyone came running.",
        "But there was no {s.noun}. {h} laughed. \"[I fooled you all|It was only a joke],\" said "
        "{h}. [The others were angry.|They all went home.]",
        "The next day {h} did it again. \"Help! Help!\" And again they came, and again it was a "
        "trick. {g.intro} said, \"[If you lie, no one will believe you.|That is not funny.]\"",
        "On the third day, {s.intro} really came! \"Help! {s} is here!\" cried {h}. But no one "
        "[came|believed {h.him}].",
        "{h} had to [climb a tree|hide {hide}] and wait. [{s} ate all {h.his} {foods}.|It was "
        "cold and dark.] At last {s} went away.",
        "{h} went home and cried. \"I am sorry. [I will not lie again|I will tell the truth "
        "now],\" said {h}. {g} [hugged {h.him}|nodded]. \"[Then we will believe you|That is good "
        "to hear],\" said {g}.",
    ]),
    ("mean_words", "f", "learn", [
        "{h} laughed at {f.intro}. \"You [run|walk|sing] so funny!\" said {h}. {f} [went "
        "red|looked down] and [went home|said nothing].",
        "{g.intro} heard it. \"[Do words not hurt?|How do you think {f} feels?]\" asked {g}. \"[It "
        "was only a joke|I do not know],\" said {h}.",
        "The next day {h} [slipped in the mud|fell into a puddle]. Everyone laughed at {h.him}. "
        "{h} felt [very bad|hot and sad].",
        "Only {f} did not laugh. {f} [gave {h} a hand|brought {h} a towel]. \"Are you all "
        "right?\" asked {f}.",
        "\"Why are you so nice to me?\" asked {h}. \"[Because I know how it feels|It is not nice "
        "to be laughed at],\" said {f}.",
        "{h} [began to cry|felt ashamed]. \"I am sorry that I was mean to you,\" said {h}. \"[I "
        "forgive you|That is all right],\" said {f}.",
        "[Then they shared {foods}.|They went to play {game}.] {h} never laughed at anyone again.",
    ]),
]
