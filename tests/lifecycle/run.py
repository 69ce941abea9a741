"""Starts real processes and ends them in every way."""
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import cases  # noqa: E402
from server import BINARY, MODEL, Server  # noqa: E402

LONG = {"prompt": "Once upon a time", "max_tokens": 900, "ignore_eos": True, "stream": True}


class Stream(threading.Thread):
    def __init__(self, port):
        super().__init__()
        self.port = port
        self.body = ""
        self.error = None
        self.begun = threading.Event()

    def run(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request("POST", "/v1/completions", json.dumps(LONG), {"Content-Type": "application/json"})
            response = connection.getresponse()
            while True:
                part = response.read1(65536)
                if not part:
                    break
                self.begun.set()
                self.body += part.decode()
        except Exception as e:  # noqa: BLE001
            self.error = e
        finally:
            self.begun.set()


def streams(server, count):
    running = [Stream(server.port) for _ in range(count)]
    for stream in running:
        stream.start()
    for stream in running:
        stream.begun.wait(60)
    return running


def failing_start(*arguments, env=None):
    done = subprocess.run([BINARY, "serve", *arguments], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **(env or {})))
    return done.returncode, done.stderr + done.stdout


def drains_streams():
    server = Server()
    running = streams(server, 32)
    status = server.stop()
    for stream in running:
        stream.join(30)
    assert status == 0, status
    assert all(s.error is None and s.body.rstrip().endswith("[DONE]") for s in running), "a stream was cut"


def second_signal_exits():
    server = Server(["--shutdown-timeout", "60", "--max-num-seqs", "1"])
    streams(server, 1)
    pile = [Stream(server.port) for _ in range(200)]
    for stream in pile:
        stream.start()
    server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    while server.alive() and time.monotonic() - began < 5:
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert not server.alive(), "it still runs"
    for stream in pile:
        stream.join(30)


def drain_time_is_bounded():
    server = Server(["--shutdown-timeout", "0"])
    running = streams(server, 8)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    for stream in running:
        stream.join(30)


def refuses_while_draining():
    server = Server(["--max-num-seqs", "1"])
    running = streams(server, 3)
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    idle.request("GET", "/ready")
    assert idle.getresponse().read() == b"ready\n"
    status = server.stop()
    for stream in running:
        stream.join(30)
    assert status == 0


def configuration_order():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("max-model-len: 111\nmax-num-seqs: 7\nserved-model-name: [from-file, alias]\n")
        f.flush()
        env = os.environ.get("SLUICE_MAX_MODEL_LEN")
        assert env is None
        os.environ["SLUICE_MAX_MODEL_LEN"] = "222"
        try:
            with Server(["--config", f.name]) as server:
                page = json.loads(get(server, "/v1/models"))
            with Server(["--config", f.name, "--max-model-len", "333"]) as server:
                flag = json.loads(get(server, "/v1/models"))
        finally:
            del os.environ["SLUICE_MAX_MODEL_LEN"]
    assert [card["id"] for card in page["data"]] == ["from-file", "alias"], page
    assert page["data"][0]["max_model_len"] == 222, page
    assert flag["data"][0]["max_model_len"] == 333, flag


def get(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def bad_configuration():
    for text, said in [("frobnicate: 1\n", "frobnicate"), ("host: [unclosed\n", "line"), ("- a\n", "mapping"),
                       ("port: {a: 1}\n", "port"), ("port: nine\n", "port")]:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(text)
            f.flush()
            status, output = failing_start(MODEL, "--config", f.name)
            assert status == 2 and said in output, (text, status, output)


def bad_starts():
    for arguments, said in [(["nothing.gguf"], "nothing.gguf"), (["README.md"], "GGUF"),
                            ([MODEL, "--max-model-len", "99999"], "context"),
                            ([MODEL, "--kv-cache-dtype", "fp3"], "kv-cache-dtype"),
                            ([MODEL, "--isa", "mmx"], "mmx"), ([MODEL, "--chat-template", "{% for"], "template"),
                            ([MODEL, MODEL], "name"), ([MODEL, "--kv-cache-memory-bytes", "3X"], "3X"),
                            ([MODEL, "--log-level", "loud"], "loud")]:
        status, output = failing_start(*arguments, "--port", "0")
        assert status != 0 and said in output, (arguments, status, output)


def port_in_use():
    with Server() as server:
        status, output = failing_start(MODEL, "--port", str(server.port))
        assert status == 1 and str(server.port) in output, output


def several_models():
    with Server(models=(MODEL + "=one", MODEL + "=two")) as server:
        page = json.loads(get(server, "/v1/models"))
        assert [card["id"] for card in page["data"]] == ["one", "two"]
        for name in ("one", "two"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("POST", "/v1/completions",
                               json.dumps({"model": name, "prompt": "Once", "max_tokens": 3, "temperature": 0}),
                               {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
            assert answer["model"] == name and answer["usage"]["completion_tokens"] == 3


def commands_answer():
    out = subprocess.run([BINARY, "inspect", MODEL, "-o", "json"], capture_output=True, text=True, timeout=60)
    assert json.loads(out.stdout)["architecture"] == "llama"
    out = subprocess.run([BINARY, "tokenize", MODEL, "Once upon a time", "-o", "json"], capture_output=True, text=True)
    ids = json.loads(out.stdout)["tokens"]
    out = subprocess.run([BINARY, "tokenize", MODEL, "--decode", " ".join(map(str, ids))], capture_output=True, text=True)
    assert "Once upon a time" in out.stdout
    with Server() as server:
        out = subprocess.run([BINARY, "bench", "--url", server.url, "--num-prompts", "20", "--output-tokens", "8",
                              "--input-words", "20", "--ignore-eos", "-o", "json"], capture_output=True, text=True, timeout=120)
        summary = json.loads(out.stdout)
        assert summary["succeeded"] == 20 and summary["output_tokens"] == 160, summary
        out = subprocess.run([BINARY, "bench", "--url", server.url, "--num-prompts", "10", "--request-rate", "50",
                              "--output-tokens", "4"], capture_output=True, text=True, timeout=120)
        assert "TTFT" in out.stdout
        out = subprocess.run([BINARY, "bench", "--url", server.url, "--num-prompts", "6", "--output-tokens", "2", "--input-words",
                              "2", "--max-input-words", "60", "--prompt-file", "LICENSE", "--ignore-eos", "-o", "json"],
                             capture_output=True, text=True, timeout=120)
        assert out.returncode == 1 and json.loads(out.stdout)["errors"], "a prompt beyond the context went through"
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
            f.write("Once upon a time")
            f.flush()
            out = subprocess.run([BINARY, "bench", "--url", server.url, "--num-prompts", "6", "--output-tokens", "2",
                                  "--input-words", "2", "--max-input-words", "60", "--prompt-file", f.name, "--ignore-eos",
                                  "-o", "json"], capture_output=True, text=True, timeout=120)
        summary = json.loads(out.stdout)
        assert summary["succeeded"] == 6 and 6 * 6 < summary["input_tokens"] < 6 * 200, summary
        out = subprocess.run([BINARY, "chat", "--url", server.url, "--max-tokens", "8", "-o", "json", "Hi"],
                             capture_output=True, text=True, timeout=60)
        assert json.loads(out.stdout)["content"]
        out = subprocess.run([BINARY, "chat", "--url", server.url, "--max-tokens", "8"], text=True, timeout=60,
                             capture_output=True, input='Hi\n/set temperature 0\n/retry\n"""\ntwo\nlines\n"""\n/clear\n/quit\n')
        assert out.returncode == 0 and "unknown" not in out.stderr, out.stderr


CASES = [drains_streams, second_signal_exits, drain_time_is_bounded, refuses_while_draining, configuration_order,
         bad_configuration, bad_starts, port_in_use, several_models, commands_answer]


if __name__ == "__main__":
    sys.exit(cases.run(CASES))
