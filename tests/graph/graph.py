"""Requests of several steps on real processes.
  graph.py         SLUICE names the binary"""
import http.client
import http.server
import json
import os
import re
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import cases  # noqa: E402
from server import Server  # noqa: E402

TOKEN = "graph-test-token"


class Service(http.server.BaseHTTPRequestHandler):
    """A model in KServe's first protocol, and a service that counts."""
    protocol_version = "HTTP/1.1"
    calls = []

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Service.calls.append((self.path, dict(self.headers), body))
        if self.path.startswith("/slow"):
            time.sleep(2)
        status, answer = 200, {"predictions": ["dog" if "bark" in str(body) else "cat"]}
        if self.path.startswith("/fail"):
            status, answer = 503, {"error": "not now"}
        if self.path.startswith("/breed"):
            answer = {"predictions": ["beagle"], "of": body}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def examples():
    """The yaml of docs/gateway.md behind its headings about transformers and graphs, without the first lines of their lists."""
    with open("docs/gateway.md", encoding="utf-8") as f:
        text = f.read()
    found = {}
    for heading, key in (("### Transformers", "routes:\n"), ("## Graphs", "graphs:\n")):
        block = re.search(r"```yaml\n(.*?)```", text[text.index("\n" + heading + "\n"):], re.S).group(1)
        assert block.startswith(key), block
        found[key] = block[len(key):].replace("    targets:", "    public: true\n    targets:")
    return found["routes:\n"], found["graphs:\n"]


PLAN = """
upstreams:
  - {name: story, kind: sluice, internal_token: {env: GRAPH_TOKEN}, endpoints: [{url: "%(runtime)s"}]}
  - {name: uncached, kind: sluice, internal_token: {env: GRAPH_TOKEN}, endpoints: [{url: "%(uncached)s"}]}
  - {name: animals, endpoints: [{url: "%(service)s"}]}
routes:
%(transform)s
  - name: story
    match: {models: [story]}
    public: true
    targets: [{upstream: story}]
    explain: {segments: sentence, max_segments: 20}
  - name: uncached
    match: {models: [uncached]}
    public: true
    targets: [{upstream: uncached, model: story}]
    explain: {}
  - {name: animals, match: {models: [animals]}, targets: [{upstream: animals}]}
graphs:
%(graphs)s
  - name: breeds
    public: true
    headers: [x-kind]
    nodes:
      - name: root
        type: sequence
        steps:
          - {name: animal, route: animals, dependency: hard}
          - {name: breed, url: "%(service)s/breed", data: $response, map_predictions: true, condition: '[@this].#(predictions.0==dog)'}
  - name: both
    public: true
    nodes:
      - {name: root, type: ensemble, steps: [{name: a, route: animals}, {name: b, url: "%(service)s/breed"}]}
  - name: forbidden
    public: true
    nodes: [{name: root, type: sequence, steps: [{name: secrets, url: "http://169.254.169.254/latest"}]}]
  - name: patient
    public: true
    nodes:
      - {name: root, type: sequence, steps: [{name: slow, url: "%(service)s/slow", timeout: 100ms, fallback: spare}]}
      - {name: spare, type: sequence, steps: [{url: "%(service)s/fail", retries: 2}]}
"""


class Front:
    def __init__(self, port):
        self.port = port

    def post(self, path, body, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())


def transformer(front):
    status, body, _ = front.post("/v1/completions", {"model": "questions", "question": "Who is Lily?", "temperature": 0})
    assert status == 200, body
    answer = json.loads(body)
    assert list(answer) == ["answer"] and answer["answer"], body


def switch_and_sequence(front):
    status, body, _ = front.post("/v1/completions", {"model": "tales", "prompt": "Once upon a time", "length": "short"})
    assert status == 200 and json.loads(body)["usage"]["completion_tokens"] <= 16, body
    status, body, _ = front.post("/v1/graphs/tales", {"prompt": "Once upon a time", "temperature": 0, "max_tokens": 8})
    assert status == 200, body
    told = json.loads(body)
    first = json.loads(front.post("/v1/completions", {"model": "story", "prompt": "Once upon a time", "temperature": 0,
                                                      "max_tokens": 8})[1])["choices"][0]["text"]
    alone = front.post("/v1/completions", {"model": "story", "prompt": "Once upon a time" + first, "temperature": 0})[1]
    assert told["usage"]["prompt_tokens"] == json.loads(alone)["usage"]["prompt_tokens"], (told, alone)


def stream(front):
    status, body, headers = front.post("/v1/completions", {"model": "tales", "prompt": "Once upon a time", "stream": True})
    assert status == 200 and headers["Content-Type"].startswith("text/event-stream"), (status, headers)
    assert body.count("data: ") > 3 and body.rstrip().endswith("data: [DONE]"), body


def kserve_sequence(front):
    Service.calls.clear()
    status, body, _ = front.post("/v1/graphs/breeds", {"instances": ["it barks"]}, {"X-Kind": "pet", "X-Other": "o"})
    told = json.loads(body)
    assert status == 200 and told == {"predictions": ["beagle"], "of": {"instances": ["dog"]}}, body
    assert Service.calls[0][0] == "/v1/models/animals:predict", Service.calls
    headers = {name.lower(): value for name, value in Service.calls[1][1].items()}
    assert headers["x-kind"] == "pet" and "x-other" not in headers and "traceparent" in headers, headers
    status, body, _ = front.post("/v1/graphs/breeds", {"instances": ["it purrs"]})
    assert (status, json.loads(body)) == (200, {"predictions": ["cat"]}), body


def ensemble(front):
    status, body, _ = front.post("/v1/graphs/both", {"instances": ["it barks"]})
    told = json.loads(body)
    assert status == 200 and told["a"] == {"predictions": ["dog"]} and told["b"]["predictions"] == ["beagle"], body


def errors(front):
    status, body, _ = front.post("/v1/graphs/forbidden", {"x": 1})
    assert status == 403 and "graph forbidden, node root, step secrets" in body, (status, body)
    Service.calls.clear()
    status, body, _ = front.post("/v1/graphs/patient", {"x": 1})
    assert status == 503 and json.loads(body) == {"error": "not now"}, (status, body)
    assert [path for path, _, _ in Service.calls] == ["/slow", "/fail", "/fail", "/fail"], Service.calls
    assert front.post("/v1/graphs/nobody", {"x": 1})[0] == 404


def explanation(front):
    prompt = "Lily had a red ball. It was a sunny day. Lily loved to play with her red"
    status, body, _ = front.post("/v1/models/story:explain", {"instances": [prompt], "parameters": {"max_tokens": 1}})
    assert status == 200, body
    told = json.loads(body)["explanations"][0]
    segments = told["segments"]
    assert "".join(s["text"] for s in segments) == prompt and len(segments) == 3, segments
    assert told["answer"].strip() == "ball", told["answer"]
    # The same, asked step by step.
    def tokens(text, **more):
        return json.loads(front.post("/tokenize", {"model": "story", "prompt": text, **more})[1])["tokens"]

    def likelihood(text):
        ids = tokens(text) + tokens(told["answer"], add_special_tokens=False)
        answer = front.post("/v1/completions", {"model": "story", "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0})[1]
        last = json.loads(answer)["choices"][0]["prompt_logprobs"][-1]
        return last[str(ids[-1])]["logprob"]
    assert len(told["answer_tokens"]) == 1, told["answer_tokens"]
    for segment in segments:
        without = prompt[:segment["begin"]] + prompt[segment["end"]:]
        expected = likelihood(prompt) - likelihood(without)
        assert abs(segment["score"] - expected) < 1e-3, (segment, expected)
        assert abs(sum(segment["token_scores"]) - segment["score"]) < 1e-6
    assert max(segments, key=lambda s: s["score"])["text"].endswith("her red"), segments
    status, page, headers = front.post("/v1/models/story:explain", {"instances": [{"messages": [
        {"role": "user", "content": "<b>Tell</b> me of a frog."}]}], "parameters": {"segments": "word", "max_tokens": 4}},
        {"Accept": "text/html"})
    assert status == 200 and page.startswith("<!doctype html>") and "&lt;b&gt;Tell" in page and "<b>" not in page, page[:500]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert front.post("/v1/models/story:explain", {"instances": [prompt], "parameters": {"max_segments": 21}})[0] == 400


def explanation_without_a_prefix_cache(front):
    """Whether the runtime keeps prompts makes no difference, to the last bit."""
    prompt = "Lily had a red ball. It was a sunny day. Lily loved to play with her red"
    told = []
    for model in "story", "uncached", "story":
        status, body, _ = front.post("/v1/models/%s:explain" % model, {"instances": [prompt], "parameters": {"segments": "word", "max_tokens": 6,
                                                                                                             "max_segments": 16}})
        assert status == 200, body
        told.append(json.loads(body)["explanations"])
    assert len(told[0][0]["segments"]) == 16 and len(told[0][0]["answer_tokens"]) == 6, told[0]
    assert told[0] == told[1] == told[2], told


def main():
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    service.daemon_threads = True
    threading.Thread(target=service.serve_forever, daemon=True).start()
    transform, graphs = examples()
    checks = [transformer, switch_and_sequence, stream, kserve_sequence, ensemble, errors, explanation,
              explanation_without_a_prefix_cache]
    runtimes = ["--internal-token", TOKEN, "--threads", "1", "--kv-cache-memory-bytes", "64M"]
    with Server(runtimes) as runtime, Server(runtimes + ["--no-enable-prefix-caching"]) as uncached, \
            tempfile.NamedTemporaryFile("w", suffix=".yaml") as plan:
        plan.write(PLAN % {"runtime": runtime.url, "uncached": uncached.url, "service": "http://127.0.0.1:%d" % service.server_port, "transform": transform,
                           "graphs": graphs})
        plan.flush()
        with Server(["--config", plan.name, "--port", "0"], command=("gateway",), env=dict(os.environ, GRAPH_TOKEN=TOKEN)) as gateway:
            return cases.run(checks, Front(gateway.port))


if __name__ == "__main__":
    sys.exit(main())
