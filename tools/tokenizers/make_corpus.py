#!/usr/bin/python3
"""Writes the corpus that tokenizers are compared on: one JSON value a line, the same for a seed.

usage: make_corpus.py LINES OUT [--seed N]

A line is a string, or {"hex": bytes, "text": string} for broken UTF-8, where `text` is what the
bytes read as (one U+FFFD per maximal subpart, which is what Python's decoder does). The first two
lines are one. Everything is made here: words of many languages put together at random, code, emoji,
all assigned Unicode ranges, whitespace, numbers, normalization forms, special tokens, long words.
"""
import argparse
import json
import os
import random
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))

SPECIAL = """<s> </s> <unk> <pad> <|endoftext|> <|im_start|> <|im_end|> <|eot_id|> <|begin_of_text|>
<|start_header_id|> <|end_header_id|> <|fim_prefix|> <tool_call> </tool_call> <think> </think> <bos>
<eos> <start_of_turn> <end_of_turn> [INST] [/INST] [CLS] [SEP] [MASK] [UNK] <|user|> <|assistant|>
<|end|> <0x0A> <0xFF> <｜begin▁of▁sentence｜> <｜User｜> <｜end▁of▁sentence｜> <mask> <BOS_TOKEN>
<|START_OF_TURN_TOKEN|> <|endofprompt|> <|startoftext|> ▁ ▁▁ Ġ Ċ ## ##s ö õ <table> <h1> <unused7>
<|object_ref_start|> <|vision_start|> <|python_tag|> <|reserved_special_token_5|>""".split()

CODE = [
    "def {a}({b}, *args, **kwargs):\n    return {b}[::-1] if {b} else None  # {c}",
    "for (int i = 0; i < {n}; ++i) {{\n\t{a}[i] = {b}->{c}(i, 0x{h});\n}}",
    "SELECT {a}, COUNT(*) FROM {b} WHERE {c} >= {n} GROUP BY 1 ORDER BY 2 DESC;",
    "<div class=\"{a}\"><p id='{b}'>{c} &amp; {n}</p></div>\n<!-- {a} -->",
    "const {a} = async ({b}) => {{ await fetch(`https://{c}.example/${{{b}}}?q={n}`); }};",
    "fn {a}<'a, T: {b}>(x: &'a mut T) -> Result<(), Box<dyn {c}>> {{ Ok(()) }}\r\n",
    "{{\"{a}\": [1, -2.5e-{n}, null, true], \"{b}\": {{\"{c}\": \"\\u00e9\\n\"}}}}",
    "#include <{a}.h>\n#define {b}(x) ((x) << {n})\nstatic inline {c}* {a}_{b}(void);",
    "git commit -m '{a}: {b}' && make -j{n} {c} 2>&1 | tee /tmp/{a}.log",
    "\\begin{{equation}}\n  {a}_{{{n}}} = \\frac{{{b}}}{{\\sqrt{{{c}}}}}\n\\end{{equation}}",
    "    if ({a} == nullptr || !{b}.{c}()) {{\n"
    "        throw std::runtime_error(\"{n}\");\n    }}\n\n\n",
    "let {a} = {b}.map(|x| x * {n}).filter(|&x| x != {c});",
    "| {a} | {b} |\n|---|:-:|\n| `{c}` | **{n}** |",
    "{a}::{b}<{c}>&& operator<=>(const {a}&) noexcept = delete;",
    "\t\t{a}:\n\t\t\t- {b}: \"{c}\"\n\t\t\t- {n}\n",
]

EMOJI = ["😀", "🎉", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇺🇸", "1️⃣", "❤️", "❤",
         "☺️", "🧑🏿‍🚀", "👁️‍🗨️", "🫠", "🪿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "™️", "©", "♥︎", "🤷🏻‍♀️",
         "🀄", "🃏", "㊗️", "↔️", "⏏", "⌨", "🔟", "#️⃣", "\u200d", "\ufe0f"]

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\r", "\u00a0", "\u3000", "\u2003",
          "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u1680", "\u180e", "\ufeff", "\u0085", "\x0b",
          "\x0c", "\x1c", "\x1f", "\x00", "\x7f", "    ", "\t\t", " \n", "\n ", "        "]

BLOCK = 128


def read_words():
    words = {}
    with open(os.path.join(HERE, "words.txt"), encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                code, rest = line.rstrip("\n").split(" ", 1)
                words[code] = rest.split("|")
    return words


def assigned_blocks():
    """Blocks of 128 code points that hold assigned characters, with those characters."""
    blocks = []
    for start in range(0, 0x110000, BLOCK):
        chars = [chr(c) for c in range(start, start + BLOCK)
                 if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
        if chars:
            blocks.append(chars)
    return blocks


class Maker:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.words = read_words()
        self.languages = sorted(self.words)
        self.blocks = assigned_blocks()

    def word(self):
        return self.rng.choice(self.words[self.rng.choice(self.languages)])

    def name(self):
        r = self.rng
        base = r.choice(["foo", "bar", "get_value", "HttpServer", "x1", "isEmpty", "MAX_SIZE",
                         "tmp", "αβ", "naïve"])
        return base + r.choice(["", "", "2", "_id", "Impl"])

    def number(self):
        r = self.rng
        return r.choice([str(r.randrange(10 ** r.randrange(1, 12))), f"{r.random():.4f}",
                         f"1,{r.randrange(1000):03},000",
                         f"{r.randrange(24)}:{r.randrange(60):02}",
                         f"2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}",
                         "½", "Ⅷ", "²³", "٣٤٥", "१२३४", "３４５", "0x1F", "1e-9", "3.14", "五", "⑫",
                         "𝟙𝟚𝟛"])

    def sentence(self, language):
        r = self.rng
        words = self.words[language]
        out = ""
        for _ in range(r.randrange(3, 18)):
            word = r.choice(words)
            if r.random() < 0.08:
                word = r.choice([word.upper(), word.capitalize(), self.number(), '"' + word + '"',
                                 "(" + word + ")"])
            tight = language in ("zh", "ja", "th", "lo", "km", "my", "bo") and r.random() < 0.9
            out += word + ("" if tight else r.choice([" "] * 12 + [", ", "; ", " - ", "  ", ": ",
                "… "]))
        return out.rstrip() + r.choice([".", "!", "?", "", "...", "。", " "])

    def ranges(self):
        r = self.rng
        out = ""
        for _ in range(r.randrange(1, 5)):
            block = r.choice(self.blocks)
            out += "".join(r.choice(block) for _ in range(r.randrange(1, 12))) + r.choice(["", " ",
                "a", "\n"])
        return out

    def forms(self):
        r = self.rng
        text = " ".join(self.word() for _ in range(r.randrange(1, 8)))
        text = unicodedata.normalize(r.choice(["NFC", "NFD", "NFKC", "NFKD"]), text)
        marks = "".join(chr(r.choice([0x300, 0x301, 0x308, 0x323, 0x327, 0x345, 0x1100, 0x1161,
                                      0x11A8, 0x3099, 0x20DD]))
                        for _ in range(r.randrange(0, 5)))
        at = r.randrange(len(text) + 1)
        return text[:at] + marks + text[at:]

    def spaces(self):
        r = self.rng
        return "".join(r.choice(SPACES) if r.random() < 0.6 else self.word()
                       for _ in range(r.randrange(1, 14)))

    def numbers(self):
        r = self.rng
        marks = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["--", "...", "«", "»", "„", "—", "€",
            "£", "±", "→", "'s", "'S", "'LL", "’s",
                                                                "'ve", "'x", "''", "=>", "!=", "::",
                                                                "\\n"]
        return "".join(r.choice([self.number(), r.choice(marks), " ", r.choice(marks), self.word()])
                       for _ in range(r.randrange(2, 16)))

    def special(self):
        r = self.rng
        parts = []
        for _ in range(r.randrange(1, 7)):
            token = r.choice(SPECIAL)
            cut = r.random()
            if cut < 0.15:
                token = token[:r.randrange(len(token) + 1)]
            parts.append(token + r.choice(["", "", " ", "\n", self.word(), "  "]))
        return "".join(parts)

    def emoji(self):
        r = self.rng
        return "".join(r.choice(EMOJI) + r.choice(["", "", " ",
                                                   self.word()]) for _ in range(r.randrange(1, 10)))

    def code(self):
        r = self.rng
        return r.choice(CODE).format(a=self.name(), b=self.name(), c=self.name(),
                                     n=r.randrange(1000), h=f"{r.randrange(1 << 32):08X}")

    def long(self):
        r = self.rng
        unit = r.choice(["a", "ab", "ha", "=", "-", " ", "\n", "0", "é", "中", "🙂", "aA", "\t", ". ",
                         "ﷺ", self.word()])
        return unit * r.randrange(50, 3000)

    def broken(self):
        r = self.rng
        data = bytearray((self.sentence(r.choice(self.languages)) + self.emoji()).encode())
        for _ in range(r.randrange(1, 8)):
            data = data or bytearray(b"x")
            at = r.randrange(len(data))
            what = r.randrange(4)
            if what == 0:
                del data[at]
            elif what == 1:
                data[at] = r.randrange(256)
            elif what == 2:
                data[at:at] = bytes(r.choice([[0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80,
                    0x80], [0xFF], [0xE2, 0x82], [0xF0, 0x9F, 0x98]]))
            else:
                del data[at:]
                data.append(r.randrange(0x80, 0x100))
        return {"hex": data.hex(), "text": data.decode("utf-8", "replace")}

    def mixed(self):
        r = self.rng
        makers = [self.ranges, self.forms, self.spaces, self.numbers, self.special, self.emoji,
                  self.code,
                  lambda: self.sentence(r.choice(self.languages))]
        return r.choice(["", " ", "\n"]).join(r.choice(makers)() for _ in range(r.randrange(2, 5)))

    def line(self, index):
        kinds = [self.ranges, self.forms, self.spaces, self.numbers, self.special, self.emoji,
                 self.code, self.broken,
                 self.mixed, self.ranges, self.mixed]
        if index < 2:
            return "" if index == 0 else " "
        if index % 2 == 0:  # every other line: the languages in turn
            return self.sentence(self.languages[index // 2 % len(self.languages)])
        if index % 401 == 0:
            return self.long()
        return kinds[index // 2 % len(kinds)]()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=int)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    maker = Maker(args.seed)
    with open(args.out, "w", encoding="utf-8") as out:
        for index in range(args.lines):
            out.write(json.dumps(maker.line(index), ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
