"""Makes one story: draws a plot, a world that fits what was asked for, and words for both."""
import plots_people
import plots_things
import plots_world
import words as W
from world import Wish, World, say

PLOTS = plots_things.PLOTS + plots_people.PLOTS + plots_world.PLOTS

_START = "[Once upon a time|Once upon a time|Once|Long ago|Many years ago]"
OPENINGS = [
    _START + ", there was {h.intro}. [{h} lived {home}.|{h.he} lived {home}[ with {g.intro}|].]",
    _START + ", there was {h.intro}. {h} [loved|liked] {likes}.",
    "[Once upon a time|Long ago|Once], {h.intro} lived {home}. {h.he} [loved|liked] {likes}.",
    "There [once |]was {h.intro} who [loved|liked] {likes}.",
    "There was [once |]{h.intro}, and {h.he} lived {home}.",
    "{h.intro} lived {home}. [Every day, {h} liked {likes}.|{h.he} was always [busy|happy].]",
    "In the days when [the world was young|the forests were deep|all animals could talk], "
    "there was {h.intro}.",
    "{home}, there lived {h.intro}. {h.he} [loved|liked] {likes}.",
    "[This is the story of|Let me tell you about] {h.intro}.",
]

ENDINGS = {
    "glad": [
        "{h} was [so happy|very happy] that day.", "It was a [wonderful|very good|happy] day.",
        "That night, {h} went to bed with a smile.", "And {h} never forgot that day.",
        "{h} [told|told all about it to] {h.his} friends again and again.",
        "From that day on, {h} took good care of what {h.he} had."],
    "honest": [
        "{h} learned that it is [best|always better] to tell the truth.",
        "It felt good to be honest.", "{h} was glad that {h.he} had done the right thing.",
        "From that day on, {h} [always told the truth|was always honest]."],
    "share": [
        "{h} learned that sharing makes everything [better|more fun].",
        "And {h} was happy, because sharing is [fun|good].",
        "From that day on, {h} [liked to share|shared with everyone].",
        "That night, {h} thought that two smiles are better than one."],
    "kind": [
        "{h} learned that a small kind act can [mean a lot|change a day].",
        "Being kind made {h} happy too.", "And {h} felt warm inside.",
        "{h} was proud, and {h.his} heart was full of joy.",
        "From that day on, {h} always tried to be kind."],
    "learn": [
        "{h} had learned [something important|a good lesson].", "{h} never did that again.",
        "From that day on, {h} thought before {h.he} acted.",
        "And {h} was a little wiser than before."],
    "friend": [
        "From that day on, they were [best friends|good friends].",
        "{h} was not alone any more.", "A good friend is the best thing of all.",
        "And they [stayed|were] friends for ever.",
        "{h} was [happy|glad] to have such a good friend."],
    "brave": [
        "{h} was [proud|happy], because {h.he} had been brave.",
        "From that day on, {h} was not so afraid any more.",
        "{h} learned that even a small one can be brave.",
        "Everyone said that {h} was the bravest [one |]of all."],
    "try": [
        "{h} learned that it is good to try again.", "{h} was very proud of {h.self}.",
        "And {h} knew that good things take time.",
        "From that day on, {h} never gave up so quickly."],
    "home": [
        "There is no place like home.", "{h} was safe and happy at home.",
        "That night, {h} slept very well.", "And {h} was [so glad|happy] to be home."],
}
CLOSERS = ["The end.", "And they all lived happily ever after.", "And that was that.",
           "Good night."]


def fitting_plots(wish):
    """The plots that show everything that was asked for."""
    need = [tag for tag, asked in (("o", wish.obj), ("p", wish.place), ("f", wish.friend))
            if asked]
    return [plot for plot in PLOTS if all(tag in plot[1] for tag in need)]


def story(rng, wish=None):
    wish = wish or Wish()
    _, _, theme, lines = rng.choice(fitting_plots(wish))
    world = World(rng, wish)
    opening = say(rng.choice(OPENINGS), world, rng)
    if wish.adj and rng.random() < 0.5:
        opening += " " + say("{h} was [a very|very] " + wish.adj + ".", world, rng).replace(
            "a very " + wish.adj + ".", "a very %s %s." % (wish.adj, world["h"].noun))
    body = [say(line, world, rng) for line in lines]
    ending = say(rng.choice(ENDINGS[theme]), world, rng)
    if rng.random() < 0.15:
        ending += " " + rng.choice(CLOSERS)
    if rng.random() < 0.4:
        cut = len(body) // 2
        return "\n\n".join([opening + " " + body[0], " ".join(body[1:cut + 1]),
                            " ".join(body[cut + 1:] + [ending])])
    return " ".join([opening] + body + [ending])


# ---- what a reader may ask a story about -------------------------------------------------------

_ASK = ["[tell|write|give|make] me a [|short|little|nice] story [about|of|with] {x}",
        "[tell me|write|i want|i would like|give me] a [|short|bedtime|new|good] story about {x}",
        "[can|could|will] you tell [me|us] a story about {x}",
        "[please |]tell a story about {x}", "a story about {x}[ please|]",
        "[once more, |]a [tale|story] about {x}", "story about {x}",
        "do you know a story about {x}", "[make up|invent] a story about {x}",
        "let us hear a story about {x}", "[write|tell] me something about {x}",
        "[tell|write] a short story for [kids|children] about {x}"]
_ASK_ANY = ["[tell|write|give] me a [|short|little|nice|funny|bedtime|new] story",
            "[tell|write] a story[ please|]", "i want [to hear |]a story",
            "[can|could] you tell me a story", "a story[ please|]", "story [time|please]",
            "[make up|invent] a story", "do you know [a|any] story", "once upon a time",
            "[read|tell] me something nice", "i cannot sleep, tell me a story",
            "tell me a story for [my kids|children|my daughter|my son]", "surprise me with a story",
            "[write|tell] a [fairy tale|tale|children's story]", "tell me [any|some] story"]
_ASK_AGAIN = ["[tell me |]another [one|story][ please|]", "[one|once] more[ please|]", "more",
              "again[ please|]", "[tell|write] another story", "and another one",
              "now a different [one|story]", "tell me one more[ story|]", "next story"]


def ask_any(rng):
    return say(rng.choice(_ASK_ANY), {}, rng), Wish()


def ask_again(rng):
    return say(rng.choice(_ASK_AGAIN), {}, rng), Wish()


def ask_about(rng):
    """A request for a story about something, and the wish that it stands for."""
    roll, wish = rng.random(), Wish()
    beings = W.ANIMALS * 2 + [noun for noun, _ in W.PEOPLE]
    if roll < 0.42:
        wish.hero = rng.choice(beings)
        x = wish.hero
        if rng.random() < 0.3:
            wish.adj = rng.choice(W.TRAITS)
            x = "%s %s" % (wish.adj, x)
        elif rng.random() < 0.2:
            x = "little " + x
        x = rng.choice(["a ", "a ", "a ", "the ", ""]) + x
        if rng.random() < 0.12:
            names = (W.GIRL_NAMES if wish.hero == "girl" else W.BOY_NAMES if wish.hero == "boy"
                     else W.ANIMAL_NAMES + W.GIRL_NAMES + W.BOY_NAMES)
            wish.name = rng.choice(names)
            x += rng.choice([" named ", " called "]) + wish.name
        elif rng.random() < 0.2:
            wish.place = rng.choice(W.PLACES)[0]
            x += " " + dict(W.PLACES)[wish.place] + " " + wish.place
    elif roll < 0.54:
        wish.hero, wish.friend = rng.sample(beings, 2)
        x = "a %s and a %s" % (wish.hero, wish.friend)
    elif roll < 0.62:
        wish.name = rng.choice(W.GIRL_NAMES + W.BOY_NAMES)
        x = wish.name
    elif roll < 0.82:
        wish.obj = rng.choice(W.OBJECTS)
        x = wish.obj
        if rng.random() < 0.4:
            wish.obj_adj = rng.choice(W.OBJ_ADJS)
            x = "%s %s" % (wish.obj_adj, x)
        x = rng.choice(["a ", "a ", "the ", "a lost "]) + x
        if rng.random() < 0.25:
            wish.hero = rng.choice(beings)
            x = "a %s and %s" % (wish.hero, x)
    else:
        wish.place = rng.choice(W.PLACES)[0]
        x = wish.place if rng.random() < 0.8 else wish.place.replace("the ", "a ", 1)
    return say(rng.choice(_ASK), {"x": x}, rng), wish


if __name__ == "__main__":
    import random
    import sys
    RNG = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for _ in range(4):
        q, w = ask_about(RNG)
        print(">>", q)
        print(story(RNG, w), "\n")
