#!/usr/bin/python3
"""Two tenants at one gateway before one real runtime, one of them greedy: how much longer the other's requests take than when it is
alone. See README.md.
  fairness.py [--rounds N] [--requests N]     SLUICE names the binary"""
import argparse
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "http"))
from server import BINARY, Server  # noqa: E402

TOKEN = "bench-internal"
GREEDY_CONNECTIONS = 32
GREEDY_PROMPT = "Once upon a time there was a greedy fox who wanted all of the cheese and"
SETTLED = 1.0  # seconds that the greedy one has been there before the other is measured

# What keeps the greedy one in its bounds, and how it asks: so many requests a second whatever becomes of them, or one on each of its
# connections at any time (0), or as fast as wrk can (None).
CASES = {
    "requests_per_minute: 120, 200 a second asked": ({"requests_per_minute": 120}, {}, 200),
    "concurrency: 1, 200 a second asked": ({"concurrency": 1}, {}, 200),
    "tokens_per_minute: 6000, 200 a second asked": ({"tokens_per_minute": 6000}, {}, 200),
    "requests_per_minute: 120, wrk on %d connections" % GREEDY_CONNECTIONS: ({"requests_per_minute": 120}, {}, None),
    "no limits, queue of 2 places, %d at any time" % GREEDY_CONNECTIONS: ({}, {"max_concurrent": 2, "max_wait": "60s"}, 0),
}


def body(text, tokens):
    return json.dumps({"model": "story", "prompt": text, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}).encode()


def post(connection, key, data):
    """The status of a whole answer."""
    connection.request("POST", "/v1/completions", data, {"Content-Type": "application/json", "Authorization": "Bearer " + key})
    response = connection.getresponse()
    response.read()
    return response.status


def be_greedy(port, rate):
    """Until standard input ends; then prints how many answers of each status there were."""
    over = threading.Event()
    counts, lock = {}, threading.Lock()
    began = time.perf_counter()
    data = body(GREEDY_PROMPT, 48)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        at = number
        while not over.is_set():
            if rate and over.wait(max(0.0, began + at / rate - time.perf_counter())):
                return
            at += GREEDY_CONNECTIONS
            status = post(connection, "greedy", data)
            with lock:
                counts[status] = counts.get(status, 0) + 1
    threads = [threading.Thread(target=client, args=(i,), daemon=True) for i in range(GREEDY_CONNECTIONS)]
    for each in threads:
        each.start()
    sys.stdin.read()
    over.set()
    print(json.dumps(counts), flush=True)
    os._exit(0)


WRK = """
wrk.method = "POST"
wrk.body = %s
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer greedy"
"""


class Greedy:
    """The greedy one, in a process of its own; stop() tells how many answers of each status it had."""

    def __init__(self, folder, port, rate):
        self.wrk = rate is None
        if self.wrk:
            script = os.path.join(folder, "greedy.lua")
            with open(script, "w") as f:
                f.write(WRK % json.dumps(body(GREEDY_PROMPT, 48).decode()))
            command = ["wrk", "-t1", "-c%d" % GREEDY_CONNECTIONS, "-d600", "-s", script, "http://127.0.0.1:%d/v1/completions" % port]
        else:
            command = [sys.executable, __file__, "--greedy", str(port), str(rate)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self):
        if self.wrk:
            self.process.send_signal(signal.SIGINT)
        told, _ = self.process.communicate()
        if not self.wrk:
            return json.loads(told)
        number = lambda pattern: int((re.search(pattern, told) or [0, 0])[1])  # noqa: E731
        refused = number(r"Non-2xx or 3xx responses: (\d+)")
        return {"200": number(r"(\d+) requests in") - refused, "429": refused}


def be_modest(port, requests):
    """Seconds of each of so many requests, one after another."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    data = body("A small dog found a red ball in the garden.", 256)
    times = []
    for _ in range(requests):
        began = time.perf_counter()
        status = post(connection, "modest", data)
        times.append(time.perf_counter() - began)
        if status != 200:
            raise RuntimeError("the modest one was answered %d" % status)
    return times


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def start_gateway(folder, runtime, limits, queue):
    digest = {"greedy": "greedy", "modest": "modest"}
    plan = {"listen": "127.0.0.1:0",
            "upstreams": [{"name": "u", "kind": "sluice", "internal_token": {"env": "TOKEN"}, "endpoints": [{"url": runtime.url}]}],
            "routes": [{"name": "r", "match": {"models": ["story"]}, "targets": [{"upstream": "u"}], "queue": queue}],
            "tenants": [{"name": name, "limits": limits if name == "greedy" else {},
                         "keys": [{"name": "k", "key": {"env": name.upper() + "_KEY"}}]} for name in digest]}
    path = os.path.join(folder, "gateway.json")
    with open(path, "w") as f:
        json.dump(plan, f)
    return Server(binary="taskset", command=("-c", "0", BINARY, "gateway", "--config", path),
                  env=dict(os.environ, TOKEN=TOKEN, GREEDY_KEY="greedy", MODEST_KEY="modest"))


def measure(name, runtime, options):
    limits, queue, rate = CASES[name]
    rows, counts = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            # A new gateway each time: what the greedy one has left of a minute is the same in each round.
            gateway = start_gateway(folder, runtime, limits, queue)
            be_modest(gateway.port, 20)
            alone = be_modest(gateway.port, options.requests)
            greedy = Greedy(folder, gateway.port, rate)
            time.sleep(SETTLED)
            beside = be_modest(gateway.port, options.requests)
            for status, count in greedy.stop().items():
                counts[status] = counts.get(status, 0) + count
            gateway.process.kill()
            gateway.process.wait()
            rows.append([percentile(times, share) * 1000 for times in (alone, beside) for share in (0.5, 0.99)])
    alone50, alone99, beside50, beside99 = (statistics.median(column) for column in zip(*rows))
    ratio = statistics.median(row[3] / row[1] for row in rows)
    print("%-52s alone p50 %6.1f p99 %6.1f ms   beside p50 %6.1f p99 %6.1f ms   p99 %.2f x   greedy: %s" %
          (name, alone50, alone99, beside50, beside99, ratio, ", ".join("%s %d" % pair for pair in sorted(counts.items()))), flush=True)


def main():
    if sys.argv[1:2] == ["--greedy"]:
        return be_greedy(int(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=300, help="of the modest one, in each half of a round")
    parser.add_argument("--case", help="only cases whose name holds this")
    options = parser.parse_args()
    os.sched_setaffinity(0, {0})
    runtime = Server(["--threads", "1", "--internal-token", TOKEN, "--served-model-name", "story"], binary="taskset",
                     command=("-c", "1", BINARY, "serve", os.path.join(ROOT, "models", "story.gguf"), "--port", "0"))
    for name in CASES:
        if options.case and options.case not in name:
            continue
        if "wrk" in name and not shutil.which("wrk"):
            print("%-52s left out: apt-get install wrk" % name)
            continue
        measure(name, runtime, options)
    runtime.process.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
