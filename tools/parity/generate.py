#!/usr/bin/python3
"""Writes the parity test's models: NAME.gguf, for some also the folder NAME/, and manifest.json.

usage: generate.py OUT [NAME…]

The same seed gives the same bytes; manifest.json holds each file's SHA-256 and the prompts.
"""
import hashlib
import json
import os
import sys

import blocks
import weights
import write_gguf
import write_hf
from zoo import CONTEXT, MODELS, VOCAB

PROMPTS = 8
POSITIONS = 64


def prompts():
    """Each begins with <s>; the others are any tokens but the three special ones."""
    out = []
    for i in range(PROMPTS):
        raw = blocks.Bits(weights.SEED, 77, i).bytes(8 * (POSITIONS - 1)).view("<u8")
        out.append([1] + [3 + int(r % (VOCAB - 3)) for r in raw])
    return out


def main(out, names):
    os.makedirs(out, exist_ok=True)
    entries = {}
    for m in MODELS:
        if names and m["name"] not in names:
            continue
        tensors = weights.tensors(m)
        raw = write_gguf.encode(m, tensors)
        with open(os.path.join(out, m["name"] + ".gguf"), "wb") as f:
            f.write(raw)
        if "hf" in m:
            write_hf.write(m, tensors, os.path.join(out, m["name"]))
        entries[m["name"]] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw),
                              "kind": m["kind"], "hf": "hf" in m}
    with open(os.path.join(out, "manifest.json"), "w", encoding="utf-8") as f:
        json.dump({"context": CONTEXT, "vocab": VOCAB, "prompts": prompts(), "models": entries}, f,
                  indent=1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], set(sys.argv[2:]))
