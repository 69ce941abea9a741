"""Holds 64 streams open for a while; every fifth is dropped half-way. usage: run.py [--long]"""
import http.client
import json
import os
import random
import re
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import Server  # noqa: E402

STREAMS = 64
WORDS = ["once", "the", "dog", "a", "little", "girl", "in", "park", "red", "ball", "and", "Sluice"]


class Client(threading.Thread):
    def __init__(self, port, seed, deadline):
        super().__init__()
        self.port, self.deadline = port, deadline
        self.random = random.Random(seed)
        self.finished = self.dropped = self.tokens = 0
        self.errors = []

    def body(self):
        r = self.random
        body = {"prompt": " ".join(r.choices(WORDS, k=r.randint(5, 120))), "max_tokens": r.randint(20, 200),
                "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
        if r.random() < 0.5:
            body["temperature"] = 0
        return body

    def one(self):
        body, drop = self.body(), self.random.random() < 0.2
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            self.errors.append("status %d" % response.status)
            return
        if drop:
            response.read(self.random.randint(1, 4000))
            connection.close()
            self.dropped += 1
            return
        text = response.read().decode()
        connection.close()
        found = re.search(r'"completion_tokens":(\d+)', text)
        if not text.endswith("data: [DONE]\n\n") or not found or int(found.group(1)) != body["max_tokens"]:
            self.errors.append("a stream of %d tokens ended with %r" % (body["max_tokens"], text[-200:]))
            return
        self.finished += 1
        self.tokens += body["max_tokens"]

    def run(self):
        while time.monotonic() < self.deadline and not self.errors:
            try:
                self.one()
            except Exception as e:  # noqa: BLE001
                self.errors.append(repr(e))


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def gauge(server, name):
    page = urllib.request.urlopen(server.url + "/metrics?view=native", timeout=30).read().decode()
    return float(re.search(r"^%s\{.*\} (\S+)$" % name, page, re.M).group(1))


def settle(server):
    """Waits until nothing runs."""
    for _ in range(400):
        if gauge(server, "sluice_requests_running") == 0 and gauge(server, "sluice_requests_waiting") == 0:
            return
        time.sleep(0.05)


def phase(server, seconds, seed):
    deadline = time.monotonic() + seconds
    clients = [Client(server.port, seed * 1000 + i, deadline) for i in range(STREAMS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    settle(server)
    return clients


def main():
    long = "--long" in sys.argv
    seconds = 600 if long else 8
    with Server(["--kv-cache-memory-bytes", "16M"]) as server:
        clients = phase(server, max(4, seconds // 10), 1)  # memory reaches its level
        before = resident_kib(server.process.pid)
        clients += phase(server, seconds, 2)
        after = resident_kib(server.process.pid)
        errors = [e for c in clients for e in c.errors]
        growth = (after - before) / before
        checks = [("no errors", not errors, "; ".join(errors[:3])),
                  ("streams finished", sum(c.finished for c in clients) > STREAMS, ""),
                  ("streams were dropped", sum(c.dropped for c in clients) > 0, ""),
                  ("nothing runs", gauge(server, "sluice_requests_running") == 0, ""),
                  ("no block is held", gauge(server, "sluice_kv_cache_usage_ratio") == 0, ""),
                  ("memory is flat", growth <= (0.02 if long else 0.10),
                   "RSS went from %d to %d KiB" % (before, after)),
                  ("drains", server.stop() == 0, "")]
    print("%d s, %d streams: %d finished, %d dropped, %d tokens, RSS %d -> %d KiB (%+.2f %%)" %
          (seconds, STREAMS, sum(c.finished for c in clients), sum(c.dropped for c in clients),
           sum(c.tokens for c in clients), before, after, growth * 100))
    failed = [c for c in checks if not c[1]]
    for name, _, detail in failed:
        print("failed: %s: %s" % (name, detail))
    print("%d passed, %d failed, 0 skipped" % (len(checks) - len(failed), len(failed)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
