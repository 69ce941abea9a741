"""The cast and the setting of one story, and the small language that its sentences are written in.

A line of a plot is plain text with two additions:
  [this|or that|or [one|another]]   one alternative is drawn; an empty one is allowed
  {slot} or {slot.field}            is replaced by what the world holds under that name
A character slot prints its name. Its fields: intro (how it enters), full (name with its kind),
he, him, his, self. A thing prints its noun; its fields: full (with adjective), a (with article).
After filling in, sentences get a capital first letter and "a" becomes "an" where it must.
"""
import re

import words as W

_GIRLS, _BOYS = set(W.GIRL_NAMES), set(W.BOY_NAMES)
_PRONOUNS = {"he": ("he", "him", "his", "himself"), "she": ("she", "her", "her", "herself")}


class Who:
    """A character: its fields are what plots may print, and stay the same all through a story."""

    def __init__(self, name, intro, pronoun, kind, noun):
        self.name, self.intro, self.kind, self.noun = name, intro, kind, noun
        self.he, self.him, self.his, self.self = _PRONOUNS[pronoun]
        self.full = name if kind == "child" else "%s the %s" % (name, noun)

    def __str__(self):
        return self.name


class Thing:
    def __init__(self, noun, adj):
        self.noun, self.adj = noun, adj
        self.full = ("%s %s" % (adj, noun)).strip()
        self.a = "a " + self.full

    def __str__(self):
        return self.noun


class Place:
    def __init__(self, name, prep):
        self.name, self.at = name, "%s %s" % (prep, name)

    def __str__(self):
        return self.name


def article(text):
    """Turns "a owl" into "an owl" (and leaves "a unicorn" alone)."""
    return re.sub(r"\b([Aa]) (?=[aeiou]|honest)(?!uni|use|one\b)", r"\1n ", text)


# A quote that ends in ! or ? may be followed by its speaker: "Wait!" cried Tom.
_SPEECH = ("said|asked|cried|called|shouted|whispered|answered|sang|laughed|thought|"
           "they cheered|they shouted|he asked|she asked")
_CAPITAL = re.compile(r'(^|(?<=[.!?] )|(?<=[.!?]" )(?!(?:%s)\b)|(?<=\n)|(?<=^")|(?<=[ \n]"))'
                      r'([a-z])' % _SPEECH)


def polish(text):
    text = re.sub(r" {2,}", " ", text).replace(" ,", ",").replace(" .", ".").strip()
    return article(_CAPITAL.sub(lambda m: m.group(1) + m.group(2).upper(), text))


def draw(text, rng):
    """Resolves the [a|b] alternatives of a text, innermost first."""
    while True:
        end = text.find("]")
        if end < 0:
            return text
        start = text.rfind("[", 0, end)
        text = text[:start] + rng.choice(text[start + 1:end].split("|")) + text[end + 1:]


_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def fill(text, slots):
    def one(match):
        value = slots[match.group(1)]
        return str(getattr(value, match.group(2)) if match.group(2) else value)
    return _SLOT.sub(one, text)


def say(text, slots, rng):
    return polish(fill(draw(text, rng), slots))


class Wish:
    """What a reader asked a story to be about; None where it is left to chance."""

    def __init__(self, hero=None, name=None, adj=None, friend=None, obj=None, obj_adj=None,
                 place=None):
        self.hero, self.name, self.adj, self.friend = hero, name, adj, friend
        self.obj, self.obj_adj, self.place = obj, obj_adj, place


_PEOPLE = dict(W.PEOPLE)
_PREPS = dict(W.PLACES)


def _character(rng, taken, noun, name, adj, small=True):
    """A character of the given kind of being; the name, when one is drawn, is not yet taken."""
    child = noun in ("girl", "boy")
    pronoun = _PEOPLE.get(noun) or rng.choice(["he", "she"])
    if name:
        pronoun = "she" if name in _GIRLS else "he" if name in _BOYS else pronoun
    else:
        names = W.GIRL_NAMES if pronoun == "she" else W.BOY_NAMES
        if not child and (noun not in _PEOPLE or noun == "robot") and rng.random() < 0.75:
            names = W.ANIMAL_NAMES
        name = rng.choice([n for n in names if n not in taken])
    kind = "child" if child else "person" if noun in _PEOPLE else "animal"
    look = adj or ""
    if small and noun not in ("baby", "giant") and rng.random() < (0.5 if adj else 0.85):
        size = rng.choice(W.SMALL if not adj else ["little", "young"])
        look = size if not adj else "%s %s" % (adj, size)
    being = ("%s %s" % (look, noun)).strip()
    taken.add(name)
    return Who(name, "a %s named %s" % (being, name), pronoun, kind, noun)


def _grown_up(rng, hero, taken):
    """Someone of the hero's family or, for a grown hero, a neighbor."""
    if hero.kind in ("child", "animal"):
        name, pronoun = rng.choice([("Mom", "she"), ("Dad", "he"), ("Grandma", "she"),
                                    ("Grandpa", "he"), ("Mother", "she"), ("Father", "he")])
        return Who(name, "%s %s" % (hero.his, name.lower()), pronoun, "adult", name.lower())
    title, pronoun, names = rng.choice([("Aunt", "she", W.GIRL_NAMES), ("Uncle", "he", W.BOY_NAMES),
                                        ("Mrs.", "she", ["Hill", "Green"]),
                                        ("Mr.", "he", ["Hill", "Green"])])
    name = "%s %s" % (title, rng.choice([n for n in names if n not in taken]))
    return Who(name, name, pronoun, "adult", "neighbor")


class World(dict):
    """The slots of one story: h hero, f friend, g grown-up, w wise helper, t tiny animal, s scary
    one, o thing, p place, and plain words."""

    def __init__(self, rng, wish=None):
        super().__init__()
        wish = wish or Wish()
        taken = {wish.name}
        noun = wish.hero
        if not noun and wish.name:
            noun = "girl" if wish.name in _GIRLS else "boy"
        if not noun:
            roll = rng.random()
            noun = (rng.choice(["girl", "boy"]) if roll < 0.4 else
                    rng.choice(W.ANIMALS) if roll < 0.85 else rng.choice(W.PEOPLE)[0])
        adj = wish.adj or (rng.choice(W.TRAITS) if rng.random() < 0.3 else None)
        self["h"] = hero = _character(rng, taken, noun, wish.name, adj)
        friend = wish.friend
        while not friend or (friend == noun and not wish.friend):
            friend = rng.choice(["girl", "boy"]) if (hero.kind == "child" and
                                                     rng.random() < 0.6) else rng.choice(W.ANIMALS)
        self["f"] = _character(rng, taken, friend, None, rng.choice(W.FRIEND_TRAITS), False)
        self["g"] = _grown_up(rng, hero, taken)
        self._minor(rng, {noun, friend})
        self._setting(rng, wish)

    def _minor(self, rng, nouns):
        def pick(items):
            noun = rng.choice([x for x in items if x not in nouns])
            nouns.add(noun)
            return noun
        if rng.random() < 0.75:
            noun, pronoun = pick(W.WISE), rng.choice(["he", "she"])
        else:
            noun, pronoun = rng.choice([x for x in W.WISE_PEOPLE if x[0] not in nouns])
        adj = rng.choice(["old", "wise", "kind", "wise old"])
        self["w"] = Who("the " + noun, "a %s %s" % (adj, noun), pronoun, "adult", noun)
        noun = pick(W.TINY_ANIMALS)
        self["t"] = Who("the " + noun, "a %s %s" % (rng.choice(["tiny", "little", "small"]), noun),
                        rng.choice(["he", "she"]), "animal", noun)
        noun = pick(W.SCARY)
        self["s"] = Who("the " + noun, "a big %s" % noun, rng.choice(["he", "she"]), "animal",
                        noun)

    def _setting(self, rng, wish):
        noun = wish.obj or rng.choice(W.OBJECTS)
        adj = wish.obj_adj or rng.choice(W.OBJ_ADJS)
        self["o"] = Thing(noun, adj)
        self["o2"] = Thing(rng.choice([x for x in W.OBJECTS if x != noun]),
                           rng.choice([x for x in W.OBJ_ADJS if x != adj]))
        place = wish.place or (rng.choice(W.OUTDOORS) if rng.random() < 0.7 else
                               rng.choice(W.PLACES)[0])
        self["p"] = Place(place, _PREPS[place])
        other = rng.choice([x for x in W.OUTDOORS if x != place])
        self["p2"] = Place(other, _PREPS[other])
        self["foods"], self["food"] = rng.choice(W.FOODS)
        self["seed"], self["fruit"] = rng.choice(W.SEEDS)
        self["skill"], self["doing"], self["where"] = rng.choice(W.SKILLS)
        for slot, items in (("home", W.HOMES), ("dish", W.DISHES), ("hide", W.HIDING),
                            ("game", W.GAMES), ("chore", W.CHORES), ("flower", W.FLOWERS),
                            ("sound", W.SOUNDS), ("noise", W.NOISES), ("build", W.BUILDS),
                            ("likes", W.LIKES), ("weather", W.WEATHERS), ("wish", W.WISHES),
                            ("color", W.COLORS), ("dream", W.DREAMS)):
            self[slot] = rng.choice(items)
        self["hide2"] = rng.choice([x for x in W.HIDING if x != self["hide"]])
        self["num"] = rng.choice(["three", "four", "five", "six", "seven", "ten"])
