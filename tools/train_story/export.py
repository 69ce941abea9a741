"""Writes a checkpoint as GGUF: matrices Q8_0, norms F32, tokenizer and chat template inside."""
import argparse
import pathlib

import torch

import bpe
import corpus
import gguf
from model import Shape

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% set role = 'system' if message['role'] == 'developer' else message['role'] %}"
    "{% if role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('This model knows the roles system, user and assistant.') }}"
    "{% endif %}"
    "{{ '<|' + role + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")

NORMAL, CONTROL = 1, 3
FILE_TYPE_Q8_0 = 7


def put_metadata(out, shape, tok):
    out.put("general.architecture", gguf.STR, "llama")
    out.put("general.type", gguf.STR, "model")
    out.put("general.name", gguf.STR, "Sluice story")
    out.put("general.description", gguf.STR,
            "Tells short children's stories and answers a few questions about Sluice.")
    out.put("general.license", gguf.STR, "apache-2.0")
    out.put_array("general.languages", gguf.STR, ["en"])
    out.put("general.file_type", gguf.U32, FILE_TYPE_Q8_0)
    out.put("general.quantization_version", gguf.U32, 2)
    for key, value in (("context_length", shape.context), ("embedding_length", shape.width),
                       ("block_count", shape.layers), ("feed_forward_length", shape.ffn),
                       ("attention.head_count", shape.heads),
                       ("attention.head_count_kv", shape.kv_heads),
                       ("rope.dimension_count", shape.head_dim), ("vocab_size", shape.vocab)):
        out.put("llama." + key, gguf.U32, value)
    out.put("llama.attention.layer_norm_rms_epsilon", gguf.F32, shape.eps)
    out.put("llama.rope.freq_base", gguf.F32, shape.rope_base)

    out.put("tokenizer.ggml.model", gguf.STR, "gpt2")
    out.put("tokenizer.ggml.pre", gguf.STR, "gpt-2")
    out.put_array("tokenizer.ggml.tokens", gguf.STR, tok.tokens)
    out.put_array("tokenizer.ggml.token_type", gguf.I32,
                  [CONTROL if t in bpe.SPECIALS else NORMAL for t in tok.tokens])
    out.put_array("tokenizer.ggml.merges", gguf.STR, [" ".join(m) for m in tok.merges])
    for key, name in (("bos", "endoftext"), ("eos", "end"), ("eot", "end"),
                      ("padding", "endoftext")):
        out.put("tokenizer.ggml.%s_token_id" % key, gguf.U32, tok.special(name))
    out.put("tokenizer.ggml.add_bos_token", gguf.BOOL, False)
    out.put("tokenizer.ggml.add_eos_token", gguf.BOOL, False)
    out.put("tokenizer.chat_template", gguf.STR, CHAT_TEMPLATE)


def export(checkpoint, tok, path):
    """The parameters' names in model.py are GGUF's names already."""
    shape = Shape(vocab=len(tok.tokens))
    out = gguf.Writer()
    put_metadata(out, shape, tok)
    for name, weight in torch.load(checkpoint)["model"].items():
        out.tensor(name, weight.numpy())
    out.write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/train_story"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("models/story.gguf"))
    args = parser.parse_args()
    tok = corpus.load_tokenizer(args.work / "tokenizer.json")
    export(args.work / "checkpoint.pt", tok, args.out)
    print("%s: %d bytes" % (args.out, args.out.stat().st_size))


if __name__ == "__main__":
    main()
