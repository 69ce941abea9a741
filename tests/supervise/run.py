"""`sluice gateway --supervise` over a real replica: clients connect and stream while its processes come and go."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
import cases  # noqa: E402
sys.path.insert(0, HERE)
from server import BINARY, Server  # noqa: E402
import supervised  # noqa: E402

LONG = "--long" in sys.argv
FOLDER = tempfile.TemporaryDirectory()
ASK = {"model": "story", "prompt": "Once upon a time", "max_tokens": 16, "temperature": 0}
STREAM = {"model": "story", "prompt": "Once upon a time", "max_tokens": 900, "ignore_eos": True, "stream": True, "seed": 1}


def plan(replicas, more=""):
    return json.dumps({
        "listen": "127.0.0.1:0", "usage": {"path": os.path.join(FOLDER.name, "usage.db")},
        "upstreams": [{"name": "story", "kind": "sluice", "internal_token": {"env": "STORY_TOKEN"},
                       "endpoints": [{"url": r.url} for r in replicas]}],
        "routes": [{"name": "story", "public": True, "match": {"models": ["story"]}, "targets": [{"upstream": "story"}]}],
    }) + more


class Supervised(supervised.Supervised):
    def __init__(self, replicas, binary=BINARY):
        super().__init__(os.path.join(FOLDER.name, "gateway.json"), plan(replicas), dict(os.environ, STORY_TOKEN="inside"), binary)


def ask(port, body=None, timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body or ASK), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Stream:
    """A stream that has begun: its head has come."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("POST", "/v1/completions", json.dumps(STREAM), {"Content-Type": "application/json"})
        self.response = self.connection.getresponse()

    def whole(self):
        text = self.response.read().decode()
        self.connection.close()
        return self.response.status == 200 and text.rstrip().endswith("[DONE]")


class Load:
    """Clients that ask again and again, each on a new connection; what went wrong, and how long each took."""

    def __init__(self, port, clients=4):
        self.port, self.ended = port, threading.Event()
        self.answered, self.refused, self.broken, self.slowest = 0, [], [], 0.0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                status, body = ask(self.port)
                problem = None if status == 200 else "%d %s" % (status, body)
            except ConnectionRefusedError as e:
                with self.lock:
                    self.refused.append(repr(e))
                time.sleep(0.01)
                continue
            except (OSError, http.client.HTTPException) as e:
                problem = repr(e)
            with self.lock:
                self.slowest = max(self.slowest, time.monotonic() - began)
                if problem:
                    self.broken.append(problem)
                else:
                    self.answered += 1

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
        return self


def wait_for(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def a_killed_process_is_followed():
    with Server(["--internal-token", "inside"]) as replica, Supervised([replica]) as front:
        load = Load(front.port)
        for _ in range(10 if LONG else 3):
            answered = load.answered
            wait_for(lambda: load.answered > answered + 8)
            wait_for(front.children)
            victim = front.children()[0]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: front.children() not in ([], [victim]))
            began = time.monotonic()
            status, body = ask(front.port)
            assert status == 200, (status, body)
            assert time.monotonic() - began < 10
        load.stop()
        assert not load.refused, load.refused
        # Only what was in flight is lost: at most one request of each client for each kill.
        assert len(load.broken) <= 4 * (10 if LONG else 3), load.broken
        print("  %d answered, %d lost in flight, none refused, slowest %.2f s" %
              (load.answered, len(load.broken), load.slowest))
        assert front.stop() == 0


def an_upgrade_loses_nothing():
    with Server(["--internal-token", "inside"]) as replica:
        own = os.path.join(FOLDER.name, "sluice")
        shutil.copy(BINARY, own)
        with Supervised([replica], binary=own) as front:
            load = Load(front.port)
            for _ in range(10 if LONG else 3):
                streams = [Stream(front.port) for _ in range(4)]
                # The new version lies where the old one lay.
                shutil.copy(BINARY, own + ".new")
                os.replace(own + ".new", own)
                front.upgrade()
                assert all([stream.whole() for stream in streams]), "a stream was cut"
            load.stop()
            assert not load.refused and not load.broken, (load.refused, load.broken)
            wait_for(lambda: len(front.children()) == 1)
            assert front.stop() == 0


def a_bad_new_process_leaves_the_old_one():
    with Server(["--internal-token", "inside"]) as replica, Supervised([replica]) as front:
        front.write("routes: 7\n")
        front.process.send_signal(signal.SIGUSR2)
        front.wait_log("before it was ready; the one before stays")
        assert ask(front.port)[0] == 200
        front.write(plan([replica]))
        front.upgrade()
        assert ask(front.port)[0] == 200
        assert front.stop() == 0


def signals_are_passed_on():
    with Server(["--internal-token", "inside"]) as replica, Supervised([replica]) as front:
        taken = len(re.findall("configuration taken", front.read_log()))
        front.process.send_signal(signal.SIGHUP)
        front.wait_log("configuration taken", taken + 1)
        stream = Stream(front.port)
        assert front.stop() == 0
        assert stream.whole(), "the stream was cut"
        try:
            socket.create_connection(("127.0.0.1", front.port), timeout=5).close()
            raise AssertionError("somebody still listens")
        except ConnectionRefusedError:
            pass


def nobody_outlives_the_supervisor():
    with Server(["--internal-token", "inside"]) as replica, Supervised([replica]) as front:
        child = front.children()[0]
        front.process.kill()
        front.process.wait()
        wait_for(lambda: not os.path.exists("/proc/%d" % child) or
                 open("/proc/%d/stat" % child).read().split(") ")[1][0] == "Z")


def systemd_is_told():
    """The supervisor's own NOTIFY_SOCKET hears that it serves, from the supervisor itself."""
    path = os.path.join(FOLDER.name, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, Server(["--internal-token", "inside"]) as replica:
        told.bind(path)
        told.settimeout(20)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            with Supervised([replica]) as front:
                assert told.recv(100) == b"READY=1"
                assert front.stop() == 0
        finally:
            del os.environ["NOTIFY_SOCKET"]


def what_cannot_start_says_why():
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write("routes: 7\n")
        f.flush()
        done = subprocess.run([BINARY, "gateway", "--config", f.name, "--supervise"], capture_output=True, text=True,
                              timeout=30)
        assert done.returncode == 1 and "routes" in done.stderr, done
        f.seek(0)
        f.truncate()
        f.write(json.dumps({"listen": "127.0.0.1:0", "access_log": {"path": "/nowhere/at/all.log"}, "upstreams": [
            {"name": "u", "endpoints": [{"url": "http://127.0.0.1:1"}]}], "routes": [
                {"name": "r", "targets": [{"upstream": "u"}]}]}))
        f.flush()
        done = subprocess.run([BINARY, "gateway", "--config", f.name, "--supervise"], capture_output=True, text=True,
                              timeout=30)
        assert done.returncode == 1 and "/nowhere/at/all.log" in done.stderr, done


CASES = [a_killed_process_is_followed, an_upgrade_loses_nothing, a_bad_new_process_leaves_the_old_one,
         signals_are_passed_on, nobody_outlives_the_supervisor, systemd_is_told, what_cannot_start_says_why]


if __name__ == "__main__":
    sys.exit(cases.run(CASES))
