#!/usr/bin/python3
"""Trains small SentencePiece models on a corpus and writes what they make of it.

usage: sentencepiece_oracle.py CORPUS OUT_DIR

Needs Debian's python3-sentencepiece. For each of a few settings it writes NAME.model, NAME.ids (one
JSON array a line) and NAME.dec (what the ids decode to). The corpus is that of make_corpus.py.
"""
import json
import os
import sys

import sentencepiece

SETTINGS = {
    "bpe_bytes": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                      remove_extra_whitespaces=False, vocab_size=6000, character_coverage=0.98),
    "bpe_plain": dict(model_type="bpe", vocab_size=6000, character_coverage=0.98,
                      add_dummy_prefix=False,
                      user_defined_symbols=["<table>", "the", "\u4e2d\u56fd"]),
    "unigram": dict(model_type="unigram", vocab_size=6000, character_coverage=0.98),
    "unigram_bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=6000,
                          character_coverage=0.98,
                          normalization_rule_name="nmt_nfkc_cf", user_defined_symbols=["<h1>"]),
}
TRAINED_LINES = 6000


def main():
    corpus, out_dir = sys.argv[1:3]
    os.makedirs(out_dir, exist_ok=True)
    with open(corpus, encoding="utf-8") as lines:
        values = [json.loads(line) for line in lines]
    texts = [value if isinstance(value, str) else value["text"] for value in values]
    parts = [part for text in texts[:TRAINED_LINES] for part in text.split("\n")]
    short = [part for part in parts if 0 < len(part) < 500]
    short = [part.replace("\x00", "") for part in short]
    for name, setting in SETTINGS.items():
        prefix = os.path.join(out_dir, name)
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(short), model_prefix=prefix,
                                                 num_threads=2,
                                                 hard_vocab_limit=False, minloglevel=2, **setting)
        processor = sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")
        with open(prefix + ".ids", "w", encoding="utf-8") as ids, open(prefix + ".dec", "w",
            encoding="utf-8") as dec:
            for text in texts:
                encoded = processor.encode(text)
                ids.write(json.dumps(encoded) + "\n")
                dec.write(json.dumps(processor.decode(encoded)) + "\n")


if __name__ == "__main__":
    main()
