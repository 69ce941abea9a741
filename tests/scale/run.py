"""Services that are scaled by their load. A load step must be answered whole, by as many replicas as the published rule says: every decision
of the autoscaler, taken from its log, is judged by the oracle tools/oracles/kpa.py."""
import http.client
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
for folder in ("../http", "../up", "../../tools/oracles"):
    sys.path.insert(0, os.path.join(HERE, folder))
import cases  # noqa: E402
import kpa  # noqa: E402
from open_load import OpenLoad  # noqa: E402
from platform_process import Platform, descendants, service, wait_for  # noqa: E402
from slow_replicas import SlowReplicas  # noqa: E402

LONG = "--long" in sys.argv
FOLDER = tempfile.TemporaryDirectory()
ARGUMENTS = ["--log-level", "debug", "--metrics-public"]
ONE_AT_A_TIME = ["--max-num-seqs", "1", "--threads", "1", "--kv-cache-memory-bytes", "16M"]
# The rule with windows that fit a short test; --long takes the defaults.
SHORT_WINDOWS = "stableWindowSeconds: 6, panicWindowPercent: 50"
PATIENT = "wake: {holdSeconds: 120, maxHeld: 1000}"


def manifest(name, text):
    path = os.path.join(FOLDER.name, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def own(*parts):
    """spec.sluice with these parts."""
    return "sluice: {%s}" % ", ".join(part for part in parts if part)


class Scaled(Platform):
    """A platform whose services are watched."""

    def revision(self, name, number=1):
        path = "/apis/sluice.dev/v1alpha1/namespaces/default/revisions/%s-predictor-%05d" % (name, number)
        return self.api("GET", path)[1].get("status", {})

    def events(self, reason):
        items = self.api("GET", "/api/v1/namespaces/default/events")[1]["items"]
        return [each for each in items if each["reason"] == reason]

    def metric(self, pattern):
        """The sum of a metric of the gateway, by the beginning of its lines."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/metrics?view=native")
        page = connection.getresponse().read().decode()
        connection.close()
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if re.match(pattern, line))

    def moves(self):
        """Attempts at answers that had begun elsewhere."""
        return self.metric(r'sluice_gateway_unbroken_attempts_total\{reason="(move|resume)"')

    def ask(self, model, tokens, stream, prompt="Once upon a time", seconds=120):
        """The text of a whole answer, and when its first byte came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        began = time.monotonic()
        try:
            connection.request("POST", "/v1/completions", json.dumps(
                {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": stream}),
                {"Content-Type": "application/json"})
            response = connection.getresponse()
            data, first = b"", None
            while part := response.read1(65536):
                data += part
                if first is None and b'"text":"' in data.replace(b'"text": "', b'"text":"'):
                    first = time.monotonic() - began
        finally:
            connection.close()
        assert response.status == 200, (response.status, data[:300])
        if not stream:
            return json.loads(data)["choices"][0]["text"], first
        text = data.decode()
        assert text.rstrip().endswith("data: [DONE]") and '"error"' not in text, "a cut stream: ..." + text[-300:]
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        return "".join(event["choices"][0]["text"] for event in events if event["choices"]), first


class Watch(threading.Thread):
    """Looks at a service ten times a second: its replicas, and who waits for one; and what all processes use."""

    def __init__(self, up, name):
        super().__init__(daemon=True)
        self.up, self.name = up, name
        self.over = threading.Event()
        self.seen = []  # (when, desired, ready, held)
        self.cpu, self.used = {}, []  # seconds by process; (when, all of them)
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            status = self.up.revision(self.name)
            held = self.up.metric("sluice_gateway_held_requests")
            self.seen.append((time.monotonic(), status.get("desired", 0), status.get("readyReplicas", 0), held))
            for pid in [os.getpid(), self.up.process.pid, *descendants(self.up.process.pid)]:
                self.cpu[pid] = max(self.cpu.get(pid, 0), cpu_seconds(pid))
            self.used.append((time.monotonic(), sum(self.cpu.values())))

    def stop(self):
        self.over.set()
        self.join()

    def between(self, begin, end):
        return [each for each in self.seen if begin <= each[0] < end]

    def load_of_the_machine(self, begin, end):
        """The share of all cores that these processes used."""
        used = [each for each in self.used if begin <= each[0] < end]
        return (used[-1][1] - used[0][1]) / (used[-1][0] - used[0][0]) / os.cpu_count()


def cpu_seconds(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def judge(up, name, number=1):
    """Every decision about a revision, by the oracle; gives the ticks, and those at which a panic began and ended."""
    oracle, ticks, began, ended, before = None, 0, 0, 0, False
    pattern = r"scale trace of default/%s-predictor-%05d (\{.*\})" % (name, number)
    for line in re.findall(pattern, up.read_log()):
        entry = json.loads(line)
        if "options" in entry:
            if entry["how"] == "changed" and oracle:
                oracle.o.update(entry["options"])
                oracle.initial = max(oracle.o["initial_scale"], oracle.o["min_scale"])
            else:
                # What a controller that takes over begins with is not in the published rule.
                oracle = kpa.Service(entry["options"]) if entry["how"] == "new" else None
                before = False
            continue
        if oracle is None:
            continue
        wanted = oracle.tick(entry["now"], entry["samples"], entry["ready"])
        got = {"desired": entry["desired"], "panic": entry["panic"]}
        assert got == {"desired": wanted["desired"], "panic": wanted["panic"]}, (line, wanted)
        ticks += 1
        began += got["panic"] and not before
        ended += before and not got["panic"]
        before = got["panic"]
    assert ticks > 3, "no decisions in the log"
    return ticks, began, ended


STEP = service("step", spec=own("" if LONG else "scaling: {%s}" % SHORT_WINDOWS, PATIENT), args=ONE_AT_A_TIME, minReplicas=1,
               maxReplicas=8, containerConcurrency=1)
QUEUE = service("queue", spec=own("scaling: {metric: queuedTokens, target: 400, %s}" % SHORT_WINDOWS, PATIENT), args=ONE_AT_A_TIME,
                minReplicas=1, maxReplicas=3)
MEMORY = service("memory", spec=own("scaling: {metric: kvCache, target: 0.4, %s}" % SHORT_WINDOWS, PATIENT), minReplicas=1, maxReplicas=3,
                 args=["--threads", "1", "--max-num-seqs", "8", "--kv-cache-memory-bytes", "4M"])
ZEROS = 8 if LONG else 2
ZERO = "---\n".join(service("zero-%d" % i, minReplicas=0) for i in range(ZEROS))


def scaled(*services):
    return Scaled([manifest("services-%d.yaml" % i, text) for i, text in enumerate(services)], ARGUMENTS)


def load_step(up):
    """Ten times the load, which one replica cannot carry: it panics, all are answered, the queue empties, it goes back."""
    expected = {tokens: up.ask("step", tokens, False)[0] for tokens in (30, 400)}
    time.sleep(1)
    took = []
    for _ in range(8):
        began = time.monotonic()
        up.ask("step", 30, False)
        took.append(time.monotonic() - began)
    each = statistics.mean(took)
    watch = Watch(up, "step")

    def one(source):
        assert up.ask("step", 30, source.random() < 0.5)[0] == expected[30], "another answer"
    # A third of what one replica can do; then more than three of them can.
    load = OpenLoad(one, 0.33 / each)
    time.sleep(10 if LONG else 2)
    step = time.monotonic()
    load.rate *= 10
    time.sleep(30 if LONG else 7)
    back = time.monotonic()
    load.rate /= 10
    streams = LongStreams(up, "step", 400, expected[400], count=2)
    wait_for(lambda: watch.seen[-1][1] <= 4 and watch.seen[-1][2] <= 4, 240)
    streams.stop()
    load.stop()
    watch.stop()
    ticks, began, ended = judge(up, "step")
    report_step(watch, load, step, back, each)
    print("  %d decisions as the oracle's; %d panic begun, %d ended; %d long streams while replicas went, %d moved" % (
        ticks, began, ended, streams.done, up.moves()))
    load.check()
    streams.check()
    assert began >= 1 and up.events("PanicBegun"), "it did not panic"
    assert ended >= 1 and up.events("PanicEnded"), "it panics for ever"
    assert max(seen[2] for seen in watch.seen) > 4, "it did not grow"
    assert max(seen[3] for seen in watch.between(step, back)) > 0, "nobody waited: the load was no load"
    if LONG:
        busy = watch.load_of_the_machine(step, back)
        assert busy < 0.6, "%.0f %% of the machine" % (100 * busy)
        assert emptied(watch, step) < 10, "the queue is not empty in time"


class LongStreams:
    """Streams that are always open, one after another, while replicas go."""

    def __init__(self, up, model, tokens, expected, count=2, prompt="Once upon a time"):
        self.over, self.failed, self.done = threading.Event(), [], 0
        self.lock = threading.Lock()

        def run():
            while not self.over.is_set():
                try:
                    text, _ = up.ask(model, tokens, True, prompt)
                    assert text == expected, "another answer: %r" % text[-80:]
                except Exception as e:  # noqa: BLE001
                    self.failed.append(repr(e))
                with self.lock:
                    self.done += 1
        self.threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def check(self):
        assert not self.failed and self.done, "%d of %d: %s" % (len(self.failed), self.done, self.failed[:3])


def emptied(watch, step):
    """Seconds from the step until nobody waited any more, after somebody had."""
    waited = False
    for when, _, _, held in watch.seen:
        if when < step:
            continue
        waited = waited or held > 0
        if waited and held == 0:
            last = [each for each in watch.seen if each[0] > when and each[3] > 5]
            if not last or last[0][0] - when > 5:
                return when - step
    return float("inf")


def report_step(watch, load, step, back, each):
    during = watch.between(step, back)
    more = next((when - step for when, desired, *_ in during if desired > 1), float("nan"))
    ready = next((when - step for when, _, count, _ in during if count > 1), float("nan"))
    print("  a request takes %.2f s; from %.1f to %.1f a second; %d asked, %d failed" % (
        each, 0.33 / each, 3.3 / each, load.asked, len(load.failed)))
    print("  more replicas wanted after %.1f s, ready after %.1f s, %d at most; %d waited at most, none after %.1f s" % (
        more, ready, max(seen[2] for seen in during), max(seen[3] for seen in during), emptied(watch, step)))
    print("  %.0f %% of the machine during the step" % (100 * watch.load_of_the_machine(step, back)))


def fewer_replicas_under_streams():
    """A lower maximum takes busy replicas away: their streams go on, token for token."""
    def text(least, most):
        return service("shrink", spec=own(PATIENT), args=["--threads", "1", "--kv-cache-memory-bytes", "64M"], minReplicas=least,
                       maxReplicas=most)
    with scaled(text(4, 4)) as up, SlowReplicas(up):
        wait_for(lambda: up.revision("shrink").get("readyReplicas") == 4)
        expected = up.ask("shrink", 400, False)[0]
        streams = LongStreams(up, "shrink", 400, expected, count=8)
        wait_for(lambda: up.metric("sluice_gateway_outstanding_requests") >= 8)
        for most in (3, 2, 1):
            up.out("apply", "-f", "-", "--force-conflicts", stdin=text(1, most))
            wait_for(lambda: len(up.replica_pids()) == most, 60)
        streams.stop()
        print("  %d streams, %d moved" % (streams.done, up.moves()))
        streams.check()


def from_zero(up):
    """The first token of a service that has no replica."""
    took = []
    for i in range(ZEROS):
        assert up.revision("zero-%d" % i).get("readyReplicas", 0) == 0
        took.append(up.ask("zero-%d" % i, 4, True)[1])
    print("  first token of a service at zero after %s s" % ", ".join("%.2f" % each for each in took))
    assert up.events("ScaledUp")
    if LONG:
        assert max(took) < 0.5, took


def queued_tokens(up):
    """Prompts that wait in a replica's queue bring others; then it goes back."""
    prompt = "Once upon a time there was a little girl. " * 8
    expected = up.ask("queue", 60, False, prompt)[0]

    streams = LongStreams(up, "queue", 60, expected, count=20, prompt=prompt)
    try:
        wait_for(lambda: up.revision("queue").get("desired", 0) >= 3)
    finally:
        streams.stop()
    streams.check()
    wait_for(lambda: up.revision("queue").get("desired") == 1, 60)
    print("  by queued tokens: %d streams, %d decisions as the oracle's" % (streams.done, judge(up, "queue")[0]))


def kv_cache(up):
    """Streams that fill the KV memory of one replica bring others."""
    expected = up.ask("memory", 400, False)[0]
    streams = LongStreams(up, "memory", 400, expected, count=6)
    try:
        wait_for(lambda: up.revision("memory").get("desired", 0) >= 2)
    finally:
        streams.stop()
    streams.check()
    wait_for(lambda: up.revision("memory").get("desired") == 1, 60)
    print("  by KV memory: %d streams, %d decisions as the oracle's" % (streams.done, judge(up, "memory")[0]))


def all_at_once():
    """Every part beside the others, on one platform."""
    with scaled(STEP, QUEUE, MEMORY, ZERO) as up:
        from_zero(up)
        problems = []

        def run(part):
            try:
                part(up)
            except Exception as e:  # noqa: BLE001
                problems.append("%s: %r" % (part.__name__, e))
        with SlowReplicas(up):
            threads = [threading.Thread(target=run, args=(part,)) for part in (load_step, queued_tokens, kv_cache)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not problems, problems


def a_load_step():
    with scaled(STEP) as up, SlowReplicas(up):
        load_step(up)


def to_zero_and_back():
    with scaled(ZERO) as up:
        from_zero(up)


def signals_of_replicas():
    for text, part in ((QUEUE, queued_tokens), (MEMORY, kv_cache)):
        with scaled(text) as up, SlowReplicas(up):
            part(up)


CASES = [a_load_step, to_zero_and_back, signals_of_replicas, fewer_replicas_under_streams] if LONG else [all_at_once]

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
