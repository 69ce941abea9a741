"""Byte-level BPE as GPT-2 does it: trainer, encoder, decoder.

Text is cut by the pre-tokenizer pattern; each piece is a run of bytes, each byte printed as one
character of a fixed alphabet; merges join neighbours in the order in which they were learned.
"""
import re
from collections import Counter, defaultdict

SPECIALS = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]

# GPT-2's pattern. Python's re has no \p classes: a letter is a word character that is neither
# digit nor underscore, which is the same for all but a few number-like characters.
PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:_|[^\s\w])+|\s+(?!\S)|\s+")
_SPECIAL = re.compile("(" + "|".join(re.escape(s) for s in SPECIALS) + ")")


def byte_alphabet():
    """The 256 characters that stand for the bytes: printable ones stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    chars, extra = {}, 256
    for byte in range(256):
        if byte in plain:
            chars[byte] = chr(byte)
        else:
            chars[byte], extra = chr(extra), extra + 1
    return chars


_CHARS = byte_alphabet()
_BYTES = {c: b for b, c in _CHARS.items()}


def pieces(text):
    return ["".join(_CHARS[b] for b in piece.encode()) for piece in PIECE.findall(text)]


def train(texts, vocab_size):
    """Learns merges until alphabet + merges + specials fill the vocabulary. Ties break by text."""
    counts = Counter(piece for text in texts for piece in pieces(text))
    words = [list(piece) for piece in counts]
    weights = list(counts.values())
    pairs, where = Counter(), defaultdict(set)
    for n, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weights[n]
            where[pair].add(n)
    merges = []
    while len(merges) < vocab_size - 256 - len(SPECIALS):
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] < 2:
            raise ValueError("the text is too small for a vocabulary of %d" % vocab_size)
        merges.append(best)
        for n in sorted(where[best]):
            word = words[n]
            for pair in zip(word, word[1:]):
                pairs[pair] -= weights[n]
                where[pair].discard(n)
            words[n] = word = _merge(word, best)
            for pair in zip(word, word[1:]):
                pairs[pair] += weights[n]
                where[pair].add(n)
        del pairs[best]
    return merges


def _merge(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


class Tokenizer:
    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.tokens = [_CHARS[b] for b in sorted(_CHARS, key=lambda b: ord(_CHARS[b]))]
        self.tokens += ["".join(m) for m in self.merges] + SPECIALS
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise ValueError("two merges make the same token")
        self._rank = {m: r for r, m in enumerate(self.merges)}
        self._cache = {}

    def special(self, name):
        return self.ids["<|%s|>" % name]

    def _piece(self, piece):
        if piece not in self._cache:
            word = list(piece)
            while len(word) > 1:
                best = min(zip(word, word[1:]), key=lambda p: self._rank.get(p, 1 << 30))
                if best not in self._rank:
                    break
                word = _merge(word, best)
            self._cache[piece] = [self.ids[t] for t in word]
        return self._cache[piece]

    def encode(self, text, specials=False):
        """Token ids of a text; with `specials`, special tokens in it are read as such."""
        out = []
        for part in _SPECIAL.split(text) if specials else [text]:
            if specials and part in self.ids and part in SPECIALS:
                out.append(self.ids[part])
            else:
                for piece in pieces(part):
                    out += self._piece(piece)
        return out

    def decode(self, ids):
        text = bytearray()
        for i in ids:
            token = self.tokens[i]
            text += token.encode() if token in SPECIALS else bytes(_BYTES[c] for c in token)
        return text.decode("utf-8", "replace")
