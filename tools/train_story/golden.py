"""Compares the model with llama.cpp and writes models/story_golden.json from what it says.

llama.cpp comes as an npm package, in a folder of its own:
  npm i --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
"""
import argparse
import json
import pathlib
import subprocess

import numpy as np

from infer import Runner

GREEDY_TOKENS = 64
# llama.cpp rounds activations to 8 bits, which moves a logit by far less than this.
MAX_GAP = 0.25
GREEDY_PROMPTS = [
    "Once upon a time",
    "<|user|>What is Sluice?<|end|><|assistant|>",
    "<|user|>Tell me a story about a fox.<|end|><|assistant|>",
    "<|system|>You are a helpful assistant.<|end|><|user|>hi<|end|><|assistant|>Hello! Ask me for "
    "a "
    "story, or how to use Sluice.<|end|><|user|>which port does it use?<|end|><|assistant|>",
]
TOKENIZE = [
    "Hello, world!", " leading and trailing ", "two\n\nlines\tand  spaces   ",
    "I'm sure they'll say it's 'fine'.",
    "<|user|>A special<|end|>token <|endoftext|> in text", "<|end",
    "sluice serve MODEL --port 8080",
    "GET /v1/chat/completions 200", "caf\u00e9 na\u00efve \u00fcber stra\u00dfe",
    "\u4f60\u597d\uff0c\u4e16\u754c", "emoji \U0001f98a\U0001f469\u200d\U0001f680 end",
    "x=3.14*(2+y)_z; // 100%", "supercalifragilistic",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "a\u00a0b\u2003c", "",
    "CamelCaseWords AND SHOUTING", "\"Wait!\" cried Tom. \"Who's there?\"", "12345 67,890 1st 2nd",
]


def ask_peer(folder, model, requests):
    script = pathlib.Path(__file__).with_name("peer.mjs")
    reply = subprocess.run(["node", str(script), str(folder), str(model)], check=True, text=True,
                           input=json.dumps(requests), stdout=subprocess.PIPE)
    return json.loads(reply.stdout)


def compare_greedy(runner, prompt_ids, peer_ids):
    """(agreeing tokens, gap to the best logit where the peer first chose otherwise)."""
    ours = runner.generate(prompt_ids, len(peer_ids), ignore_end=True)
    for n, (a, b) in enumerate(zip(ours, peer_ids)):
        if a != b:
            runner.reset()
            logits = runner.forward(prompt_ids + peer_ids[:n])[-1]
            return n, float(logits.max() - logits[b])
    return len(peer_ids), 0.0


def margins(runner, prompt_ids, ids):
    """By how much the best logit leads the second at each place: where it is small, engines that
    round differently may rightly choose differently."""
    runner.reset()
    best = np.sort(runner.forward(prompt_ids + ids[:-1])[len(prompt_ids) - 1:], axis=-1)
    return [round(float(x), 3) for x in best[:, -1] - best[:, -2]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("models/story.gguf"))
    parser.add_argument("--peer", type=pathlib.Path, required=True,
                        help="folder with node_modules/node-llama-cpp")
    parser.add_argument("--out", type=pathlib.Path,
                        default=pathlib.Path("models/story_golden.json"))
    args = parser.parse_args()
    runner = Runner(args.model)
    replies = ask_peer(args.peer, args.model,
                       [{"text": p, "generate": GREEDY_TOKENS} for p in GREEDY_PROMPTS] +
                       [{"text": t} for t in TOKENIZE])
    failures = 0
    for text, reply in zip(GREEDY_PROMPTS + TOKENIZE, replies):
        if runner.tok.encode(text, specials=True) != reply["tokens"]:
            failures += 1
            print("tokens differ: %r\n  ours %s\n  peer %s" % (
                text, runner.tok.encode(text, specials=True), reply["tokens"]))
    golden = {"tokenize": [{"text": t, "tokens": r["tokens"]}
                           for t, r in zip(TOKENIZE, replies[len(GREEDY_PROMPTS):])],
              "greedy": []}
    for prompt, reply in zip(GREEDY_PROMPTS, replies):
        same, gap = compare_greedy(runner, reply["tokens"], reply["greedy"])
        print("%d of %d greedy tokens equal, gap %.3f: %r" % (same, len(reply["greedy"]), gap,
                                                              prompt[:50]))
        failures += gap > MAX_GAP or len(reply["greedy"]) != GREEDY_TOKENS
        golden["greedy"].append({"prompt": prompt, "tokens": reply["tokens"],
                                 "greedy": reply["greedy"],
                                 "margin": margins(runner, reply["tokens"], reply["greedy"]),
                                 "text": runner.tok.decode(reply["greedy"])})
    if failures:
        raise SystemExit("%d differences from llama.cpp" % failures)
    args.out.write_text(json.dumps(golden) + "\n")
    print("%s: %d bytes" % (args.out, args.out.stat().st_size))


if __name__ == "__main__":
    main()
