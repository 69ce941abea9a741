#!/usr/bin/python3
"""Decoding rate of the server with one and with many streams, beside a peer on the same file in the same run.

usage: run.py MODEL.gguf [--streams 16] [--seconds 60] [--rounds 3] [--peer 'COMMAND …']

Rounds are interleaved: one stream, many streams, peer. Rates are output tokens per second of decoding: the tokens after
each request's first, over the time between first and last. A peer is any command that prints a line
`decode_tokens_per_second N` for the model given as its last argument; peer_node_llama.mjs is one for llama.cpp.
Other processes' share of the cores is printed for each measurement: a noisy one says little.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "http"))
from server import BINARY, Server  # noqa: E402


def busy_ticks():
    """CPU time of the whole machine, in ticks."""
    with open("/proc/stat") as f:
        fields = [int(x) for x in f.readline().split()[1:]]
    return sum(fields) - fields[3] - fields[4]


def process_ticks(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


class OtherLoad:
    """Share of the cores that others used while a measurement ran."""

    def __init__(self, pid):
        self.pid, self.ticks, self.own, self.at = pid, busy_ticks(), process_ticks(pid), time.monotonic()

    def share(self, client_seconds):
        hz = os.sysconf("SC_CLK_TCK")
        span = (time.monotonic() - self.at) * os.cpu_count()
        others = (busy_ticks() - self.ticks - process_ticks(self.pid) + self.own) / hz - client_seconds
        return max(others, 0) / span


def run_load(server, streams, requests, output):
    load = OtherLoad(server.process.pid)
    before = os.times()
    out = subprocess.run([BINARY, "bench", "--url", server.url, "--max-concurrency", str(streams), "--num-prompts",
                          str(requests), "--input-words", "16", "--output-tokens", str(output), "--ignore-eos",
                          "-o", "json"], capture_output=True, text=True, check=True)
    after = os.times()
    client = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(out.stdout), load.share(client)


def decode_rate(summary, streams):
    """Streams run side by side: their common rate follows from the mean time between tokens."""
    return streams * 1000.0 / summary["tpot_ms"]["mean"]


def measure(server, streams, seconds):
    probe, _ = run_load(server, streams, streams, 16)
    per_token = probe["tpot_ms"]["mean"] / 1000.0
    output = max(32, min(512, int(seconds / per_token / 2)))
    requests = streams * max(1, round(seconds / (per_token * output)))
    summary, others = run_load(server, streams, requests, output)
    return decode_rate(summary, streams), others, summary["duration_seconds"]


def measure_peer(command, model):
    out = subprocess.run(command.split() + [model], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"decode_tokens_per_second ([\d.]+)", out).group(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    one, many, peer = [], [], []
    for number in range(args.rounds):
        with Server(["--threads", str(args.threads), "--max-model-len", "2048"], models=(args.model,)) as server:
            for streams, rates in ((1, one), (args.streams, many)):
                rate, others, seconds = measure(server, streams, args.seconds)
                rates.append(rate)
                print("round %d: %2d streams: %.1f tokens/s over %.0f s (others used %.0f %% of the cores)" %
                      (number + 1, streams, rate, seconds, others * 100), flush=True)
        if args.peer:
            peer.append(measure_peer(args.peer, args.model))
            print("round %d: peer: %.1f tokens/s" % (number + 1, peer[-1]), flush=True)
    result = {"one_stream": statistics.median(one), "streams": args.streams, "many_streams": statistics.median(many),
              "gain": statistics.median(b / a for a, b in zip(one, many))}
    if peer:
        result["peer_one_stream"] = statistics.median(peer)
        result["ratio_to_peer"] = statistics.median(a / p for a, p in zip(one, peer))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
