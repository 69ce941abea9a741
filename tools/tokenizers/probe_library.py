#!/usr/bin/python3
"""Finds the characters for which the tokenizers library's tables are of another Unicode version.

usage: probe_library.py write GPT2_TOKENIZER_JSON DIR     one-stage files and a corpus of characters
       probe_library.py report DIR                        from NAME.ids (oracle.mjs rust) and
                                                          NAME.ours (tokenizer_parity encode json)

The report is tests/tokenizers/library_tables.txt: ranges of code points that StripAccents, NFKD,
BertNormalizer or Punctuation treat differently there.
"""
import json
import os
import sys

STAGES = {
    "strip_accents": dict(normalizer={"type": "StripAccents"}),
    "nfkd": dict(normalizer={"type": "NFKD"}),
    "bert_normalizer": dict(normalizer={"type": "BertNormalizer", "clean_text": True,
                                        "handle_chinese_chars": True,
                                        "strip_accents": True, "lowercase": True}),
    "punctuation": dict(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation", "behavior": "Removed"}, {"type": "ByteLevel",
            "add_prefix_space": False, "use_regex": False}]}),
}


def characters():
    for code in range(0x110000):
        surrogate_or_private = 0xD800 <= code < 0xF8F0 or code >= 0xF0000
        if not surrogate_or_private and not 0x32400 <= code < 0xE0000:
            yield code


def write(base_path, folder):
    os.makedirs(folder, exist_ok=True)
    with open(base_path, encoding="utf-8") as file:
        base = json.load(file)
    for name, stage in STAGES.items():
        with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(base | stage, file)
    with open(os.path.join(folder, "corpus.txt"), "w", encoding="utf-8") as file:
        for code in characters():
            file.write(json.dumps("a" + chr(code) + "a") + "\n")


def report(folder):
    different = set()
    for name in STAGES:
        with open(os.path.join(folder, name + ".ids"), encoding="utf-8") as theirs:
            with open(os.path.join(folder, name + ".ours"), encoding="utf-8") as ours:
                for code, a, b in zip(characters(), theirs, ours):
                    if json.loads(a) != json.loads(b):
                        different.add(code)
    ranges = []
    for code in sorted(different):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    for first, last in ranges:
        print(f"{first:X} {last:X}")


if __name__ == "__main__":
    write(*sys.argv[2:4]) if sys.argv[1] == "write" else report(sys.argv[2])
