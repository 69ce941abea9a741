"""Several models in one process that has room for two of three, alone, behind the gateway and as services of the platform; what payload
logs tell a sink; predictions that are joined.
  shared.py        SLUICE names the binary"""
import concurrent.futures
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import cases  # noqa: E402
from server import BINARY, MODEL, Server  # noqa: E402
from services import on_the_platform  # noqa: E402

TOKEN = "shared-test-token"
PATIENCE = 20
PROMPT = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}


class Client:
    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read().decode(), {k.lower(): v for k, v in response.getheaders()}

    def complete(self, model, **more):
        status, body, _ = self.ask("POST", "/v1/completions", {"model": model, **PROMPT, **more})
        assert status == 200, (status, body)
        return json.loads(body)

    def loaded(self):
        status, body, _ = self.ask("POST", "/v2/repository/index")
        assert status == 200, body
        return {m["name"] for m in json.loads(body) if m["state"] == "READY"}

    def metric(self, line):
        found = re.search("^" + re.escape(line) + r" (\S+)", self.ask("GET", "/metrics")[1], re.MULTILINE)
        return float(found.group(1)) if found else 0.0


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    events = []

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Sink.events.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("never: " + what)


def repository(folder):
    """Three models of one file's bytes, and one that is none."""
    for name in ("a", "b", "c"):
        os.symlink(os.path.abspath(MODEL), os.path.join(folder, name + ".gguf"))
    with open(os.path.join(folder, "broken.gguf"), "w") as file:
        file.write("no model")


def size_of_one(folder):
    """What the log says that a model takes, where it may take nothing."""
    with Server(("--model-memory-bytes", "1", "--kv-cache-memory-bytes", "4M"), models=(os.path.join(folder, "a.gguf"),)) as server:
        status, body, _ = Client(server.port).ask("POST", "/v1/completions", {"model": "a", **PROMPT})
        assert status == 503 and json.loads(body)["error"]["code"] == "model_too_large", (status, body)
        return float(re.search(r"takes ([0-9.]+) MiB", body).group(1))


def on_demand(client):
    assert client.loaded() == set()
    assert client.ask("GET", "/ready")[0] == 200
    listed = json.loads(client.ask("GET", "/v1/models")[1])["data"]
    assert [m["id"] for m in listed] == ["a", "b", "broken", "c"], listed
    first = client.complete("a")
    assert first["system_fingerprint"].startswith("fp_"), first
    text = first["choices"][0]["text"]
    assert client.complete("b")["choices"][0]["text"] == text
    assert client.loaded() == {"a", "b"}
    client.complete("a")
    assert client.complete("c")["choices"][0]["text"] == text
    assert client.loaded() == {"a", "c"}, "b was used longest ago"
    assert client.metric('sluice_model_unloads_total{model="b",reason="evicted"}') == 1
    assert client.metric("sluice_models_loaded") == 2
    assert client.metric("sluice_model_memory_bytes") <= client.metric("sluice_model_memory_budget_bytes")
    status, body, _ = client.ask("POST", "/v1/completions", {"model": "broken", **PROMPT})
    assert status == 503 and json.loads(body)["error"]["code"] == "model_load_failed", (status, body)
    assert client.ask("POST", "/v1/completions", {"model": "nobody", **PROMPT})[0] == 404
    tokens = json.loads(client.ask("POST", "/tokenize", {"model": "b", "prompt": PROMPT["prompt"]})[1])["tokens"]
    assert tokens == json.loads(client.ask("POST", "/tokenize", {"model": "a", "prompt": PROMPT["prompt"]})[1])["tokens"]
    assert client.loaded() == {"a", "c"}, "tokenizing loads no weights"


def crowd(client):
    """Everybody asks for everything: more models than room, and each answer is right."""
    text = client.complete("a")["choices"][0]["text"]
    before = client.metric('sluice_model_loads_total{model="b",result="ok"}')
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda i: client.complete("abc"[i % 3]), range(48)))
    assert {a["choices"][0]["text"] for a in answers} == {text}
    loads = client.metric('sluice_model_loads_total{model="b",result="ok"}') - before
    assert 1 <= loads <= 8, "those who want one model wait for one load: %d" % loads
    assert len(client.loaded()) <= 2


def administer(client):
    admin = {"Authorization": "Bearer boss"}
    status, body, _ = client.ask("POST", "/v2/repository/models/b/load", {}, admin)
    assert (status, json.loads(body)) == (200, {"name": "b", "load": True}), (status, body)
    assert "b" in client.loaded()
    status, body, _ = client.ask("POST", "/v2/repository/models/b/unload", {}, admin)
    assert (status, json.loads(body)) == (200, {"name": "b", "unload": True}), (status, body)
    assert "b" not in client.loaded()
    assert client.ask("POST", "/v2/repository/models/nobody/load", {}, admin)[0] == 404
    assert client.ask("POST", "/v2/repository/models/b/load", {}, {})[0] in (401, 403)


class Doubler(http.server.BaseHTTPRequestHandler):
    """A predictive server in KServe's first protocol."""
    protocol_version = "HTTP/1.1"
    asked = []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        instances = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        Doubler.asked.append(instances)
        body = json.dumps({"predictions": [2 * i for i in instances]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


PLAN = """
upstreams:
  - {name: doubler, endpoints: [{url: "%(doubler)s"}]}
  - {name: typed, kind: sluice, internal_token: {env: SHARED_TOKEN}, endpoints: [{url: "%(runtime)s"}]}
  - {name: plain, endpoints: [{url: "%(runtime)s"}]}
routes:
  - name: doubler
    match: {models: [doubler]}
    public: true
    targets: [{upstream: doubler}]
    batch: {max_instances: 8, max_latency: 10s}
  - name: typed
    match: {models: [a, b, c]}
    public: true
    targets: [{upstream: typed}]
    log: {url: "%(sink)s/events", attributes: {inferenceservicename: story, namespace: default}, headers: [x-user]}
  - name: plain
    match: {models: [plain]}
    public: true
    targets: [{upstream: plain, model: a}]
    log: {url: "%(sink)s/events", mode: response}
  - name: deaf
    match: {models: [deaf]}
    public: true
    targets: [{upstream: plain, model: a}]
    log: {url: "http://127.0.0.1:1/events"}
  - name: metadata
    match: {models: [metadata]}
    public: true
    targets: [{upstream: plain, model: a}]
    log: {url: "http://169.254.169.254/latest"}
server: {metrics_public: true}
"""


def events(count):
    until(lambda: len(Sink.events) >= count, "%d events, %d are there" % (count, len(Sink.events)))
    told = list(Sink.events)
    Sink.events.clear()
    return told


def payload_logs(front):
    for model in "abc":
        status, body, headers = front.ask("POST", "/v1/completions", {"model": model, **PROMPT}, {"X-User": "lily"})
        assert status == 200, body
        told = {h["ce-type"].rsplit(".", 1)[1]: (h, b) for h, b in events(2)}
        asked, answered = told["request"], told["response"]
        assert asked[0]["ce-id"] == answered[0]["ce-id"] == headers["x-request-id"]
        assert json.loads(asked[1]) == {"model": model, **PROMPT} and answered[1].decode() == body
        for fields, _ in told.values():
            assert fields["ce-specversion"] == "1.0" and fields["ce-inferenceservicename"] == "story", fields
            assert fields["ce-metadata"] == "{%22x-user%22:[%22lily%22]}", fields
        assert answered[0]["ce-status"] == "200"
    status, body, _ = front.ask("POST", "/v1/completions", {"model": "a", **PROMPT, "stream": True})
    stream = [e for e in events(2) if e[0].get("ce-stream")]
    assert len(stream) == 1 and stream[0][1].decode() == body and "data: [DONE]" in body, stream
    assert front.ask("POST", "/v1/completions", {"model": "plain", **PROMPT})[0] == 200
    (only,) = events(1)
    assert only[0]["ce-type"].endswith(".response"), only
    assert front.ask("POST", "/v1/completions", {"model": "plain", "prompt": 7})[0] == 400
    assert events(1)[0][0]["ce-status"] == "400", "failures are told too"
    for route in ("deaf", "metadata"):
        assert front.ask("POST", "/v1/completions", {"model": route, **PROMPT})[0] == 200
        line = 'sluice_gateway_payload_events_total{result="failed",route="%s"}' % route
        until(lambda line=line: front.metric(line) == 2, line)


def joined_predictions(front):
    def ask(i):
        status, body, _ = front.ask("POST", "/v1/models/doubler:predict", {"instances": [i, i + 100]})
        return status, json.loads(body)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == [(200, {"predictions": [2 * i, 2 * i + 200]}) for i in range(16)], answers
    assert sorted(map(len, Doubler.asked)) == [8, 8, 8, 8], Doubler.asked


def refusals(good):
    """What a start refuses, by name."""
    for arguments, words in (((), "--model-repository"), (("--model-repository", "/nowhere"), "/nowhere"),
                             (("--model-repository", "docs"), "holds no model"),
                             (("--model-repository", good[1], "--model-memory-bytes", "many"), "many")):
        done = subprocess.run([BINARY, "serve", "--port", "0", *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode != 0 and words in done.stderr, (arguments, done.stderr)


class Boss(Client):
    def ask(self, method, path, body=None, headers=None):
        return super().ask(method, path, body, {"Authorization": "Bearer boss"} if headers is None else headers)


def alone(arguments):
    with Server(arguments, models=()) as server:
        on_demand(Client(server.port))
        crowd(Client(server.port))


def administered(arguments):
    with Server((*arguments, "--admin-key", "boss"), models=()) as server:
        administer(Boss(server.port))
        assert server.stop() == 0


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "http://127.0.0.1:%d" % server.server_port


def behind_the_gateway(arguments):
    with Server((*arguments, "--internal-token", TOKEN), models=()) as server, \
            tempfile.NamedTemporaryFile("w", suffix=".yaml") as plan:
        plan.write(PLAN % {"runtime": server.url, "sink": serve(Sink), "doubler": serve(Doubler)})
        plan.flush()
        with Server(command=("gateway", "--config", plan.name, "--port", "0"), env=dict(os.environ, SHARED_TOKEN=TOKEN)) as gateway:
            payload_logs(Client(gateway.port))
            joined_predictions(Client(gateway.port))
            assert gateway.stop() == 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        repository(folder)
        budget = int(size_of_one(folder) * 2.5 * (1 << 20))
        arguments = ("--model-repository", folder, "--model-memory-bytes", str(budget), "--kv-cache-memory-bytes", "4M",
                     "--threads", "1")
        return cases.run([refusals, alone, administered, behind_the_gateway, on_the_platform], arguments)


if __name__ == "__main__":
    sys.exit(main())
