#!/usr/bin/python3
"""What the type of K and V does to a model's log-probabilities.

  kv_types.py MODEL.gguf [--texts 40] [--tokens 700] [--isa NAME=TYPE ...]     SLUICE names the binary

The model samples texts of its own, whose tokens' log-probabilities are then asked for with each type and compared with those of an F32 cache.
--isa adds a type under another instruction set, such as avx512vnni=bf16."""
import argparse
import contextlib
import json
import math
import os
import socket
import subprocess
import time
import urllib.request

BINARY = os.environ.get("SLUICE", "build/release/sluice")
PROMPT = "Once upon a time"


def post(port, body):
    request = urllib.request.Request("http://127.0.0.1:%d/v1/completions" % port, json.dumps(body).encode(),
                                     {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["choices"][0]


@contextlib.contextmanager
def served(model, arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([BINARY, "serve", model, "--port", str(port), "--served-model-name", "m", *arguments],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen("http://127.0.0.1:%d/ready" % port, timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("%s did not serve %s with %s" % (BINARY, model, " ".join(arguments)))
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def log_probabilities(model, texts, arguments):
    out = []
    with served(model, arguments) as port:
        for text in texts:
            answer = post(port, {"model": "m", "prompt": text, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0})
            out += [next(iter(each.values()))["logprob"] for each in answer["prompt_logprobs"] if each]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=700)
    parser.add_argument("--isa", action="append", default=[])
    options = parser.parse_args()
    with served(options.model, []) as port:
        texts = [PROMPT + post(port, {"model": "m", "prompt": PROMPT, "max_tokens": options.tokens, "temperature": 1, "seed": seed,
                                      "ignore_eos": True})["text"] for seed in range(options.texts)]
    exact = log_probabilities(options.model, texts, ["--kv-cache-dtype", "f32"])
    print("%d tokens, mean log-probability with f32 %.5f" % (len(exact), sum(exact) / len(exact)))
    cases = [(kind, ["--kv-cache-dtype", kind]) for kind in ("f16", "bf16", "int8")]
    for each in options.isa:
        isa, kind = each.split("=")
        cases.append(("%s, %s" % (kind, isa), ["--kv-cache-dtype", kind, "--isa", isa]))
    for name, arguments in cases:
        found = log_probabilities(options.model, texts, arguments)
        away = [a - b for a, b in zip(found, exact, strict=True)]
        print("%-20s mean %.5f; away from f32: mean %+.1e, rms %.1e, largest %.2f" % (
            name, sum(found) / len(found), sum(away) / len(away), math.sqrt(sum(x * x for x in away) / len(away)), max(map(abs, away))))


if __name__ == "__main__":
    main()
