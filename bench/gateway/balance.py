#!/usr/bin/python3
"""Policies of the gateway compared on real runtimes: skewed lengths, shared prefixes, and what a long prompt's first token
costs through the gateway. See README.md."""
import argparse
import http.client
import http.server
import json
import os
import random
import socketserver
import statistics
import struct
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tests", "http"))
from server import Server  # noqa: E402

TOKEN = "bench-internal"
STORY = os.path.join(ROOT, "models", "story.gguf")
BYTES_OF_TOKEN = 1536  # of K and V in f16, of the bundled model


def with_context(path, folder, context):
    """A copy of a GGUF file that says that it has so long a context."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    key = b"llama.context_length"
    at = data.index(key) + len(key)
    kind, = struct.unpack_from("<I", data, at)
    assert kind == 4, "expected a u32"
    struct.pack_into("<I", data, at + 4, context)
    out = os.path.join(folder, "story.gguf")
    with open(out, "wb") as f:
        f.write(data)
    return out


def ask(port, body):
    """Seconds to the first token and to the end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(dict(body, stream=True)), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError("%d: %s" % (response.status, response.read()[:300]))
    first = None
    while True:
        line = response.readline()
        if not line:
            raise RuntimeError("the stream ended without [DONE]")
        if line.startswith(b"data: {") and first is None:
            first = time.perf_counter() - began
        if line.startswith(b"data: {") and b'"error"' in line:
            raise RuntimeError(line.decode())
        if line.startswith(b"data: [DONE]"):
            connection.close()
            return first, time.perf_counter() - began


def ask_whole(port, body):
    """Seconds to the end of an answer that comes in one piece."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    began = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError("%d: %s" % (response.status, answer[:300]))
    connection.close()
    return time.perf_counter() - began


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def start_gateway(folder, upstreams, route):
    path = os.path.join(folder, "gateway.json")
    with open(path, "w") as f:
        json.dump({"listen": "127.0.0.1:0", "server": {"metrics_public": True}, "upstreams": upstreams, "routes": [route],
                   "access_log": {"path": os.path.join(folder, "access.log")}}, f)
    return Server(command=("gateway", "--config", path), env=dict(os.environ, TOKEN=TOKEN))


def wait_for(gateway, gauge, value):
    deadline = time.monotonic() + 30
    while metric(metrics(gateway.port), gauge) != value:
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway is not ready: " + gateway.read_log())
        time.sleep(0.05)


class Runtimes:
    """So many replicas, and gateways before them."""

    def __init__(self, count, model, arguments):
        env = dict(os.environ, SLUICE_INTERNAL_TOKEN=TOKEN)
        self.servers = [Server(["--threads", "1", *arguments], models=(model + "=story",), env=env) for _ in range(count)]

    def gateway(self, folder, route):
        upstream = {"name": "u", "kind": "sluice", "internal_token": {"env": "TOKEN"}, "health": {"interval": "100ms"},
                    "endpoints": [{"url": s.url, "name": "r%d" % i} for i, s in enumerate(self.servers)]}
        gateway = start_gateway(folder, [upstream], dict({"name": "r", "public": True, "match": {"models": ["story"]},
                                                          "targets": [{"upstream": "u"}]}, **route))
        wait_for(gateway, "sluice_gateway_replicas_usable{", len(self.servers))
        if route.get("policy") == "prefix_affinity" and route.get("prefix", {}).get("exact", True):
            wait_for(gateway, "sluice_gateway_block_streams{", len(self.servers))
        return gateway

    def hits(self):
        """Prompt tokens found in the prefix caches, and looked up, of all replicas."""
        pages = [metrics(s.port) for s in self.servers]
        return tuple(sum(metric(page, name) for page in pages)
                     for name in ("sluice_prefix_cache_hits_total", "sluice_prefix_cache_queries_total"))

    def stop(self):
        for server in self.servers:
            server.stop()


def metrics(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def metric(page, start):
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(start))


def open_loop(port, bodies, rate, seed):
    """Sends each body at its own time, whatever the answers do; the seconds that each took."""
    rng = random.Random(seed)
    results, failures, threads = [], [], []

    def one(body):
        try:
            results.append(ask_whole(port, body))
        except (RuntimeError, OSError) as e:
            failures.append(e)
    at = time.perf_counter()
    for body in bodies:
        time.sleep(max(0.0, at - time.perf_counter()))
        threads.append(threading.Thread(target=one, args=(body,)))
        threads[-1].start()
        at += rng.expovariate(rate)
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError("%d of %d failed: %s" % (len(failures), len(bodies), failures[0]))
    return results


class OneAtATime:
    """A server whose answers take a millisecond for each token, one after the other: the machine's cores set no bound."""

    def __init__(self):
        turn = threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.reply()

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with turn:
                    time.sleep(body["max_tokens"] / 1e3)
                self.reply()

            def reply(self):
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")
                self.wfile.flush()

        class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128
        self.httpd = Threads(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


def lengths(options, folder):
    """Short answers among a few long ones."""
    servers = [OneAtATime() for _ in range(6)]
    short, long, share = 20, 600, 0.05
    rate = options.load * len(servers) / ((1 - share) * short + share * long) * 1e3
    count = max(200, int(rate * options.seconds))
    print("\nSkewed lengths: %d requests a round, 5 %% of %d ms, the others of %d ms, %.0f a second to %d servers that answer one at a "
          "time (%.0f %% busy)" % (count, long, short, rate, len(servers), 100 * options.load))
    rows = {}
    for round_number in range(options.rounds):
        rng = random.Random(round_number)
        bodies = [{"model": "m", "prompt": "x", "max_tokens": long if rng.random() < share else short} for _ in range(count)]
        for policy in ("round_robin", "power_of_two", "least_outstanding"):
            gateway = start_gateway(folder, [{"name": "u", "health": {"interval": "100ms"},
                                              "endpoints": [{"url": s.url, "name": "r%d" % i} for i, s in enumerate(servers)]}],
                                    {"name": "r", "public": True, "targets": [{"upstream": "u"}], "policy": policy})
            wait_for(gateway, "sluice_gateway_replicas_usable{", len(servers))
            rows.setdefault(policy, []).extend(open_loop(gateway.port, bodies, rate, round_number))
            gateway.stop()
    table("policy", ("mean ms", "p50 ms", "p99 ms"),
          {name: [(statistics.mean(all), percentile(all, 0.5), percentile(all, 0.99))] for name, all in rows.items()})
    for server in servers:
        server.stop()


def prompts_of(groups, length, rng, words):
    return [" ".join(rng.choice(words) for _ in range(length)) for _ in range(groups)]


def prefixes(options, folder):
    """Prompts of a few groups with a long common beginning; no replica's cache holds all groups."""
    model = with_context(STORY, folder, 8192)
    groups, length, replicas, held = 12, 1500, 4, 4
    memory = int(held * (length + 200) * BYTES_OF_TOKEN)
    runtimes = Runtimes(replicas, model, ["--kv-cache-memory-bytes", str(memory), "--max-num-seqs", "4"])
    words = ["dog", "cat", "sun", "day", "big", "red", "ran", "saw", "the", "and"]
    print("\nShared prefixes: %d groups of about %d tokens, %d replicas that hold %d each, %d requests by 2 clients" % (
        groups, length, replicas, held, options.requests))
    rows, rates = {}, {}
    policies = {"round_robin": {"policy": "round_robin"}, "least_outstanding": {"policy": "least_outstanding"},
                "prefix_affinity, of texts": {"policy": "prefix_affinity", "prefix": {"exact": False}},
                "prefix_affinity, exact": {"policy": "prefix_affinity"}}
    for round_number in range(options.rounds):
        for name, route in policies.items():
            rng = random.Random("%d %s" % (round_number, name))  # other prompts each time: caches are warm with the last ones
            beginnings = prompts_of(groups, length, rng, words)
            gateway = runtimes.gateway(folder, route)
            before = runtimes.hits()
            firsts, lock = [], threading.Lock()

            def client(seed):
                mine = random.Random(seed)
                for _ in range(options.requests // 2):
                    prompt = mine.choice(beginnings) + " " + prompts_of(1, 20, mine, words)[0]
                    first, _ = ask(gateway.port, {"model": "story", "prompt": prompt, "max_tokens": 4, "temperature": 0})
                    with lock:
                        firsts.append(first)
            threads = [threading.Thread(target=client, args=("%d %d" % (round_number, i),)) for i in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            after = runtimes.hits()
            gateway.stop()
            rows.setdefault(name, []).append((percentile(firsts, 0.5), percentile(firsts, 0.95)))
            rates.setdefault(name, []).append((after[0] - before[0]) / max(1, after[1] - before[1]))
    table("policy", ("TTFT p50 ms", "TTFT p95 ms"), rows)
    for name, values in rates.items():
        print("  %-28s hit rate %s, median %.0f %%" % (name, ", ".join("%.0f %%" % (100 * v) for v in values),
                                                      100 * statistics.median(values)))
    runtimes.stop()


def long_prompt(options, folder):
    """The first token of a prompt of about 8,192 tokens that nobody has seen, straight and through the gateway, in turn."""
    model = with_context(STORY, folder, 16384)
    runtimes = Runtimes(2, model, ["--kv-cache-memory-bytes", str(40_000 * BYTES_OF_TOKEN)])
    gateway = runtimes.gateway(folder, {"policy": "prefix_affinity"})
    words = ["dog", "cat", "sun", "day", "big", "red", "ran", "saw", "the", "and"]
    rng = random.Random(8)
    times = {"direct": [], "gateway": []}
    for _ in range(options.long_prompts):
        for name, port in (("direct", runtimes.servers[0].port), ("gateway", gateway.port)):
            body = {"model": "story", "prompt": prompts_of(1, 8190, rng, words)[0], "max_tokens": 1, "temperature": 0}
            times[name].append(ask(port, body)[0])
    page = metrics(gateway.port)
    tokenizing = metric(page, "sluice_gateway_tokenize_seconds_sum") / max(1, metric(page, "sluice_gateway_tokenize_seconds_count"))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = sorted(b / a for a, b in zip(times["direct"], times["gateway"]))
    print("\nA prompt of 8,190 words: first token after %.1f ms straight, %.1f ms through the gateway (%.3f times; of pairs, median "
          "%.3f), of which tokenizing %.2f ms" % (medians["direct"] * 1e3, medians["gateway"] * 1e3,
                                                  medians["gateway"] / medians["direct"], statistics.median(ratios), tokenizing * 1e3))
    gateway.stop()
    runtimes.stop()


def table(head, columns, rows):
    """Medians of the rounds, and beside them how they compare with the first row's."""
    print("\n| %s | %s |" % (head, " | ".join(columns)))
    print("| --- | %s |" % " | ".join("---" for _ in columns))
    medians = {name: [statistics.median(column) for column in zip(*values)] for name, values in rows.items()}
    for name, values in medians.items():
        print("| %s | %s |" % (name, " | ".join("%.1f" % (v * 1e3) for v in values)))
    first = next(iter(medians.values()))
    for name, values in medians.items():
        print("  %s: %s of the first row" % (name, ", ".join("%.2f" % (v / f) for v, f in zip(values, first))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=["lengths", "prefixes", "long_prompt"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of load, of each policy and round of lengths")
    parser.add_argument("--load", type=float, default=0.6, help="share of what the servers can do, of lengths")
    parser.add_argument("--requests", type=int, default=120, help="of each policy and round of prefixes")
    parser.add_argument("--long-prompts", type=int, default=9)
    options = parser.parse_args()
    for case in options.cases:
        with tempfile.TemporaryDirectory() as folder:
            {"lengths": lengths, "prefixes": prefixes, "long_prompt": long_prompt}[case](options, folder)


if __name__ == "__main__":
    main()
