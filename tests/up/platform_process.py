"""`sluice up` as a process: its addresses, its children, requests to it. Shared by the tests of several folders."""
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import BINARY  # noqa: E402

MODEL = os.path.abspath("models/story.gguf")
START_SECONDS = 60


def service(name, spec="", args="", model=MODEL, **predictor):
    """An InferenceService of the bundled model, or another file, as YAML; further fields of the predictor by keyword."""
    lines = ["apiVersion: serving.kserve.io/v1beta1", "kind: InferenceService", "metadata: {name: %s}" % name, "spec:"]
    if spec:
        lines.append("  " + spec)
    lines.append("  predictor:")
    lines += ["    %s: %s" % item for item in predictor.items()]
    lines += ["    model:", "      modelFormat: {name: gguf}", "      storageUri: file://" + model]
    if args:
        lines.append("      args: " + json.dumps(args))
    return "\n".join(lines) + "\n"


class Platform:
    """A platform over a folder of its own; `files` are applied as it starts."""

    def __init__(self, files=(), arguments=(), folder=None, binary=BINARY, env=None):
        self.temporary = None if folder else tempfile.TemporaryDirectory()
        self.folder = folder or self.temporary.name
        self.data = os.path.join(self.folder, "data")
        self.binary = os.path.abspath(binary)
        self.log_path = os.path.join(self.folder, "up.log")
        command = [self.binary, "up", "--data", self.data, "--port", "0", "--control-port", "0", *arguments]
        for file in files:
            command += ["-f", file]
        self.log = open(self.log_path, "w")
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        env=dict(os.environ, **(env or {})))
        try:
            self.wait_log("Sluice .* is up")
        except AssertionError:
            self.stop()
            raise
        self.seconds_to_start = time.monotonic() - self.began
        self.port = int(re.search(r"data plane +http://127.0.0.1:(\d+)", self.read_log()).group(1))
        self.control_port = int(re.search(r"control plane +https://127.0.0.1:(\d+)", self.read_log()).group(1))
        self.kubeconfig = os.path.join(self.data, "kubeconfig")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.temporary:
            self.temporary.cleanup()

    def read_log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_log(self, pattern, count=1, seconds=START_SECONDS):
        deadline = time.monotonic() + seconds
        while True:
            found = re.findall(pattern, self.read_log())
            if len(found) >= count:
                return found[count - 1]
            dead = self.process.poll() is not None
            assert not dead and time.monotonic() < deadline, "%r is not in the log: %s" % (pattern, self.read_log()[-3000:])
            time.sleep(0.01)

    def stop(self, seconds=60):
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not self.log.closed:
            self.log.close()
        return self.process.returncode

    def child(self, name):
        """The process id of `sluice NAME` under this platform; None while there is none."""
        for pid in descendants(self.process.pid):
            words = command_line(pid)
            if len(words) > 1 and words[1] == name:
                return pid
        return None

    def replica_pids(self):
        return [pid for pid in descendants(self.process.pid) if command_line(pid)[1:2] == ["serve"]]

    def kill(self, name, sig=signal.SIGKILL):
        """Kills `sluice NAME` and waits until another one has taken its place."""
        victim = self.child(name)
        os.kill(victim, sig)
        wait_for(lambda: self.child(name) not in (None, victim))
        return victim

    # The client without kubectl.
    def run(self, *arguments, stdin=None, status=0, kubeconfig=None, timeout=90):
        done = subprocess.run([self.binary, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout,
                              env=dict(os.environ, KUBECONFIG=kubeconfig or self.kubeconfig))
        assert status is None or done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def out(self, *arguments, **options):
        return self.run(*arguments, **options).stdout

    def refused(self, *arguments, **options):
        done = self.run(*arguments, status=None, **options)
        assert done.returncode != 0, (arguments, done.stdout)
        return done.stdout + done.stderr

    def get(self, *target):
        return json.loads(self.out("get", *target, "-o", "json"))

    def api(self, method, path, body=None):
        """One call of the control plane with the admin's token: status and JSON."""
        status, text = self.api_text(method, path, body)
        return status, json.loads(text)

    def api_text(self, method, path, body=None):
        """The same with the answer as it comes."""
        with open(self.kubeconfig) as f:
            token = re.search(r"token: (\S+)", f.read()).group(1)
        context = ssl.create_default_context(cafile=os.path.join(self.data, "tls.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.control_port, context=context, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Authorization": "Bearer " + token})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    # The data plane.
    def request(self, body, path="/v1/completions", timeout=60, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", path, json.dumps(body), dict({"Content-Type": "application/json"}, **(headers or {})))
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def answer(self, model, tokens=8, **more):
        status, body = self.request(dict({"model": model, "prompt": "Once upon a time", "max_tokens": tokens,
                                          "temperature": 0}, **more))
        assert status == 200, (status, body)
        return json.loads(body)["choices"][0]["text"]


class Stream:
    """A stream that has begun: its head has come."""

    def __init__(self, port, model, tokens=600):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.connection.request("POST", "/v1/completions", json.dumps(
            {"model": model, "prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": True, "stream": True, "seed": 1}),
            {"Content-Type": "application/json"})
        self.response = self.connection.getresponse()

    def whole(self):
        try:
            text = self.response.read().decode()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            self.connection.close()
        return self.response.status == 200 and text.rstrip().endswith("[DONE]") and "error" not in text


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid) as f:
            return f.read().split("\0")
    except OSError:
        return []


def descendants(pid):
    """Processes below `pid`, with those that keepers have put into sessions of their own."""
    out, open_ones = [], [pid]
    while open_ones:
        each = open_ones.pop()
        try:
            for task in os.listdir("/proc/%d/task" % each):
                with open("/proc/%d/task/%s/children" % (each, task)) as f:
                    below = [int(word) for word in f.read().split()]
                out += below
                open_ones += below
        except OSError:
            pass
    return out


def wait_for(what, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
