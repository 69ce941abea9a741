#!/usr/bin/python3
"""Writes what a GGUF file would say of a byte-level tokenizer.json.

usage: to_gguf_fields.py TOKENIZER_JSON PRE OUT

PRE is the name of the pattern (tokenizer.ggml.pre). BOS and EOS are taken from the post-processor.
"""
import json
import sys


def surrounding(file):
    """The ids before and after the text."""
    processor = file.get("post_processor") or {}
    members = processor.get("processors", [processor])
    before, after = [], []
    for member in members:
        side = before
        for part in member.get("single", []) if member.get("type") == "TemplateProcessing" else []:
            if "Sequence" in part:
                side = after
            else:
                side += member["special_tokens"][part["SpecialToken"]["id"]]["ids"]
    return before, after


def main():
    source, pre, out = sys.argv[1:4]
    with open(source, encoding="utf-8") as lines:
        file = json.load(lines)
    pieces = dict(file["model"]["vocab"])
    types = dict.fromkeys(pieces.values(), 1)
    for token in file["added_tokens"]:
        pieces[token["content"]] = token["id"]
        types[token["id"]] = 3 if token["special"] else 4
    size = max(types) + 1
    tokens = [f"[UNUSED{i}]" for i in range(size)]
    for piece, index in pieces.items():
        tokens[index] = piece
    before, after = surrounding(file)
    fields = dict(model="gpt2", pre=pre, tokens=tokens, types=[types.get(i,
        5) for i in range(size)],
                  merges=[m if isinstance(m,
                                          str) else " ".join(m) for m in file["model"]["merges"]],
                  bos=before[0] if before else None, eos=after[0] if after else None,
                  add_bos=bool(before), add_eos=bool(after))
    with open(out, "w", encoding="utf-8") as target:
        json.dump(fields, target)


if __name__ == "__main__":
    main()
