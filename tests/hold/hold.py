"""A control plane's part is played: it takes the load reports, and brings replicas up by renaming the gateway's plan.
  hold.py          SLUICE names the binary; HOLD_NUMBERS=1 prints what was measured"""
import http.client
import http.server
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
from server import BINARY, Server  # noqa: E402

TOKEN = "hold-test-token"
PATIENCE = 30
numbers = {}


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError("never: " + what)


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Control:
    """Takes load reports."""

    def __init__(self):
        self.wakes, self.reports, self.ended = [], [], []
        control = self

        class Handler(Quiet):
            def do_POST(self):
                report = json.loads(self.body())
                assert self.headers["Authorization"] == "Bearer " + TOKEN
                if "wake" in report:
                    control.wakes.append((time.monotonic(), report["wake"]))
                elif "ended" in report:
                    control.ended.append(report["gateway"])
                else:
                    control.reports.append(report)
                self.answer(204)
        self.server = serve(Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port

    def total(self, upstream, field):
        return sum(u.get(field, 0) for r in list(self.reports) for u in r["upstreams"] if u["name"] == upstream)


class Foreign:
    """Any OpenAI-compatible server, with nothing but a stream of three words."""

    def __init__(self):
        class Handler(Quiet):
            def do_GET(self):
                self.answer(200, b"ready")

            def do_POST(self):
                asked = json.loads(self.body())
                if not asked.get("stream"):
                    return self.answer(200, b'{"choices":[{"text":"one two three"}],"usage":{"prompt_tokens":2,"completion_tokens":3}}')
                events = b"".join(b'data: {"choices":[{"text":"%s"}]}\n\n' % w for w in (b"one", b"two", b"three"))
                self.answer(200, events + b"data: [DONE]\n\n", "text/event-stream")
        self.server = serve(Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port


class Plan:
    """The gateway's file, written by renaming."""

    def __init__(self, folder, control):
        self.path = os.path.join(folder, "gateway.json")
        self.token = os.path.join(folder, "token")
        with open(self.token, "w") as f:
            f.write(TOKEN)
        self.control = control
        self.services = {}

    def write(self):
        upstreams, routes = [], []
        for name, (kind, urls, hold) in self.services.items():
            upstream = {"name": name, "kind": kind, "hold": hold, "health": {"interval": "500ms"},
                        "endpoints": [{"name": "r%d" % i, "url": url} for i, url in enumerate(urls)]}
            if kind == "sluice":
                upstream["internal_token"] = {"file": self.token}
            upstreams.append(upstream)
            routes.append({"name": "route-" + name, "match": {"models": [name]}, "public": True,
                           "targets": [{"upstream": name, "model": "story"}]})
        plan = {"server": {"metrics_public": True},
                "control": {"url": self.control.url, "token": {"file": self.token}}, "upstreams": upstreams, "routes": routes}
        with open(self.path + ".tmp", "w") as f:
            json.dump(plan, f)
        os.rename(self.path + ".tmp", self.path)
        return time.monotonic()


class Asked(threading.Thread):
    """One request, with the time of each piece of its answer."""

    def __init__(self, port, model, stream=False, path="/v1/completions"):
        super().__init__(daemon=True)
        body = {"model": model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "stream": stream}
        self.port, self.path, self.sent = port, path, json.dumps(body)
        self.pieces, self.status, self.headers, self.error = [], 0, {}, None
        self.start()

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            self.began = time.monotonic()
            connection.request("POST", self.path, self.sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            self.status, self.headers = response.status, dict(response.getheaders())
            while piece := response.read1(65536):
                self.pieces.append((time.monotonic(), piece.decode()))
            self.ended = time.monotonic()
        except Exception as e:  # noqa: BLE001
            self.error = e

    def text(self):
        self.join(PATIENCE)
        assert self.error is None, self.error
        return "".join(piece for _, piece in self.pieces)


def gateway(plan, *more):
    return Server(["--config", plan.path, "--port", "0", "--io-threads", "2", *more], command=("gateway",))


def held_and_woken(front, plan, control, name, kind, url):
    """Asleep, asked, woken, answered."""
    plan.services[name] = (kind, [], {"comment_every": "100ms"})
    plan.write()
    until(lambda: name in models(front), "the plan is in force")
    seen = len(control.wakes)
    whole, stream = Asked(front.port, name), Asked(front.port, name, stream=True)
    until(lambda: len(control.wakes) > seen, "a wake")
    at, names = control.wakes[seen]
    assert names == [name], names
    numbers["wake after the request, %s (ms)" % kind] = round(1e3 * (at - min(whole.began, stream.began)), 2)
    until(lambda: stream.pieces, "a comment")
    assert stream.status == 200 and stream.pieces[0][1].startswith(":"), stream.pieces
    assert not whole.status, "nobody answered yet"
    plan.services[name] = (kind, [url], {"comment_every": "100ms"})
    renamed = plan.write()
    text = whole.text()
    assert whole.status == 200, (whole.status, text)
    numbers["answer of 8 tokens after the rename, %s (ms)" % kind] = round(1e3 * (whole.ended - renamed), 2)
    events = stream.text()
    assert "data: [DONE]" in events and "error" not in events, events
    until(lambda: control.total(name, "answered") == 2, "the load is told")
    assert control.total(name, "arrived") == 2 and control.total(name, "concurrency") > 0
    assert control.total(name, "completion_tokens") > 0


def models(front):
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
    connection.request("GET", "/v1/models")
    return [m["id"] for m in json.loads(connection.getresponse().read())["data"]]


def bounds(front, plan):
    plan.services["late"] = ("foreign", [], {"max_wait": "300ms", "max_held": 1})
    plan.write()
    until(lambda: "late" in models(front), "the plan is in force")
    first = Asked(front.port, "late")
    time.sleep(0.1)
    second = Asked(front.port, "late")
    assert "hold_full" in second.text() and second.status == 503, second.text()
    assert "hold_timeout" in first.text() and first.status == 503, first.text()
    assert int(first.headers["Retry-After"]) >= 1
    assert 0.25 < first.ended - first.began < 3


def changes_under_load(front, plan, servers):
    """Replicas come and go four times a second; streams and whole answers never notice."""
    hold = {"max_wait": "20s"}
    plan.services["busy"] = ("sluice", [servers[0].url], hold)
    plan.write()
    until(lambda: "busy" in models(front), "the plan is in force")
    stop, failed, done = threading.Event(), [], [0]

    def load(stream):
        while not stop.is_set():
            asked = Asked(front.port, "busy", stream)
            text = asked.text()
            done[0] += 1
            if asked.status != 200 or "error" in text or (stream and "[DONE]" not in text):
                failed.append((asked.status, text[-200:]))
    workers = [threading.Thread(target=load, args=(i % 2 == 0,)) for i in range(4)]
    for worker in workers:
        worker.start()
    urls = [[servers[1].url], [s.url for s in servers], [], [servers[0].url], [servers[0].url, servers[1].url], []]
    for i in range(12):
        time.sleep(0.25)
        plan.services["busy"] = ("sluice", urls[i % len(urls)], hold)
        plan.write()
    plan.services["busy"] = ("sluice", [servers[0].url], hold)
    plan.write()
    time.sleep(0.3)
    stop.set()
    for worker in workers:
        worker.join(PATIENCE)
    assert not failed, failed[:3]
    assert done[0] > 20, done
    numbers["requests while replicas came and went"] = done[0]


def thousand_services(front, plan, url):
    """A plan of 1,000 services that sleep: when it is in force, and what requests feel of it."""
    for i in range(1000):
        plan.services["sleeper-%04d" % i] = ("sluice", [], {})
    plan.services["awake"] = ("foreign", [url], {})
    plan.write()
    until(lambda: "sleeper-0999" in models(front), "the plan is in force")
    took, stop = [], threading.Event()

    def load():
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
        while not stop.is_set():
            began = time.monotonic()
            connection.request("POST", "/v1/completions", json.dumps({"model": "awake", "prompt": "x"}),
                               {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
            took.append(time.monotonic() - began)
    worker = threading.Thread(target=load)
    worker.start()
    time.sleep(1)
    calm = len(took)
    forced = []
    for i in range(5):
        plan.services["fresh-%d" % i] = ("sluice", [], {})
        renamed = plan.write()
        until(lambda: answers_for(front, "fresh-%d" % i), "the change is in force")
        forced.append(1e3 * (time.monotonic() - renamed))
    stop.set()
    worker.join(PATIENCE)
    numbers["1,000 services: a change in force after (ms, median of 5)"] = round(statistics.median(forced), 1)
    numbers["1,000 services: requests' longest time, calm and during 5 reloads (ms)"] = [
        round(1e3 * max(took[:calm]), 1), round(1e3 * max(took[calm:]), 1)]
    numbers["1,000 services: requests during the reloads"] = len(took) - calm


def answers_for(front, name):
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
    connection.request("GET", "/v1/models/" + name)
    return connection.getresponse().status == 200


def in_force(front, plan):
    """A small plan: from the rename until requests see it."""
    times = []
    for i in range(10):
        plan.services["quick-%d" % i] = ("foreign", [], {})
        renamed = plan.write()
        until(lambda: answers_for(front, "quick-%d" % i), "the change is in force")
        times.append(1e3 * (time.monotonic() - renamed))
    numbers["a small change in force after (ms, median of 10)"] = round(statistics.median(times), 1)
    # Polling alone would take up to two seconds.
    assert statistics.median(times) < 500, times


def cpu_seconds(process):
    with open("/proc/%d/stat" % process.pid) as f:
        fields = f.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(front):
    began = cpu_seconds(front.process)
    time.sleep(3)
    numbers["1,000 services that sleep: share of a core when idle (%)"] = round(
        100 * (cpu_seconds(front.process) - began) / 3, 1)


def main():
    arguments = ["--internal-token", TOKEN, "--threads", "1", "--kv-cache-memory-bytes", "64M"]
    with tempfile.TemporaryDirectory() as folder, Server(arguments) as first, Server(arguments) as second:
        control, foreign = Control(), Foreign()
        plan = Plan(folder, control)
        plan.write()
        checks = [
            ("a foreign server is woken", lambda f: held_and_woken(f, plan, control, "foreign", "foreign", foreign.url)),
            ("a Sluice replica is woken", lambda f: held_and_woken(f, plan, control, "own", "sluice", first.url)),
            ("the wait is bounded", lambda f: bounds(f, plan)),
            ("a renamed plan is in force at once", lambda f: in_force(f, plan)),
            ("replicas come and go under load", lambda f: changes_under_load(f, plan, (first, second))),
            ("a thousand services", lambda f: thousand_services(f, plan, foreign.url)),
            ("a thousand services, idle", idle),
        ]
        failed = []
        with gateway(plan) as front:
            for name, check in checks:
                try:
                    check(front)
                except Exception as e:  # noqa: BLE001
                    failed.append("%s: %r" % (name, e))
            assert front.stop() == 0
        if not control.ended:
            failed.append("the gateway did not say that it ended")
        for line in failed:
            print("failed: " + line)
        if os.environ.get("HOLD_NUMBERS"):
            for name, value in numbers.items():
                print("%s: %s" % (name, value))
        print("%d passed, %d failed, 0 skipped" % (len(checks) + 1 - len(failed), len(failed)))
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
