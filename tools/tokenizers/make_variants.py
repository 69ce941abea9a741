#!/usr/bin/python3
"""Writes small tokenizer.json files whose stages together cover what parse_tokenizer_json reads.

usage: make_variants.py GPT2_TOKENIZER_JSON UNIGRAM_MODEL OUT_DIR

GPT2_TOKENIZER_JSON lends its vocabulary to the byte-level variants, UNIGRAM_MODEL (SentencePiece)
its pieces, scores and character map. The WordPiece vocabulary is made here from words.txt.
"""
import base64
import copy
import json
import os
import sys
import unicodedata

import sentencepiece

HERE = os.path.dirname(os.path.abspath(__file__))


def added(token, content, special=True, **flags):
    entry = dict(id=token, content=content, single_word=False, lstrip=False, rstrip=False,
                 normalized=not special,
                 special=special)
    entry.update(flags)
    return entry


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*members, of="pretokenizers"):
    return {"type": "Sequence", of: list(members)}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
            "use_regex": regex}


BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"


def gpt2_variants():
    """Name → what replaces the fields of GPT-2's file."""
    flagged = [added(50256, "<|endoftext|>"), added(50257, "<mask>", lstrip=True), added(50258,
        "<s>", rstrip=True),
               added(1169, "the", special=False, single_word=True), added(50259, "</s>",
                   lstrip=True, rstrip=True),
               added(50260, "więcej", special=False), added(50261, "  ", special=False),
               added(50262, "<tool_call>", special=False, normalized=False),
               added(50263, "中国", special=False), added(50264, "[INST]", single_word=True),
               added(50265, "jestem", special=False)]
    return {
        "falcon": dict(pre_tokenizer=sequence({"type": "Punctuation", "behavior": "Contiguous"},
                                              byte_level(),
                                              {"type": "Digits", "individual_digits": False},
                                              split("[0-9][0-9][0-9]"))),
        "bloom": dict(pre_tokenizer=sequence(split(BLOOM), byte_level(regex=False)),
                      decoder=byte_level(prefix=True)),
        "roberta": dict(pre_tokenizer=byte_level(prefix=True),
                        post_processor={"type": "RobertaProcessing", "sep": ["</s>", 2],
                                        "cls": ["<s>", 0],
                                        "trim_offsets": True, "add_prefix_space": True}),
        "flags": dict(added_tokens=flagged),
        "flags_nfkc": dict(added_tokens=flagged, normalizer={"type": "NFKC"}),
        "flags_lower": dict(added_tokens=flagged, normalizer=sequence({"type": "NFD"},
            {"type": "Lowercase"}, {"type": "StripAccents"}, of="normalizers")),
        "strip": dict(normalizer=sequence({"type": "Strip", "strip_left": True,
                                           "strip_right": True}, {"type": "NFKD"},
                                          {"type": "Replace", "pattern": {"Regex": "\\s{2,}"},
                                           "content": " "},
                                          {"type": "Replace", "pattern": {"String": "a"},
                                           "content": "bb"},
                                          {"type": "Prepend", "prepend": "x "}, of="normalizers")),
        "previous": dict(pre_tokenizer=sequence({"type": "Punctuation",
                                                 "behavior": "MergedWithPrevious"},
                                                split("\\p{L}+", "MergedWithNext"),
                                                byte_level(regex=False))),
        "next": dict(pre_tokenizer=sequence({"type": "Punctuation", "behavior": "MergedWithNext"},
                                            split(" ", "MergedWithPrevious", kind="String"),
                                            byte_level(regex=False))),
        "removed": dict(pre_tokenizer=sequence(split("\\w+|[^\\w\\s]+", "Removed", True),
                                               {"type": "Digits", "individual_digits": True},
                                               byte_level(regex=False))),
        "words": dict(pre_tokenizer=sequence({"type": "Whitespace"}, byte_level(regex=False))),
        "spaces": dict(pre_tokenizer=sequence({"type": "WhitespaceSplit"}, split("[^\\s\\w]",
            "Contiguous"), byte_level())),
        "delimiter": dict(pre_tokenizer=sequence({"type": "CharDelimiterSplit", "delimiter": "-"},
                                                 {"type": "BertPreTokenizer"},
                                                 byte_level(regex=False))),
        "lines": dict(pre_tokenizer=sequence(split("[\r\n]"), split("\\s?\\p{L}+"),
                                             split("\\s?\\p{P}+"), split("\\s+$"),
                                             split("[一-龥ࠀ-一가-퟿]+"), {"type": "Digits",
                                                 "individual_digits": True},
                                             byte_level(regex=False))),
    }


def word_piece_vocabulary():
    words, chars = {}, set()
    with open(os.path.join(HERE, "words.txt"), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            for word in line.rstrip("\n").split(" ", 1)[1].replace("|", " ").split():
                for form in (word, word.lower(), unicodedata.normalize("NFD", word.lower())):
                    if form != word:
                        form = "".join(c for c in form if unicodedata.category(c) != "Mn")
                    chars.update(form)
                    for end in range(2, min(len(form), 7) + 1):
                        words[form[:end]] = True
                        words["##" + form[-end:]] = True
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += sorted(chars) + ["##" + c for c in sorted(chars)] + sorted(words)
    return {piece: index for index, piece in enumerate(dict.fromkeys(vocabulary))}


def bert(vocabulary, lowercase, post):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return {
        "version": "1.0", "added_tokens": [added(i, t) for i, t in enumerate(special)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": post,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }


def fields(data):
    """The length-delimited fields of a protobuf message: (number, bytes)."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if data[at - 1] < 0x80:
                return value, at
    at = 0
    while at < len(data):
        tag, at = varint(at)
        if tag & 7 == 2:
            size, at = varint(at)
            yield tag >> 3, data[at:at + size]
            at += size
        elif tag & 7 == 0:
            at = varint(at)[1]
        else:
            at += 4 if tag & 7 == 5 else 8


def character_map(model):
    """trainer's normalizer_spec.precompiled_charsmap"""
    return next(value for outer, spec in fields(model) if outer == 3 for number,
                value in fields(spec) if number == 2)


def unigram(pieces, normalizer, prepend, split_words, byte_fallback):
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": prepend,
            "split": split_words}
    return {
        "version": "1.0", "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": normalizer, "pre_tokenizer": meta, "decoder": meta,
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A",
            "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                                    {"Sequence": {"id": "B", "type_id": 0}}],
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [2],
                                                       "tokens": ["</s>"]}}},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": byte_fallback},
    }


def main():
    gpt2_path, model_path, out_dir = sys.argv[1:4]
    os.makedirs(out_dir, exist_ok=True)
    with open(gpt2_path, encoding="utf-8") as file:
        gpt2 = json.load(file)
    with open(model_path, "rb") as file:
        charsmap = base64.b64encode(character_map(file.read())).decode()
    processor = sentencepiece.SentencePieceProcessor(model_file=model_path)
    pieces = [[processor.id_to_piece(i),
               processor.get_score(i)] for i in range(processor.get_piece_size())]
    files = {}
    for name, changes in gpt2_variants().items():
        files[name] = copy.deepcopy(gpt2) | changes
    vocabulary = word_piece_vocabulary()
    files["bert"] = bert(vocabulary, True, {"type": "BertProcessing", "sep": ["[SEP]", 3],
                                            "cls": ["[CLS]", 2]})
    files["bert_cased"] = bert(vocabulary, False, None)
    squeeze = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    files["t5"] = unigram(pieces, sequence({"type": "Precompiled",
                                            "precompiled_charsmap": charsmap}, squeeze,
                                           of="normalizers"), "always", True, False)
    files["xlm"] = unigram(pieces, sequence({"type": "NFKC"}, squeeze, of="normalizers"), "first",
                           False, False)
    for name, value in files.items():
        with open(os.path.join(out_dir, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False)
    print(" ".join(files))


if __name__ == "__main__":
    main()
