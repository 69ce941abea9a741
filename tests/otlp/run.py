"""Traces of a gateway and two runtimes, as a receiver of OTLP gets them: the spans of client, gateway, attempts and runtimes hang
together, also where an answer goes on at a second runtime; what is not to be traced is not; no prompt is in them.
  run.py     SLUICE names the binary"""
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
from server import Server  # noqa: E402

TOKEN = "otlp-test-token"
SECRET = "a fox that nobody must hear of"
PATIENCE = 30
SERVER, CLIENT = 2, 3
NO_PARENT = ""
passed, failed = 0, 0

PLAN = """
server: {metrics_public: true}
upstreams:
  - name: own
    kind: sluice
    internal_token: {env: OTLP_TEST_TOKEN}
    endpoints: [{url: "%(first)s", name: a, weight: 1000}, {url: "%(second)s", name: b, weight: 0.001}]
  - {name: other, kind: foreign, endpoints: [{url: "%(second)s", name: b}]}
  - {name: gone, kind: foreign, endpoints: [{url: "http://127.0.0.1:1", name: nobody}]}
routes:
  - {name: own, match: {models: [own]}, public: true, policy: weighted_round_robin, targets: [{upstream: own, model: story}]}
  - {name: other, match: {models: [other]}, public: true, targets: [{upstream: other, model: story}]}
  - {name: gone, match: {models: [gone]}, public: true, retry: {attempts: 0}, targets: [{upstream: gone}],
     fallbacks: [{upstream: other, model: story}]}
"""


def check(good, what):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("failed: " + what, flush=True)


class Receiver:
    """receiver.mjs, and the spans that it has told of."""

    def __init__(self):
        self.process = subprocess.Popen(["node", os.path.join(HERE, "receiver.mjs")], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.spans, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.spans.append(json.loads(line))
                self.changed.notify_all()

    def trace(self, trace, count):
        """The spans of a trace, once there are so many of them."""
        of = lambda: [s for s in self.spans if s["trace"] == trace]  # noqa: E731
        with self.changed:
            self.changed.wait_for(lambda: len(of()) >= count, PATIENCE)
            return of()


def ask(gateway, model, traceparent=None, cut=None, **more):
    """(request id, the last event or the answer); `cut` is called behind the first event of a stream."""
    body = {"model": model, "messages": [{"role": "user", "content": "Tell me a story about " + SECRET}], "temperature": 0,
            "ignore_eos": True, "max_tokens": 16, **more}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    headers = {"Content-Type": "application/json"}
    if traceparent:
        headers["traceparent"] = traceparent
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if not more.get("stream"):
        return response.getheader("X-Request-Id"), json.loads(response.read())
    last = None
    for line in response:
        if line.startswith(b"data: {"):
            if last is None and cut:
                cut()
            last = json.loads(line[6:])
    return response.getheader("X-Request-Id"), last


def one(spans, **wanted):
    """The only span with these values."""
    found = [s for s in spans if all(s[k] == v for k, v in wanted.items())]
    check(len(found) == 1, "one span with %s: %s" % (wanted, [s["name"] for s in found]))
    return found[0] if found else {"attributes": {}, "id": None, "events": [], "begin": 0, "end": 0, "status": None, "parent": None,
                                   "name": None}


def ids(number):
    return "%032x" % (0xabc000 + number), "%016x" % (0xdef000 + number)


def plain(receiver, gateway, model, number):
    """Client, gateway, attempt, runtime: each the child of the one before."""
    trace, client = ids(number)
    request_id, answer = ask(gateway, model, "00-%s-%s-01" % (trace, client))
    spans = receiver.trace(trace, 3)
    door = one(spans, service="sluice-gateway", kind=SERVER)
    attempt = one(spans, service="sluice-gateway", kind=CLIENT)
    runtime = one(spans, service="story-runtime", kind=SERVER)
    check((door["parent"], attempt["parent"], runtime["parent"]) == (client, door["id"], attempt["id"]), "%s: they hang together" % model)
    check((door["name"], runtime["name"]) == ("POST /v1/chat/completions", "chat story"), "%s: their names" % model)
    check(attempt["name"] == "chat " + model, "%s: the attempt's name: %s" % (model, attempt["name"]))
    a = runtime["attributes"]
    usage = answer["usage"]
    check(a.get("gen_ai.usage.input_tokens") == usage["prompt_tokens"] and a.get("gen_ai.usage.output_tokens") == usage["completion_tokens"],
          "%s: tokens: %s" % (model, a))
    check(a.get("gen_ai.operation.name") == "chat" and a.get("gen_ai.response.finish_reasons") == ["length"] and
          a.get("gen_ai.request.max_tokens") == 16 and a.get("gen_ai.request.temperature") == 0, "%s: what was asked: %s" % (model, a))
    times = [a.get("gen_ai.latency." + n, -1) for n in ("time_in_queue", "time_in_model_prefill", "time_in_model_decode",
                                                         "time_to_first_token", "e2e")]
    check(min(times) >= 0 and max(times) == times[-1], "%s: what its time went into: %s" % (model, times))
    check(runtime["events"] == ["scheduled", "first_token"], "%s: events: %s" % (model, runtime["events"]))
    d = door["attributes"]
    check(d.get("sluice.request.id") == request_id and d.get("sluice.route") == model and d.get("http.response.status_code") == 200 and
          d.get("sluice.attempts") == 1, "%s: the gateway's: %s" % (model, d))
    check(d.get("gen_ai.usage.output_tokens") == usage["completion_tokens"], "%s: the gateway knows what it cost" % model)
    check(attempt["attributes"].get("sluice.attempt.reason") == "first", "%s: the first attempt" % model)
    slack = 50_000_000  # two processes read the clock
    check(door["begin"] <= attempt["begin"] <= runtime["begin"] + slack and runtime["end"] <= door["end"] + slack and
          door["begin"] < door["end"], "%s: one inside the other" % model)
    check(not any(s["status"] for s in spans), "%s: nothing failed" % model)


def resumed(receiver, gateway, runtimes):
    """The runtime dies in mid answer."""
    trace, client = ids(9)
    _, last = ask(gateway, "own", "00-%s-%s-01" % (trace, client), cut=runtimes[0].process.kill, stream=True, n=8, max_tokens=300)
    check(last is not None and "error" not in last, "the stream came to its end: %s" % last)
    spans = receiver.trace(trace, 4)
    door = one(spans, kind=SERVER, service="sluice-gateway")
    attempts = sorted((s for s in spans if s["kind"] == CLIENT), key=lambda s: s["begin"])
    check([(s["parent"], s["attributes"]["sluice.attempt.reason"], s["attributes"]["sluice.replica"], s["status"]) for s in attempts] ==
          [(door["id"], "first", "a", 2), (door["id"], "resume", "b", 0)],
          "two attempts of one request: %s" % [(s["attributes"], s["status"]) for s in attempts])
    runtime = one(spans, service="story-runtime")
    check(runtime["parent"] == (attempts[-1]["id"] if attempts else 0), "the second runtime's span belongs to the second attempt")
    check(runtime["attributes"].get("sluice.resumed_tokens", 0) > 0, "and says where it went on: %s" % runtime["attributes"])
    check(door["attributes"].get("sluice.attempts") == 2 and door["status"] == 0, "the request itself went well: %s" % door["attributes"])


def fallen_back(receiver, gateway):
    trace, client = ids(12)
    ask(gateway, "gone", "00-%s-%s-01" % (trace, client))
    attempts = sorted((s for s in receiver.trace(trace, 4) if s["kind"] == CLIENT), key=lambda s: s["begin"])
    check([(s["attributes"]["sluice.attempt.reason"], s["attributes"].get("error.type")) for s in attempts] ==
          [("first", "connect"), ("fallback", None)],
          "what was tried: %s" % [s["attributes"] for s in attempts])


def sampled_or_not(receiver, gateway):
    kept, client = ids(20)
    dropped, _ = ids(21)
    ask(gateway, "other", "00-%s-%s-00" % (dropped, client))
    ask(gateway, "other", "00-%s-%s-01" % (kept, client))
    receiver.trace(kept, 3)
    check(not receiver.trace(dropped, 0), "who wants no trace gets none")
    ask(gateway, "other", "nonsense")
    with receiver.changed:
        begun = lambda: [s for s in receiver.spans if s["parent"] == NO_PARENT]  # noqa: E731
        receiver.changed.wait_for(begun, PATIENCE)
        check([s["service"] for s in begun()] == ["sluice-gateway"], "a trace begins at the gateway where the caller has none")


def main():
    receiver = Receiver()
    endpoint = "http://127.0.0.1:%d" % receiver.port
    env = dict(os.environ, OTLP_TEST_TOKEN=TOKEN, OTEL_BSP_SCHEDULE_DELAY="100", OTEL_EXPORTER_OTLP_HEADERS="x-test-key=a%20b")
    with_runtimes = dict(env, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME="story-runtime")
    runtimes = [Server(["--served-model-name", "story", "--internal-token", TOKEN, "--threads", "1"], env=with_runtimes)
                for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "plan.yaml")
        with open(path, "w") as f:
            f.write(PLAN % {"first": runtimes[0].url, "second": runtimes[1].url})
        gateway = Server(["--otlp-traces-endpoint", endpoint + "/v1/traces"], command=("gateway", "--config", path, "--port", "0"), env=env)
        plain(receiver, gateway, "own", 1)
        plain(receiver, gateway, "other", 2)
        fallen_back(receiver, gateway)
        sampled_or_not(receiver, gateway)
        resumed(receiver, gateway, runtimes)
        check(SECRET not in json.dumps(receiver.spans), "no prompt is in a trace")
        check(gateway.stop() == 0 and runtimes[1].stop() == 0, "both end in good order")
    receiver.process.kill()
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
