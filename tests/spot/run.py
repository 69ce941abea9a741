"""A machine, or one of its replicas, is about to be taken back, under an open-loop load, streaming and not. Each answer must be the undisturbed
one, token for token; nobody may be refused; and the machine must be left before its time is over.

  machines   two of them, each `sluice up`, behind a gateway as whoever sends requests to both has one: what is told goes to the other
             one first, what runs is answered, then the machine is left
  replicas   of one machine: replaced first, then their streams go on at others, then they end"""
import http.client
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
for folder in ("../http", "../up", "../gateway", "../scale"):
    sys.path.insert(0, os.path.join(HERE, folder))
import cases  # noqa: E402
import unbroken  # noqa: E402
from metadata import Metadata  # noqa: E402
from open_load import OpenLoad  # noqa: E402
from platform_process import Platform, Stream, service, wait_for  # noqa: E402
from server import Server  # noqa: E402
from slow_replicas import SlowReplicas  # noqa: E402

LONG = "--long" in sys.argv
FOLDER = tempfile.TemporaryDirectory()
CLOUDS = ("aws", "gcp", "azure")
# Google's notice is always this long.
GCP_SECONDS = 30
WAYS = ("signal", "call", "file", *CLOUDS) if LONG else ("signal", "call", "file", "aws", "azure")
NOTICE_SECONDS = 30 if LONG else 6
RATE = 5
LENGTHS = (80, 80, 300)


def manifest(name, text):
    path = os.path.join(FOLDER.name, name)
    with open(path, "w") as f:
        f.write(text)
    return path


SERVE = ["--threads", "1", "--kv-cache-memory-bytes", "64M"]
STORY = manifest("story.yaml", service("story", args=SERVE, minReplicas=1))
TWO = manifest("two.yaml", service("story", args=SERVE, minReplicas=2, maxReplicas=4))


class Load(OpenLoad):
    """Requests of all kinds, whose answers are known."""
    expected = {}

    def __init__(self, port, rate=RATE):
        self.port = port
        if not Load.expected:
            Load.expected = {key: self.ask(*key) for key in [(case, n) for case in unbroken.CASES for n in sorted(set(LENGTHS))]}
        super().__init__(self.one_of_many, rate)

    def ask(self, case, length):
        return unbroken.ask(self.port, case, model="story", max_tokens=length)[0]

    def one_of_many(self, source):
        key = source.choice(list(unbroken.CASES)), source.choice(LENGTHS)
        got = self.ask(*key)
        assert got == Load.expected[key], "%s, %d tokens: another answer" % key


class Machine(Platform):
    """A machine that learns by `way` that it is taken back."""

    def __init__(self, way=None):
        self.way, self.metadata, arguments = way, None, []
        self.notice = os.path.join(FOLDER.name, "notice-%s-%d" % (way, random.getrandbits(32)))
        self.seconds = GCP_SECONDS if way == "gcp" else NOTICE_SECONDS
        if way == "file":
            arguments = ["--spot-file", self.notice]
        elif way in CLOUDS:
            self.metadata = Metadata(way)
            arguments = ["--spot-notice", way, "--spot-url", self.metadata.url]
        super().__init__([STORY], ["--metrics-public", *arguments])

    def give_notice(self):
        """From here on it has `seconds`."""
        self.told = time.monotonic()
        if self.way == "signal":
            self.process.terminate()
        elif self.way == "call":
            status, answer = self.api("POST", "/admin/v1/notice", {"seconds": self.seconds})
            assert status == 202, answer
        elif self.way == "file":
            with open(self.notice + ".new", "w") as f:
                f.write("%ds" % self.seconds)
            os.replace(self.notice + ".new", self.notice)
        else:
            self.metadata.give(self.seconds)

    def left(self):
        """Waits until it has ended; seconds from the notice."""
        status = self.process.wait(self.seconds + 30)
        took = time.monotonic() - self.told
        assert status == 0, (self.way, status, self.read_log()[-1500:])
        assert took < self.seconds, "%s: %.1f s of %d s" % (self.way, took, self.seconds)
        if self.metadata:
            assert not self.metadata.wrong, self.metadata.wrong[:3]
            self.metadata.close()
        return took

    def ready(self):
        try:
            return get(self.port, "/ready") == 200
        except OSError:
            return False


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


FRONT = """
server: {metrics_public: true}
upstreams:
  - name: machines
    endpoints: [%s]
    health: {interval: 250ms, timeout: 1s, unhealthy_after: 1, path: /ready}
routes:
  - name: all
    public: true
    policy: round_robin
    targets: [{upstream: machines}]
    retry: {attempts: 6, on: [connect, timeout, overloaded], budget_per_second: 1000}
"""


class Front(Server):
    """The gateway of whoever sends requests to several machines."""

    def __init__(self, machines):
        path = manifest("front-%d.yaml" % random.getrandbits(32),
                        FRONT % ", ".join("{url: 'http://127.0.0.1:%d'}" % each.port for each in machines))
        super().__init__(["--config", path, "--port", "0"], command=("gateway",))


def watch_order(machine, seen):
    """When it is no longer ready, and whether it still answers then."""
    wait_for(lambda: not machine.ready(), machine.seconds)
    seen[machine.way] = time.monotonic() - machine.told
    if machine.way != "signal":
        machine.answer("story")


def take_back(ways, other):
    machines = [Machine(way) for way in ways]
    try:
        with Front([*machines, other]) as front:
            load = Load(front.port)
            time.sleep(1 if not LONG else 3)
            # Asked of the machine itself: nobody else could go on with it.
            streams = [Stream(each.port, "story", 600) for each in machines]
            seen, watchers = {}, []
            for each in machines:
                each.give_notice()
                watchers.append(threading.Thread(target=watch_order, args=(each, seen)))
                watchers[-1].start()
            took = [each.left() for each in machines]
            for each in watchers:
                each.join()
            for way, stream in zip(ways, streams):
                assert stream.whole(), "%s: a stream was cut" % way
            time.sleep(1)
            load.stop()
        for each, seconds in zip(machines, took):
            print("  %s: not ready after %.1f s, left after %.1f s of %d" % (each.way, seen.get(each.way, -1), seconds, each.seconds))
        print("  %d requests, %d failed" % (load.asked, len(load.failed)))
        load.check()
        assert sorted(seen) == sorted(ways), "a machine that goes must say so, and go on answering: %s" % sorted(seen)
    finally:
        for each in machines:
            each.__exit__()


def machines_are_taken_back():
    """All ways at once, and one machine that stays; --long: one after another, with the whole time."""
    with Machine() as other:
        for ways in ([(way,) for way in WAYS] if LONG else [WAYS]):
            take_back(ways, other)


class Order(threading.Thread):
    """What became of replicas, in their order: (name, phase) whenever one changes."""

    def __init__(self, up):
        super().__init__(daemon=True)
        self.up, self.over, self.seen, self.phases = up, threading.Event(), [], {}
        self.start()

    def run(self):
        while not self.over.is_set():
            items = self.up.api("GET", "/apis/sluice.dev/v1alpha1/namespaces/default/replicas")[1]["items"]
            phases = {each["metadata"]["name"]: each.get("status", {}).get("phase", "Pending") for each in items}
            ready = sum(phase == "Ready" for phase in phases.values())
            for name, phase in phases.items():
                if self.phases.get(name) != phase:
                    self.seen.append((name, phase, ready))
            self.phases = phases

    def stop(self):
        self.over.set()
        self.join()


def replicas(up):
    items = up.api("GET", "/apis/sluice.dev/v1alpha1/namespaces/default/replicas")[1]["items"]
    return {each["metadata"]["name"]: each["status"].get("pid") for each in items if each.get("status", {}).get("phase") == "Ready"}


def two_ready(up):
    return wait_for(lambda: len(replicas(up)) == 2 and replicas(up))


def moves(up):
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
    connection.request("GET", "/metrics?view=native")
    page = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines()
               if re.match(r'sluice_gateway_unbroken_attempts_total\{reason="(move|resume)"', line))


def replicas_are_taken_back():
    """Both replicas of a service at once, again and again: each is replaced before it goes, and its streams go on."""
    with Platform([TWO], ["--metrics-public"]) as up:
        two_ready(up)
        load = Load(up.port)
        # Answers that take long enough to be moved.
        slow = SlowReplicas(up)
        time.sleep(2)
        for _ in range(5 if LONG else 1):
            victims = list(two_ready(up))
            streams = [Stream(up.port, "story", 900) for _ in range(4)]
            order = Order(up)
            status, answer = up.api("POST", "/admin/v1/notice", {"replicas": ["default/" + name for name in victims]})
            assert status == 202, answer
            wait_for(lambda: not set(victims) & set(order.phases) and len(replicas(up)) == 2)
            order.stop()
            assert all([stream.whole() for stream in streams]), "a stream was cut"
            for name, phase, ready in order.seen:
                assert phase != "Draining" or ready >= 2, "it drains before others can do its work: %s" % order.seen
            assert {name for name, phase, _ in order.seen if phase == "Draining"} == set(victims), order.seen
        load.stop()
        slow.__exit__()
        print("  %d requests, %d failed; %d moved" % (load.asked, len(load.failed), moves(up)))
        load.check()
        assert moves(up) or not LONG, "nothing was moved"


def replicas_get_a_signal():
    """SIGTERM to the process of one replica, as a node that is drained sends it: its streams go on at the other one."""
    with Platform([TWO], ["--metrics-public"]) as up:
        two_ready(up)
        load = Load(up.port)
        time.sleep(1)
        for _ in range(5 if LONG else 1):
            before = two_ready(up)
            victim = before[sorted(before)[0]]
            os.kill(victim, signal.SIGTERM)
            wait_for(lambda: len(replicas(up)) == 2 and victim not in replicas(up).values())
        load.stop()
        print("  %d requests, %d failed; %d moved" % (load.asked, len(load.failed), moves(up)))
        load.check()


CASES = [machines_are_taken_back, replicas_are_taken_back, replicas_get_a_signal]

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
