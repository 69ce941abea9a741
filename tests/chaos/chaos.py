"""Open-loop load on a supervised gateway over three replicas while these are killed, stopped, slowed down and half-closed and
the gateway is reloaded and upgraded. Every answer must be the undisturbed one, token by token, and be charged once.
  chaos.py [--long] [--seconds N] [--seed N] [--verbose]     SLUICE names the binary"""
import argparse
import collections
import http.client
import json
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("http", "gateway", "supervise"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
sys.path.insert(0, HERE)
import unbroken  # noqa: E402
from link import Link  # noqa: E402
from server import BINARY, Server  # noqa: E402
from supervised import Supervised  # noqa: E402

TOKEN = "chaos-test-token"
LOAD_OF_CAPACITY = 0.35
CLIENTS_FOR_CAPACITY = 8
LENGTHS = (80, 80, 300)
REPLICAS = 3

PLAN = """
listen: 127.0.0.1:0
server: {metrics_public: true}
usage: {path: %(ledger)s}
tenants:
  - name: team
    keys: [{name: load, key: {env: LOAD_KEY}, admin: true}]
    limits: {tokens_per_day: 1000000000, concurrency: 10000}
upstreams:
  - name: story
    kind: sluice
    internal_token: {env: CHAOS_TOKEN}
    endpoints: [%(endpoints)s]
routes:
  - name: story
    targets: [{upstream: story}]
    policy: %(policy)s
"""


class Replica:
    """A runtime behind its link, which stays when the runtime is started again."""

    def __init__(self):
        self.link = Link()
        self.start()

    def start(self):
        self.server = Server(["--internal-token", TOKEN, "--threads", "1", "--kv-cache-memory-bytes", "64M"])
        self.link.target = self.server.port


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


class Chaos:
    def __init__(self, seconds, reloads, upgrades, seed, verbose):
        self.verbose = verbose
        self.seconds, self.reloads, self.upgrades = seconds, reloads, upgrades
        self.random = random.Random(seed)
        self.folder = tempfile.TemporaryDirectory()
        self.replicas = [Replica() for _ in range(REPLICAS)]
        self.binary = os.path.join(self.folder.name, "sluice")
        shutil.copy(BINARY, self.binary)
        self.policies = ("round_robin", "least_outstanding", "power_of_two", "prefix_affinity")
        env = dict(os.environ, CHAOS_TOKEN=TOKEN, LOAD_KEY="load-key")
        self.gateway = Supervised(os.path.join(self.folder.name, "gateway.yaml"), self.plan(0), env, self.binary)
        self.lock = threading.Lock()
        self.wrong, self.latencies, self.gaps = [], [], []
        self.tokens = 0  # of all answers
        self.faults = collections.Counter()
        self.over = threading.Event()

    def plan(self, turn):
        return PLAN % {"ledger": os.path.join(self.folder.name, "usage.db"),
                       "policy": self.policies[turn % len(self.policies)],
                       "endpoints": ", ".join("{url: '%s'}" % replica.link.url for replica in self.replicas)}

    def ask(self, case, length):
        return unbroken.ask(self.gateway.port, case, {"Authorization": "Bearer load-key"}, max_tokens=length)

    def undisturbed(self):
        self.expected = {(case, length): self.ask(case, length)[0] for case in unbroken.CASES for length in set(LENGTHS)}
        self.tokens = sum(answer["usage"]["total_tokens"] for answer in self.expected.values())

    def capacity(self, seconds):
        """Requests a second that clients who wait for each answer get."""
        answered, end = collections.Counter(), time.monotonic() + seconds

        def client(number):
            source = random.Random(number)
            while time.monotonic() < end:
                self.one(*self.pick(source))
                answered[number] += 1
        clients = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS_FOR_CAPACITY)]
        began = time.monotonic()
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        return sum(answered.values()) / (time.monotonic() - began)

    def pick(self, source):
        return source.choice(list(unbroken.CASES)), source.choice(LENGTHS)

    def one(self, case, length):
        began = time.monotonic()
        gap, problem = 0.0, None
        try:
            got, gap = self.ask(case, length)
            if got != self.expected[(case, length)]:
                problem = "%s, %d tokens: another answer" % (case, length)
        except Exception as e:  # noqa: BLE001
            problem = "%s, %d tokens: %r" % (case, length, e)
        with self.lock:
            if problem:
                self.wrong.append("at %.1f s: %s" % (began - self.began, problem))
                if self.verbose:
                    print("%7.2f wrong, asked at %s" % (time.monotonic() - self.began, self.wrong[-1][3:300]), flush=True)
            else:
                self.tokens += self.expected[(case, length)]["usage"]["total_tokens"]
            self.latencies.append(time.monotonic() - began)
            self.gaps.append(gap)

    # What is done to a replica; each returns when the replica is whole again.

    def kill(self, replica):
        replica.server.process.kill()
        replica.server.process.wait()
        replica.server.process.stderr.close()
        self.over.wait(self.random.uniform(0, 2))
        replica.start()

    def stop(self, replica):
        os.kill(replica.server.process.pid, 19)
        self.over.wait(self.random.uniform(0.5, 6))
        os.kill(replica.server.process.pid, 18)

    def slow(self, replica):
        replica.link.set("slow")
        self.over.wait(self.random.uniform(0.5, 5))
        replica.link.set("open")

    def half_close(self, replica):
        replica.link.set("half")
        self.over.wait(self.random.uniform(0.1, 3))
        replica.link.set("open")

    def trouble(self, free):
        """One of those that make trouble; together they leave a replica alone that lives."""
        while not self.over.wait(self.random.uniform(0.1, 2)):
            with self.lock:
                if len(free) < 2:
                    continue
                replica = free.pop(self.random.randrange(len(free)))
            fault = self.random.choice((self.kill, self.kill, self.stop, self.slow, self.half_close))
            if self.verbose:
                print("%7.2f %s %d" % (time.monotonic() - self.began, fault.__name__, self.replicas.index(replica)), flush=True)
            fault(replica)
            # Until it serves: a replica counts as one that lives when it is ready.
            while unbroken.identity(replica, TOKEN).find('"ready":true') < 0:
                time.sleep(0.02)
            if self.verbose:
                print("%7.2f whole %d" % (time.monotonic() - self.began, self.replicas.index(replica)), flush=True)
            with self.lock:
                self.faults[fault.__name__] += 1
                free.append(replica)

    def operate(self):
        """Reloads and upgrades, in a random order, evenly over the time."""
        steps = ["reload"] * self.reloads + ["upgrade"] * self.upgrades
        self.random.shuffle(steps)
        for i, step in enumerate(steps):
            self.over.wait(max(0.0, self.began + self.seconds * (i + 0.5) / len(steps) - time.monotonic()))
            if step == "reload":
                taken = len(re.findall("configuration taken", self.gateway.read_log()))
                self.gateway.write(self.plan(i + 1))
                self.gateway.wait_log("configuration taken", taken + 1)
            else:
                shutil.copy(BINARY, self.binary + ".new")
                os.replace(self.binary + ".new", self.binary)
                self.gateway.upgrade()
            with self.lock:
                self.faults[step] += 1

    def run(self):
        self.began = time.monotonic()
        self.undisturbed()
        self.capacity(1)
        self.latencies, self.gaps = [], []
        full = self.capacity(10 if self.seconds > 60 else 3)
        assert not self.wrong, self.wrong[:3]
        calm = list(self.latencies)
        self.latencies, self.gaps = [], []
        rate = full * LOAD_OF_CAPACITY
        self.began = time.monotonic()
        if self.verbose:
            print("%7.2f is %s" % (0, time.strftime("%H:%M:%S", time.gmtime())))
        free = list(self.replicas)
        others = [threading.Thread(target=self.trouble, args=(free,)) for _ in range(REPLICAS - 1)]
        others.append(threading.Thread(target=self.operate))
        for each in others:
            each.start()
        asked, requests, at = random.Random(1), [], 0.0
        while at < self.seconds:
            at += asked.expovariate(rate)
            time.sleep(max(0.0, self.began + at - time.monotonic()))
            thread = threading.Thread(target=self.one, args=self.pick(asked))
            thread.start()
            requests = [each for each in requests if each.is_alive()] + [thread]
        self.over.set()
        for each in others + requests:
            each.join()
        self.report(full, rate, calm)
        if self.verbose:
            print(self.gateway.read_log())
        self.check()

    def report(self, full, rate, calm):
        print("%d requests in %.0f s, %.1f a second of the %.1f that it can; %s" % (
            len(self.latencies), self.seconds, rate, full, ", ".join("%s %d" % each for each in sorted(self.faults.items()))))
        print("latency p50 %.3f s, p99 %.3f s (at capacity, undisturbed: %.3f, %.3f); longest gap in a stream %.3f s" % (
            percentile(self.latencies, 0.5), percentile(self.latencies, 0.99), percentile(calm, 0.5), percentile(calm, 0.99),
            max(self.gaps)))

    def check(self):
        assert not self.wrong, "%d of %d failed: %s" % (len(self.wrong), len(self.latencies), self.wrong[:5])
        assert self.faults["reload"] == self.reloads and self.faults["upgrade"] == self.upgrades, self.faults
        assert self.faults["kill"] and sum(self.faults[f] for f in ("stop", "slow", "half_close")), self.faults
        deadline, charged = time.monotonic() + 10, self.charged()
        while charged != self.tokens and time.monotonic() < deadline:
            time.sleep(0.1)
            charged = self.charged()
        assert charged == self.tokens, "%d tokens are charged, %d were answered" % (charged, self.tokens)

    def charged(self):
        """Tokens in the ledger, once what has ended is written."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
        connection.request("GET", "/usage", headers={"Authorization": "Bearer load-key"})
        rows = json.loads(connection.getresponse().read())["usage"]
        return sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)

    def close(self):
        status = self.gateway.stop() if self.gateway.alive() else self.gateway.process.returncode
        for replica in self.replicas:
            replica.link.close()
            if replica.server.alive():
                replica.server.process.kill()
                replica.server.process.wait()
        assert status == 0, "the gateway ended with %d" % status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="tell each fault and each failed request")
    options = parser.parse_args()
    seconds = options.seconds or (900 if options.long else 20)
    chaos = Chaos(seconds, 20 if seconds >= 300 else 3, 10 if seconds >= 300 else 2, options.seed, options.verbose)
    failed = 0
    try:
        chaos.run()
    except Exception as e:  # noqa: BLE001
        failed = 1
        print("failed: chaos: %r" % e)
    finally:
        try:
            chaos.close()
        except AssertionError as e:
            failed = 1
            print("failed: chaos: %r" % e)
    print("%d passed, %d failed, 0 skipped" % (1 - failed, failed))
    return failed


if __name__ == "__main__":
    sys.exit(main())
