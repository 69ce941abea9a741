"""`sluice keep` over real replicas of the bundled model, started as a controller starts them."""
import fcntl
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import cases  # noqa: E402
from server import BINARY, MODEL  # noqa: E402

PATIENCE = 60
STREAM = {"prompt": "Once upon a time", "max_tokens": 900, "ignore_eos": True, "stream": True}
BINARY = os.path.abspath(BINARY)
SERVE = [BINARY, "serve", os.path.abspath(MODEL), "--port", "$(PORT)"]


def wait_for(what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError("it did not come about")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def read_json(path):
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        return None


class Replica:
    """A folder and its keeper, which a process of its own has started: `starter`."""

    def __init__(self, command=None, starter_environment=None, **spec):
        self.parent = tempfile.TemporaryDirectory()
        self.folder = os.path.join(self.parent.name, "replica")
        os.mkdir(self.folder, 0o700)
        order = {"version": 1, "token": uuid.uuid4().hex, "control_groups": False,
                 "replica": {"id": "replica", "command": command or SERVE, "takes_socket": True, **spec}}
        with open(os.open(os.path.join(self.folder, "spec.json"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            json.dump(order, f)
        self.began = time.monotonic()
        # It waits as a controller would, and is killed by the test as one may be.
        script = "import subprocess, sys, time\nsubprocess.Popen(sys.argv[1:])\ntime.sleep(1000)"
        self.starter = subprocess.Popen([sys.executable, "-c", script, BINARY, "keep", self.folder],
                                        env=dict(os.environ, **(starter_environment or {})))

    def file(self, name):
        return os.path.join(self.folder, name)

    def state(self):
        return wait_for(lambda: self.end() is None and read_json(self.file("state.json")) or self.gone())

    def gone(self):
        assert self.end() is None, self.end()

    def end(self):
        return read_json(self.file("exit.json"))

    def wait_end(self):
        return wait_for(self.end)

    def log(self):
        with open(self.file("log"), errors="replace") as f:
            return f.read()

    def locked(self):
        with open(self.file("lock")) as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def keeper(self):
        """A descriptor of the keeper's process, found as one who comes later finds it."""
        state = self.state()
        assert self.locked()
        fd = os.pidfd_open(state["keeper"]["pid"])
        with open("/proc/%d/stat" % state["keeper"]["pid"]) as f:
            assert int(f.read().rpartition(") ")[2].split()[19]) == state["keeper"]["start_ticks"]
        return fd

    def signal(self, number):
        fd = self.keeper()
        signal.pidfd_send_signal(fd, number)
        os.close(fd)

    def ask(self, path="/ready", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.state()["port"], timeout=PATIENCE)
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None,
                           {"Content-Type": "application/json"})
        return connection.getresponse()

    def wait_ready(self):
        wait_for(lambda: self.ask().status == 200)
        return time.monotonic() - self.began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        state = read_json(self.file("state.json"))
        if self.end() is None and state:
            self.signal(signal.SIGUSR1)
            self.wait_end()
        self.starter.kill()
        self.starter.wait()
        self.parent.cleanup()


class Stream(threading.Thread):
    def __init__(self, replica):
        super().__init__()
        self.replica, self.body, self.error, self.begun = replica, "", None, threading.Event()
        self.start()
        assert self.begun.wait(PATIENCE)

    def run(self):
        try:
            response = self.replica.ask("/v1/completions", STREAM)
            while part := response.read1(65536):
                self.body += part.decode()
                self.begun.set()
        except Exception as e:  # noqa: BLE001
            self.error = e
        finally:
            self.begun.set()

    def whole(self):
        self.join(PATIENCE)
        return self.error is None and self.body.rstrip().endswith("[DONE]")


def outlives_who_started_it():
    with Replica() as replica:
        took = replica.wait_ready()
        state = replica.state()
        stream = Stream(replica)
        replica.starter.kill()
        replica.starter.wait()
        assert alive(state["keeper"]["pid"]) and alive(state["program"]["pid"]) and replica.locked()
        # It drains: what was asked before is answered whole, what comes later is refused.
        replica.signal(signal.SIGTERM)
        assert stream.whole(), (stream.error, stream.body[-200:])
        end = replica.wait_end()
        assert (end["reason"], end["code"], end["signal"]) == ("Completed", 0, 0), end
        wait_for(lambda: not alive(state["keeper"]["pid"]) and not replica.locked())
        assert not alive(state["program"]["pid"])
        assert "drained" in replica.log(), replica.log()
        try:
            replica_port = http.client.HTTPConnection("127.0.0.1", state["port"], timeout=5)
            replica_port.request("GET", "/ready")
            raise AssertionError("somebody still listens")
        except ConnectionRefusedError:
            pass
        print("  ready %.0f ms after the keeper's start was begun" % (took * 1000))


def a_told_port_serves_as_well():
    with Replica(takes_socket=False) as replica:
        def ready():
            try:
                return replica.ask().status == 200
            except ConnectionRefusedError:
                return False
        wait_for(ready)
        assert 0 < replica.state()["port"] < 32768
        replica.signal(signal.SIGTERM)
        assert replica.wait_end()["reason"] == "Completed"


def a_killed_keeper_takes_its_program_along():
    with Replica() as replica:
        replica.wait_ready()
        state = replica.state()
        replica.signal(signal.SIGKILL)
        wait_for(lambda: not alive(state["program"]["pid"]))
        wait_for(lambda: not replica.locked())
        assert replica.end() is None  # whoever adopts it says so
        with open(replica.file("exit.json"), "w") as f:
            f.write("{}")


def a_killed_program_is_told_of():
    with Replica() as replica:
        replica.wait_ready()
        wait_for(lambda: "serves on" in replica.log())
        os.kill(replica.state()["program"]["pid"], signal.SIGKILL)
        end = replica.wait_end()
        assert (end["reason"], end["signal"]) == ("Error", signal.SIGKILL) and "serves on" in end["message"], end


def what_cannot_serve_says_why():
    with Replica(command=[BINARY, "serve", "/no/such/model.gguf"]) as replica:
        end = replica.wait_end()
        assert end["reason"] == "Error" and end["code"] == 1 and "/no/such/model.gguf" in end["message"], end


def its_environment_is_its_own():
    with Replica(starter_environment={"SLUICE_MAX_MODEL_LEN": "7", "SLUICE_API_KEY": "not-its"},
                 environment=[["SLUICE_SERVED_MODEL_NAME", "named"]]) as replica:
        replica.wait_ready()
        card = json.load(replica.ask("/v1/models"))["data"][0]
        assert card["id"] == "named" and card["max_model_len"] > 7, card


def memory_above_the_limit_is_its_end():
    with Replica(memory_bytes=2 << 20) as replica:
        end = replica.wait_end()
        assert end["reason"] == "OutOfMemory" and end["signal"] == signal.SIGKILL, end


def a_full_disk_is_survived():
    """RLIMIT_FSIZE stands for it: nothing can be written beyond a size."""
    with Replica(command=["sh", "-c", "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i of a long log; done"],
                 takes_socket=False, grace_ms=5000) as replica:
        state = replica.state()
        subprocess.run(["prlimit", "--pid", str(state["keeper"]["pid"]), "--fsize=20000:20000"], check=True)
        wait_for(lambda: os.path.getsize(replica.file("log")) >= 20000)
        assert alive(state["keeper"]["pid"])
        replica.signal(signal.SIGTERM)
        assert replica.wait_end()["reason"] == "Completed"


def a_keeper_is_small():
    with Replica() as replica:
        replica.wait_ready()
        sizes = {}
        with open("/proc/%d/status" % replica.state()["keeper"]["pid"]) as f:
            for line in f:
                if line.startswith(("RssAnon", "RssFile", "Threads")):
                    name, value = line.split(":")
                    sizes[name] = int(value.split()[0])
        print("  anonymous %(RssAnon)d KiB, of files %(RssFile)d KiB (shared), %(Threads)d thread" % sizes)
        assert sizes["Threads"] == 1
        assert sizes["RssAnon"] < 8 << 10, sizes


CASES = [outlives_who_started_it, a_told_port_serves_as_well, a_killed_keeper_takes_its_program_along,
         a_killed_program_is_told_of, what_cannot_serve_says_why, its_environment_is_its_own,
         memory_above_the_limit_is_its_end, a_full_disk_is_survived, a_keeper_is_small]


if __name__ == "__main__":
    sys.exit(cases.run(CASES))
