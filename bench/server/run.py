#!/usr/bin/python3
"""Compares OpenAI-compatible servers under the same loads. See README.md."""
import argparse
import http.client
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import machine  # noqa: E402


class Server:
    """A started server; its start is timed up to the first token."""

    def __init__(self, name, command, model, port, log):
        self.name, self.port = name, port
        words = shlex.split(command.format(model=model, port=port))
        begin = time.monotonic()
        self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.wait_for_a_token(begin)
        except BaseException:
            self.stop()
            raise
        self.first_token_s = time.monotonic() - begin

    def wait_for_a_token(self, begin):
        while self.post({"prompt": "the", "max_tokens": 1, "temperature": 0}) != 200:
            if self.process.poll() is not None:
                raise RuntimeError("%s ended with status %d" % (self.name, self.process.returncode))
            if time.monotonic() - begin > 120:
                raise RuntimeError("%s did not answer within 120 s" % self.name)
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def post(self, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status
        except OSError:
            return None
        finally:
            connection.close()

    def memory(self):
        return machine.memory_mib(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    def __init__(self, binary, requests):
        self.binary = binary
        self.requests = requests  # of the case `clients`
        self.seed = 0

    def begin(self, server, **options):
        """Starts a load; every one has prompts of its own, so that no cache knows them."""
        self.seed += 1
        words = [self.binary, "bench", "--url", "http://127.0.0.1:%d" % server.port, "--ignore-eos", "-o", "json", "--seed",
                 str(options.pop("seed", self.seed))]
        if options.pop("plain", False):
            words.append("--no-stream")
        for key, value in options.items():
            words += ["--" + key.replace("_", "-"), str(value)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self, server, **options):
        return self.end(self.begin(server, **options))

    @staticmethod
    def end(process):
        summary = json.loads(process.communicate()[0])
        summary["failed"] = summary["requests"] - summary["succeeded"]
        return summary


def start_case(server, client):
    return {"first_token_s": server.first_token_s, "rss_mib": server.memory()["VmRSS"]}


def clients_case(server, client):
    s = client.run(server, num_prompts=client.requests, max_concurrency=16, input_words=128, max_input_words=1024, output_tokens=128,
                   temperature=1)
    return {"output_tok_s": s["output_tokens_per_second"], "ttft_p99_ms": s["ttft_ms"]["p99"],
            "itl_p50_ms": s["itl_ms"]["p50"], "itl_p99_ms": s["itl_ms"]["p99"], "failed": s["failed"]}


def prefix_case(server, client):
    seed = 777
    cold = client.run(server, num_prompts=1, max_concurrency=1, prefix_words=1000, input_words=40, output_tokens=4, seed=seed)
    load = dict(num_prompts=16, max_concurrency=16, prefix_words=1000, output_tokens=16)
    s = client.run(server, input_words=40, seed=seed, **load)
    short = client.run(server, input_words=6, seed=seed, **load)
    steady = client.run(server, num_prompts=96, max_concurrency=16, prefix_words=1000, input_words=40, output_tokens=64, seed=seed)
    apart = client.run(server, num_prompts=16, max_concurrency=16, input_words=1040, output_tokens=16)
    return {"ttft_cold_ms": cold["ttft_ms"]["p50"], "ttft_apart_p50_ms": apart["ttft_ms"]["p50"],
            "ttft_shared_p50_ms": s["ttft_ms"]["p50"],
            "ttft_short_p50_ms": short["ttft_ms"]["p50"], "ttft_steady_p50_ms": steady["ttft_ms"]["p50"],
            "hit_rate": s["cached_input_tokens"] / max(s["input_tokens"], 1),
            "failed": apart["failed"] + s["failed"] + short["failed"] + steady["failed"]}


def long_prompt_case(server, client):
    load = dict(num_prompts=8, max_concurrency=8, input_words=16, output_tokens=192, temperature=1)
    alone = client.run(server, **load)
    streams = client.begin(server, **load)
    time.sleep(0.5)
    prompt = client.run(server, num_prompts=1, max_concurrency=1, input_words=4000, output_tokens=4)
    mixed = client.end(streams)
    return {"itl_p99_alone_ms": alone["itl_ms"]["p99"], "itl_p99_mixed_ms": mixed["itl_ms"]["p99"],
            "ttft_long_ms": prompt["ttft_ms"]["p50"], "failed": mixed["failed"] + prompt["failed"]}


def copy_case(server, client):
    s = client.run(server, num_prompts=3, max_concurrency=1, input_words=1, output_tokens=128,
                   prompt_file=os.path.join(HERE, "copy.txt"))
    return {"tok_s": 1000 / s["tpot_ms"]["mean"], "failed": s["failed"]}


def random_case(server, client):
    s = client.run(server, num_prompts=3, max_concurrency=1, input_words=200, output_tokens=128, temperature=1)
    return {"tok_s": 1000 / s["tpot_ms"]["mean"], "failed": s["failed"]}


def overhead_case(server, client):
    s = client.run(server, num_prompts=2000, max_concurrency=1, input_words=1, output_tokens=1, plain=True)
    return {"requests_s": s["requests_per_second"], "failed": s["failed"]}


def memory_case(server, client):
    s = client.run(server, num_prompts=32, max_concurrency=32, input_words=950, output_tokens=48)
    return {"highest_rss_mib": server.memory()["VmHWM"], "failed": s["failed"]}


# What is better in the figure that ratios are made of.
CASES = {"start": (start_case, "first_token_s", "less"), "clients": (clients_case, "output_tok_s", "more"),
         "prefix": (prefix_case, "ttft_shared_p50_ms", "less"), "long-prompt": (long_prompt_case, "itl_p99_mixed_ms", "less"),
         "copy": (copy_case, "tok_s", "more"), "random": (random_case, "tok_s", "more"),
         "overhead": (overhead_case, "requests_s", "more"), "memory": (memory_case, "highest_rss_mib", "less")}


def measure(a, results):
    servers = [s.split("=", 1) for s in a.server]
    client = Client(os.path.join(a.build, "sluice"), a.requests)
    starts = 0
    name = os.path.splitext(os.path.basename(a.model))[0]
    with open(a.log, "ab") as log:
        for number in range(a.rounds):
            for case in a.case.split(","):
                turn = servers[number % len(servers):] + servers[:number % len(servers)]
                for label, command in turn:
                    client.seed = 100 * number
                    machine.wait_until_quiet(a.max_other, a.patience)
                    row = {"model": name, "case": case, "server": label, "at": int(time.time())}
                    others = machine.Others()
                    starts += 1  # a port of its own: not every server binds one with connections in TIME_WAIT
                    model = a.tiny if case == "overhead" else a.model
                    try:
                        with Server(label, command, model, a.port + starts % 100, log) as server:
                            row.update(CASES[case][0](server, client))
                    except (RuntimeError, ValueError, KeyError, OSError) as e:
                        row["error"] = repr(e)
                    row["others"] = others.share()
                    results["samples"].append(row)
                    print(json.dumps(row), flush=True)
                    if a.out:
                        with open(a.out + ".new", "w") as f:
                            json.dump(results, f, indent=0)
                        os.replace(a.out + ".new", a.out)


def report(results, max_other):
    groups = {}
    for s in results["samples"]:
        if "error" not in s:
            groups.setdefault((s["model"], s["case"]), {}).setdefault(s["server"], []).append(s)
    order = list(dict.fromkeys(s["server"] for s in results["samples"]))
    order.sort(key=lambda n: n != "sluice")
    print("| model | case | figure | %s | ratio |" % " | ".join(order))
    print("|" + " --- |" * (len(order) + 4))
    for (model, case), by_server in sorted(groups.items()):
        _, main_figure, better = CASES[case]
        figures = [k for k in next(iter(by_server.values()))[0] if k not in ("model", "case", "server", "at", "others")]
        for figure in figures:
            cells = {}
            for label, samples in by_server.items():
                quiet = [s for s in samples if s["others"] <= max_other]
                cells[label] = statistics.median(s[figure] for s in quiet or samples)
            others = [v for k, v in cells.items() if k != order[0]]
            ratio = ""
            if figure == main_figure and others and cells.get(order[0]):
                best = max(others) if better == "more" else min(others)
                ratio = "%.2f" % (cells[order[0]] / best)
            print("| %s | %s | %s | %s | %s |" % (
                model, case, figure, " | ".join("%.4g" % cells[n] if n in cells else "" for n in order), ratio))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--tiny", default=os.path.join(HERE, "..", "..", "models", "story.gguf"))
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--case", default="start,clients,prefix,long-prompt,copy,random,overhead")
    parser.add_argument("--requests", type=int, default=48, help="of the case clients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build", "release"))
    parser.add_argument("--max-other", type=float, default=0.05)
    parser.add_argument("--patience", type=float, default=10, help="seconds to wait for a quiet machine")
    parser.add_argument("--log", default=os.devnull, help="what the servers print")
    parser.add_argument("--out", help="results; added to if it exists")
    parser.add_argument("--report", help="print the table of these results and measure nothing")
    a = parser.parse_args()
    unknown = [c for c in a.case.split(",") if c not in CASES]
    if unknown:
        parser.error("unknown case %s; there are %s" % (unknown[0], " ".join(CASES)))
    path = a.report or a.out
    results = json.load(open(path)) if path and os.path.exists(path) else {"samples": []}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped on the way out
    if not a.report:
        if not a.model or not a.server:
            parser.error("--model and --server are needed")
        measure(a, results)
    report(results, a.max_other)


if __name__ == "__main__":
    main()
