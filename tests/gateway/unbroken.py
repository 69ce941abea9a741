"""Streams outlive their worker: real replicas behind a gateway are killed, stopped and drained behind the k-th token, and
what a client reads must equal an undisturbed run: text, token ids, logprobs, ends and usage of every choice.
  unbroken.py [--long]     SLUICE names the binary"""
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
sys.path.insert(0, HERE)
from server import BINARY, Server  # noqa: E402
from unbroken_tap import Tap, Trigger  # noqa: E402

TOKEN = "unbroken-test-token"
LONG = "--long" in sys.argv
STORY = "Once upon a time, a little girl named Lily went to the park with her dog."
COMMON = {"max_tokens": 80, "ignore_eos": True, "return_token_ids": True}
SAMPLED = {"temperature": 0.9, "top_p": 0.95, "seed": 20}
COMPLETION = "/v1/completions"
CHAT = "/v1/chat/completions"
TALK = [{"role": "user", "content": "Tell me a story about a brave frog."}]

CASES = {
    "greedy": (COMPLETION, {"prompt": STORY, "temperature": 0}),
    "sampled": (COMPLETION, {"prompt": STORY, **SAMPLED}),
    "penalties": (COMPLETION, {"prompt": STORY, **SAMPLED, "repetition_penalty": 1.2, "presence_penalty": 0.5,
                               "frequency_penalty": 0.4, "min_tokens": 70, "bad_words": ["the"], "logit_bias": {"300": 1}}),
    "logprobs": (COMPLETION, {"prompt": STORY, **SAMPLED, "logprobs": 3}),
    "two choices": (COMPLETION, {"prompt": STORY, **SAMPLED, "n": 2, "logprobs": 1}),
    "two prompts": (COMPLETION, {"prompt": [STORY, "Tom and Sam"], **SAMPLED, "echo": True}),
    "stop string": (COMPLETION, {"prompt": STORY, **SAMPLED, "stop": ["no such text", "STOP"]}),
    "chat": (CHAT, {"messages": TALK, "temperature": 0}),
    "chat, n, logprobs": (CHAT, {"messages": TALK, **SAMPLED, "n": 2, "logprobs": True, "top_logprobs": 2}),
    "whole": (CHAT, {"messages": TALK, **SAMPLED, "n": 2, "logprobs": True, "stream": False}),
}
ONE_CHOICE = [name for name in CASES if name not in ("two choices", "two prompts", "chat, n, logprobs", "whole")]
longest_gaps = {}


class Replica:
    """A runtime behind its tap, which stays when it is started again."""

    def __init__(self):
        self.tap = Tap()
        self.server = None
        self.starting = None
        self.start()

    def start(self):
        self.server = Server(["--internal-token", TOKEN, "--threads", "1", "--kv-cache-memory-bytes", "64M"])
        self.tap.target = self.server.port

    def kill(self):
        self.server.process.kill()
        self.server.process.wait()

    def start_again(self):
        """In the background, if it has ended."""
        if self.server.alive() or self.starting:
            return

        def work():
            self.start()
            self.starting = None
        self.starting = threading.Thread(target=work)
        self.starting.start()

    def wait(self):
        starting = self.starting
        if starting:
            starting.join()


PLAN = """
server: {metrics_public: true}
upstreams:
  - name: story
    kind: sluice
    internal_token: {env: UNBROKEN_TOKEN}
    endpoints: [%s]
    # A test that kills its replicas all the time is no reason to eject them.
    health: {interval: 100ms, timeout: 1s, unhealthy_after: 1}
    breaker: {consecutive_failures: 1000000, failure_ratio: 1, min_requests: 1000000}
    outlier: {min_requests: 1000000}
routes:
  - name: story
    targets: [{upstream: story}]
    policy: round_robin
    retry: {budget_per_second: 1000}
    public: true
"""


class Gateway:
    def __init__(self, urls):
        self.plan = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.plan.write(PLAN % ", ".join("{url: '%s'}" % url for url in urls))
        self.plan.flush()
        self.process = subprocess.Popen([BINARY, "gateway", "--config", self.plan.name, "--port", "0"], stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, env=dict(os.environ, UNBROKEN_TOKEN=TOKEN))
        line = ""
        while "serves on" not in line:
            line = self.process.stderr.readline().decode()
            assert line, "the gateway did not start"
        self.port = int(line.rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def metric(self, name):
        found = [line.rsplit(" ", 1)[1] for line in self.get("/metrics?view=native").splitlines() if line.startswith(name)]
        return sum(float(value) for value in found)


def ask(port, case, headers=None, **changes):
    """The answer, reduced to what must not change, and the longest time between two pieces of it."""
    path, body = CASES[case]
    body = {**COMMON, "stream": True, **body, **changes}
    if body["stream"]:
        body["stream_options"] = {"include_usage": True}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    data = b""
    longest, last = 0.0, time.monotonic()
    while True:
        part = response.read1(65536)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        if not part:
            break
        data += part
    connection.close()
    assert response.status == 200, (response.status, data[:500])
    if not body["stream"]:
        return reduce_whole(json.loads(data)), longest
    return reduce_stream(data.decode()), longest


def usage_of(usage):
    return {key: usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}


def reduce_whole(answer):
    choices = {}
    for choice in answer["choices"]:
        choices[choice["index"]] = choice
    return {"choices": choices, "usage": usage_of(answer["usage"])}


def reduce_stream(text):
    assert text.endswith("data: [DONE]\n\n"), "the stream does not end in [DONE]: ..." + text[-300:]
    choices, usage = {}, None
    for event in text.split("\n\n")[:-2]:
        assert event.startswith("data: {"), event
        chunk = json.loads(event[6:])
        assert "error" not in chunk, chunk
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            whole = choices.setdefault(choice["index"], {"text": "", "ids": [], "logprobs": [], "end": None})
            assert whole["end"] is None, "something came behind the end of a choice"
            whole["text"] += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            whole["ids"] += choice.get("token_ids") or []
            logprobs = choice.get("logprobs") or {}
            if "content" in logprobs:
                whole["logprobs"] += logprobs["content"]
            elif logprobs:
                whole["logprobs"] += list(zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["text_offset"],
                                              [json.dumps(top) for top in logprobs["top_logprobs"] or []]))
            if choice.get("finish_reason"):
                whole["end"] = (choice["finish_reason"], choice.get("stop_reason"))
    return {"choices": choices, "usage": usage_of(usage)}


class Bench:
    def __init__(self):
        self.replicas = [Replica() for _ in range(3)]
        self.gateway = Gateway([replica.tap.url for replica in self.replicas])
        self.expected = {}

    def close(self):
        self.gateway.process.terminate()
        assert self.gateway.process.wait(20) == 0, "the gateway did not end cleanly"
        for replica in self.replicas:
            replica.wait()
            replica.tap.close()
            if replica.server.alive():
                replica.kill()

    def undisturbed(self, case, **changes):
        key = (case, json.dumps(changes, sort_keys=True))
        if key not in self.expected:
            self.expected[key], _ = ask(self.gateway.port, case, **changes)
        return self.expected[key]

    def of(self, tap):
        return next(replica for replica in self.replicas if replica.tap is tap)

    def run(self, kind, case, tokens, action, **changes):
        """One request whose replica meets `action` behind the given number of tokens."""
        expected = self.undisturbed(case, **changes)
        self.wait_for(2)
        trigger = Trigger(tokens, action)
        for replica in self.replicas:
            replica.tap.trigger = trigger
        got, gap = ask(self.gateway.port, case, **changes)
        for replica in self.replicas:
            replica.tap.trigger = None
        assert trigger.pulled, (kind, case, tokens, "nothing was disturbed")
        assert got == expected, "%s, %s, behind token %d:\n%s\nexpected\n%s" % (kind, case, tokens, got, expected)
        longest_gaps[kind] = max(longest_gaps.get(kind, 0.0), gap)
        for replica in self.replicas:
            replica.start_again()

    def wait_for(self, count):
        """Until so many replicas serve: else a gap would be told that is only the time of a start."""
        for replica in self.replicas:
            if sum(not r.starting and r.server.alive() for r in self.replicas) >= count:
                return
            replica.wait()

    def kill(self, tap):
        self.of(tap).kill()
        return False

    def half_close(self, tap):
        return False  # the tap cuts the connection, the replica lives

    def drain(self, tap):
        replica = self.of(tap)
        connection = http.client.HTTPConnection("127.0.0.1", replica.server.port, timeout=10)
        connection.request("POST", "/internal/v1/drain", headers={"Authorization": "Bearer " + TOKEN})
        assert connection.getresponse().status == 200
        return True

    def terminate(self, tap):
        self.of(tap).server.process.terminate()
        return True

    def stop(self, tap):
        """Nothing comes for a while; then all that the replica had to say, too late."""
        process = self.of(tap).server.process
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        process.send_signal(signal.SIGCONT)
        return True

    def make_busy(self):
        """Streams beside, so that an answer takes longer than the news that its replica leaves."""
        body = json.dumps({"prompt": STORY, "n": 48, "max_tokens": 900, "ignore_eos": True, "stream": True})
        connections = []
        for replica in self.replicas:
            connection = http.client.HTTPConnection("127.0.0.1", replica.server.port, timeout=60)
            connection.request("POST", COMPLETION, body, {"Content-Type": "application/json"})
            connection.getresponse().read1(100)
            connections.append(connection)
        return connections

    def attempts(self, reason):
        return self.gateway.metric("sluice_gateway_unbroken_attempts_total{reason=\"%s\"}" % reason)


def kills(bench):
    places = range(1, 65) if LONG else (1, 2, 33, 64)
    for i, tokens in enumerate(places):
        for j, case in enumerate(CASES):
            if not LONG and case != "greedy" and (i + j) % 4:
                continue
            bench.run("SIGKILL", case, tokens, bench.kill)


def stop_strings(bench):
    """A cut at every token around and inside a stop string that ends the text."""
    whole = bench.undisturbed("sampled")["choices"][0]["text"]
    stop = whole[len(whole) // 2:len(whole) // 2 + 8]
    for include in (False, True):
        changes = {"stop": [stop], "include_stop_str_in_output": include}
        ids = bench.undisturbed("sampled", **changes)["choices"][0]["ids"]
        for tokens in range(max(1, len(ids) - 5), len(ids)):
            bench.run("cut connection", "sampled", tokens, bench.half_close, **changes)


def cuts(bench):
    for tokens in range(1, 79, 1 if LONG else 6):
        for case in (CASES if LONG else ("two choices", "chat, n, logprobs")):
            bench.run("cut connection", case, tokens, bench.half_close)


def drains(bench):
    for kind, case, action in (("drain", "greedy", bench.drain), ("drain", "chat, n, logprobs", bench.drain),
                               ("SIGTERM", "two choices", bench.terminate)):
        bench.undisturbed(case)
        moved = bench.attempts("move")
        beside = bench.make_busy()
        bench.run(kind, case, 20, action)
        assert bench.attempts("move") == moved + 1, "%s, %s: the answer was not moved" % (kind, case)
        for connection in beside:
            connection.close()
        # What has drained refuses whatever is new.
        for replica in bench.replicas:
            replica.wait()
            if not replica.server.alive() or '"ready":false' in identity(replica):
                replica.kill()
                replica.start_again()
            replica.wait()


def identity(replica, token=TOKEN):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", replica.server.port, timeout=10)
        connection.request("GET", "/internal/v1/identity", headers={"Authorization": "Bearer " + token})
        return connection.getresponse().read().decode()
    except ConnectionError:
        return '"ready":false'  # it takes no connections any more


def stops(bench):
    for case in (("logprobs", "chat", "whole") if LONG else ("logprobs",)):
        bench.run("SIGSTOP", case, 15, bench.stop)
    assert longest_gaps["SIGSTOP"] >= 1.9, "the answer did not wait for the one that hung"


def unseeded(bench):
    """A request without a seed gets one from the gateway: with that seed it repeats."""
    trigger = Trigger(25, bench.kill)
    for replica in bench.replicas:
        replica.tap.trigger = trigger
    got, _ = ask(bench.gateway.port, "sampled", seed=None)
    for replica in bench.replicas:
        replica.tap.trigger = None
        replica.start_again()
    signed = trigger.seed - (1 << 64) if trigger.seed >= 1 << 63 else trigger.seed
    assert got == ask(bench.gateway.port, "sampled", seed=signed)[0], "the seed does not repeat the answer"


def client_leaves(bench):
    """A client that goes away stops the replica's work."""
    body = {**COMMON, "prompt": STORY, "stream": True, "max_tokens": 900}
    connection = http.client.HTTPConnection("127.0.0.1", bench.gateway.port, timeout=30)
    connection.request("POST", COMPLETION, json.dumps(body), {"Content-Type": "application/json"})
    connection.getresponse().read1(100)
    connection.close()
    deadline = time.monotonic() + 5
    while any('"running":0' not in identity(r) for r in bench.replicas if r.server.alive()):
        assert time.monotonic() < deadline, "a replica still works for nobody"
        time.sleep(0.02)


def chaos(bench):
    """Many clients while replicas are killed and stopped at any time: every answer is the undisturbed one."""
    seconds = 60 if LONG else 4
    answers, wrong, over = [0], [], threading.Event()
    for case in CASES:
        bench.undisturbed(case)

    def client(number):
        for i in range(number, 1 << 30):
            if over.is_set():
                return
            case = list(CASES)[i % len(CASES)]
            try:
                got, _ = ask(bench.gateway.port, case)
                if got != bench.expected[(case, "{}")]:
                    wrong.append("%s: another answer" % case)
            except Exception as e:  # noqa: BLE001
                wrong.append("%s: %r" % (case, e))
            answers[0] += 1

    clients = [threading.Thread(target=client, args=(i,)) for i in range(6)]
    for each in clients:
        each.start()
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        replica = bench.replicas[turn % len(bench.replicas)]
        turn += 1
        if LONG and turn % 8 == 0:
            bench.stop(replica.tap)
        else:
            replica.kill()
            replica.start_again()
            replica.wait()
        time.sleep(0.3)
    over.set()
    for each in clients:
        each.join()
    print("%d answers while replicas were lost %d times" % (answers[0], turn))
    assert not wrong, "%d wrong: %s" % (len(wrong), wrong[:3])


TESTS = (kills, stop_strings, cuts, drains, stops, unseeded, client_leaves, chaos)


def counted(bench):
    """What happened stands in the metrics, and no answer was given up."""
    assert bench.attempts("resume") > 0
    assert bench.gateway.metric("sluice_gateway_unbroken_given_up_total") == 0
    print("%d resumed, %d moved; longest gap a client saw: %s" % (
        bench.attempts("resume"), bench.attempts("move"),
        ", ".join("%s %.3f s" % each for each in sorted(longest_gaps.items()))))


def main():
    began, failed = time.monotonic(), 0
    bench = Bench()
    try:
        for test in (*TESTS, counted):
            try:
                for replica in bench.replicas:
                    replica.start_again()
                    replica.wait()
                test(bench)
            except Exception as e:  # noqa: BLE001
                failed += 1
                print("failed: %s: %r" % (test.__name__, e))
            print("%6.1f s  %s" % (time.monotonic() - began, test.__name__), flush=True)
    finally:
        bench.close()
    print("%d passed, %d failed, 0 skipped" % (len(TESTS) + 1 - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
