"""The whole platform on one machine: from manifests to answers, through changes, kills, upgrades and notices."""
import glob
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
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "http"))
sys.path.insert(0, os.path.join(HERE, "..", "control"))
import cases  # noqa: E402
from kubectl import Kubectl, programs  # noqa: E402
from platform_process import Platform, Stream, command_line, descendants, service, wait_for  # noqa: E402
from server import BINARY  # noqa: E402

LONG = "--long" in sys.argv
FOLDER = tempfile.TemporaryDirectory()
QUICKSTART = "examples/quickstart"


def manifest(name, text):
    path = os.path.join(FOLDER.name, name)
    with open(path, "w") as f:
        f.write(text)
    return path


STORY = manifest("story.yaml", service("story", minReplicas=1))


def has(text, *parts):
    for part in parts:
        assert part in text, (part, text)


def quickstart():
    """Two models, a canary and a graph, all ready; requests reach each of them."""
    with Platform([QUICKSTART]) as up:
        print("  up in %.2f s" % up.seconds_to_start)
        assert up.seconds_to_start < (3 if LONG else 20), up.seconds_to_start
        has(up.read_log(), "story is ready", "tale is ready", "two-parts is ready")
        text = up.answer("story")
        assert up.answer("default/story") == text and up.answer("tale") == text
        assert "choices" in up.request({"model": "two-parts", "prompt": "Once upon a time", "max_tokens": 8})[1]
        listed = up.out("get", "isvc,ig")
        has(listed, "inferenceservice.serving.kserve.io/story", "inferencegraph.serving.kserve.io/two-parts", "True")
        assert up.stop() == 0


def commands():
    """The life of a service by `sluice apply` and its likes."""
    with Platform() as up:
        assert up.request({"model": "story", "prompt": "x"})[0] == 404
        has(up.out("apply", "-f", STORY, "--wait"), "inferenceservice.serving.kserve.io/story created", "story is ready")
        has(up.out("apply", "-f", STORY), "story unchanged")
        has(up.out("apply", "-f", "-", "--dry-run", "server", stdin=service("story", minReplicas=1, maxReplicas=2)),
            "story configured (server dry run)")
        has(up.out("apply", "-f", "-", "-o", "name", stdin=service("story", minReplicas=1, maxReplicas=2)),
            "inferenceservice.serving.kserve.io/story")
        reads(up)
        waits_and_scales(up)
        rollouts(up)
        has(up.out("delete", "-f", STORY), '"story" deleted')
        wait_for(lambda: up.out("get", "isvc,rev,rep", "--no-headers") == "")
        has(up.refused("get", "isvc", "story"), "Error from server (NotFound)")
        has(up.out("delete", "isvc", "story", "--ignore-not-found"), "")


def reads(up):
    has(up.out("get", "isvc"), "NAME", "READY", "story", "True")
    has(up.out("get", "isvc", "-A", "-o", "wide", "--show-labels"), "NAMESPACE", "RUNTIME", "LABELS", "default")
    assert up.out("get", "isvc", "-o", "name") == "inferenceservice.serving.kserve.io/story\n"
    assert up.get("isvc", "story")["spec"]["predictor"]["minReplicas"] == 1
    assert up.get("isvc")["kind"] == "List"
    has(up.out("get", "isvc/story", "-o", "yaml"), "kind: InferenceService\n", "  predictor:\n    maxReplicas: 2\n")
    assert "managedFields" not in up.out("get", "isvc/story", "-o", "yaml")
    has(up.out("describe", "isvc", "story"), "Storage Uri:", "Revisions:", "Replicas:", "Events:", "RevisionCreated")
    replica = up.get("rep")["items"][0]["metadata"]["name"]
    has(up.out("logs", replica), "serves on")
    has(up.out("logs", "isvc/story", "--tail", "1", "--prefix"), "[%s] " % replica)
    assert len(up.out("logs", replica, "--tail", "1").strip().split("\n")) == 1
    up.answer("story")
    top = json.loads(up.out("top", "--once", "--interval", "0.2", "-o", "json"))
    assert top["services"][0]["readyReplicas"] == 1 and top["services"][0]["kvCacheUsed"] is not None, top
    has(up.out("top", "--once", "--interval", "0.2"), "default/story", "TTFT")
    has(up.refused("get", "pods"), 'no resource type "pods"')
    has(up.refused("apply", "-f", "-", stdin=service("story", minReplica=1)), "minReplica", "Error from server")
    has(up.refused("logs", "isvc/nobody"), "NotFound")


def waits_and_scales(up):
    waiting = subprocess.Popen([BINARY, "get", "rep", "-w", "--no-headers", "--kubeconfig", up.kubeconfig], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    has(up.out("scale", "isvc/story", "--replicas", "2", "--current-replicas", "1"), "story scaled")
    has(up.refused("scale", "isvc/story", "--replicas", "3", "--current-replicas", "7"), "expected 7 replicas")
    up.out("wait", "isvc/story", "--for", "jsonpath={.status.components.predictor.readyReplicas}=2", "--timeout", "20s")
    has(up.out("wait", "isvc", "story"), "condition met")
    has(up.refused("wait", "isvc/story", "--for", "condition=Nothing", "--timeout", "300ms"), "timed out waiting")
    assert len(up.get("rep")["items"]) == 2
    first = up.get("rep")["items"][0]["metadata"]["name"]
    up.out("delete", "rep", first)
    wait_for(lambda: len([r for r in up.get("rep")["items"] if r["status"].get("phase") == "Ready"]) == 2)
    waiting.terminate()
    has(waiting.communicate()[0], first, "Ready")


def rollouts(up):
    """A new version takes over under the eyes of `rollout status`; one that waits is promoted by hand."""
    before = up.get("isvc", "story")["status"]["components"]["predictor"]["latestReadyRevision"]
    up.out("apply", "-f", "-", "--force-conflicts", stdin=service("story", args=["--max-num-seqs", "4"], minReplicas=1, maxReplicas=2))
    status = up.out("rollout", "status", "isvc/story", "--timeout", "40s")
    has(status, "has all the traffic")
    assert before not in status.strip().split("\n")[-1], status
    history = up.out("rollout", "history", "isvc/story")
    has(history, before, "100 %", "REVISION")
    manual = "sluice: {rollout: {strategy: Manual, steps: [{weight: 20}, {weight: 100}]}}"
    up.out("apply", "-f", "-", "--force-conflicts", stdin=service("story", spec=manual, args=["--max-num-seqs", "5"], minReplicas=1, maxReplicas=2))
    wait_for(lambda: up.get("isvc", "story")["status"]["sluice"]["rollout"].get("candidate"))
    has(up.out("rollout", "promote", "isvc/story"), "promoted")
    wait_for(lambda: "candidate" not in up.get("isvc", "story")["status"]["sluice"]["rollout"])
    up.out("apply", "-f", "-", "--force-conflicts", stdin=service("story", spec=manual, args=["--max-num-seqs", "6"], minReplicas=1, maxReplicas=2))
    wait_for(lambda: up.get("isvc", "story")["status"]["sluice"]["rollout"].get("candidate"))
    has(up.out("rollout", "undo", "isvc/story"), "rolled back")
    wait_for(lambda: up.get("isvc", "story")["status"]["sluice"]["rollout"]["phase"] == "RolledBack")
    has(up.run("rollout", "status", "isvc/story", status=1).stdout, "Rolled back")
    assert up.answer("story")
    undone(up)


def undone(up):
    """Back to what ran before, and to what ran before that, when the rollout has ended."""
    def args():
        return up.get("isvc", "story")["spec"]["predictor"]["model"].get("args")
    has(up.out("rollout", "undo", "isvc/story"), "goes back to")
    has(up.out("rollout", "status", "isvc/story", "--timeout", "40s"), "has all the traffic")
    assert args() == ["--max-num-seqs", "5"], args()
    before = up.get("isvc", "story")["status"]["sluice"]["rollout"]["previous"]
    has(up.out("rollout", "history", "isvc/story", "--revision", before), "- \"4\"")
    has(up.out("rollout", "undo", "isvc/story"), "goes back to " + before)
    up.out("wait", "isvc/story", "--for", "jsonpath={.status.sluice.rollout.stable}=" + before, "--timeout", "40s")
    assert args() == ["--max-num-seqs", "4"], args()
    assert up.get("isvc", "story")["spec"]["predictor"]["maxReplicas"] == 2, "its scale stays"
    has(up.refused("rollout", "undo", "isvc/story", "--to-revision", "77"), "has no revision")
    promoted_again(up)


def promoted_again(up):
    """What was rolled back is promoted all the same."""
    def rollout():
        return up.get("isvc", "story")["status"]["sluice"]["rollout"]
    manual = "sluice: {rollout: {strategy: Manual}}"
    up.out("apply", "-f", "-", "--force-conflicts", stdin=service("story", spec=manual, args=["--max-num-seqs", "7"], minReplicas=1, maxReplicas=2))
    wait_for(lambda: rollout().get("candidate"))
    has(up.out("rollout", "undo", "isvc/story"), "rolled back")
    wait_for(lambda: rollout()["phase"] == "RolledBack")
    revision = rollout()["failed"]
    has(up.out("rollout", "promote", "isvc/story"), "promoted: " + revision)
    wait_for(lambda: rollout()["stable"] == revision)
    has(up.refused("rollout", "promote", "isvc/story"), "no rollout is under way")


def by_kubectl():
    found, missing = programs()
    assert found, missing
    for name, program in found.items():
        with Platform() as up:
            k = Kubectl(program, up.kubeconfig)
            has(k.out("apply", "-f", QUICKSTART), "story created", "two-parts created")
            k.out("wait", "--for=condition=Ready", "isvc/story", "isvc/tale", "--timeout=30s")
            has(k.out("get", "isvc"), "story", "True")
            has(k.out("get", "revisions,replicas"), "story-predictor-00001")
            assert up.answer("story")
            k.out("scale", "isvc/story", "--replicas=2")
            wait_for(lambda: k.out("get", "isvc", "story", "-o",
                                   "jsonpath={.status.components.predictor.readyReplicas}") == "2")
            has(k.out("describe", "isvc", "story"), "Events:")
            replica = k.out("get", "replicas", "-o", "name").split("\n")[0].split("/")[1]
            has(k.out("get", "--raw", "/apis/sluice.dev/v1alpha1/namespaces/default/replicas/%s/log?tailLines=2" % replica), "serves")
            k.out("delete", "-f", QUICKSTART)
            wait_for(lambda: k.out("get", "replicas", "--no-headers") == "")
            k.close()
            print("  %s" % name)


def strangers_stay_outside():
    with Platform([STORY]) as up:
        with open(up.kubeconfig) as f:
            text = f.read()
        assert os.stat(up.kubeconfig).st_mode & 0o077 == 0
        nobody = manifest("nobody", re.sub(r"token: \S+", "token: nobody-nobody-nobody-nobody-nobody", text))
        has(up.refused("get", "isvc", kubeconfig=nobody), "You must be logged in to the server")
        has(up.refused("get", "isvc", kubeconfig=manifest("empty", "apiVersion: v1\nkind: Config\n")), "current-context")
        view = os.path.join(up.data, "kubeconfig-view")
        has(up.out("get", "isvc", kubeconfig=view), "story")
        has(up.refused("delete", "isvc", "story", kubeconfig=view), "Forbidden")
        has(up.refused("get", "isvc", kubeconfig=os.path.join(up.data, "none")), "No such file")
        for url in ("/metrics",):
            assert up.request({}, url)[0] in (401, 404, 405)


class Load:
    """Clients that ask again and again on new connections; what went wrong."""

    def __init__(self, up, model="story", clients=2):
        self.up, self.model, self.ended = up, model, threading.Event()
        self.answered, self.problems, self.lock = 0, [], threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.ended.is_set():
            try:
                status, body = self.up.request({"model": self.model, "prompt": "Once upon", "max_tokens": 8})
                problem = None if status == 200 else "%d %s" % (status, body[:300])
            except ConnectionRefusedError:
                problem = "refused"
            except OSError as e:
                problem = repr(e)
            with self.lock:
                self.answered += not problem
                if problem:
                    self.problems.append(problem)

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
        return self


def a_killed_controller_is_followed():
    with Platform([STORY]) as up:
        load = Load(up)
        replica = up.get("rep")["items"][0]["status"]["pid"]
        for _ in range(10 if LONG else 3):
            answered = load.answered
            up.kill("controller")
            wait_for(lambda: load.answered > answered + 5)
            # The API's socket is the supervisor's: who asks now waits, and is answered.
            assert up.get("rep")["items"][0]["status"]["pid"] == replica
        load.stop()
        assert not load.problems, load.problems[:3]
        assert len(up.get("rep")["items"]) == 1
        up.out("apply", "-f", "-", "--wait", stdin=service("other", minReplicas=1))
        assert up.answer("other")
        print("  %d answered" % load.answered)


def a_killed_gateway_refuses_nobody():
    with Platform([STORY]) as up:
        load = Load(up)
        for _ in range(10 if LONG else 3):
            answered = load.answered
            up.kill("gateway")
            wait_for(lambda: load.answered > answered + 5)
        load.stop()
        assert "refused" not in load.problems, load.problems
        # Only what was in flight is lost.
        assert len(load.problems) <= 2 * (10 if LONG else 3), load.problems
        print("  %d answered, %d lost in flight" % (load.answered, len(load.problems)))


def a_killed_replica_is_followed():
    with Platform([STORY]) as up:
        before = up.get("rep")["items"][0]["status"]["pid"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: [r for r in up.get("rep")["items"]
                          if r["status"].get("phase") == "Ready" and r["status"].get("pid") not in (None, before)])
        assert up.answer("story")


def an_upgrade_loses_nothing():
    own = os.path.join(FOLDER.name, "sluice")
    shutil.copy(BINARY, own)
    with Platform([STORY], binary=own) as up:
        load = Load(up)
        for _ in range(3 if LONG else 1):
            stream = Stream(up.port, "story")
            # The new version lies where the old one lay.
            shutil.copy(BINARY, own + ".new")
            os.replace(own + ".new", own)
            old = up.child("controller"), up.child("gateway")
            replica = up.get("rep")["items"][0]["status"]["pid"]
            up.process.send_signal(signal.SIGUSR2)
            wait_for(lambda: up.child("controller") not in (None, old[0]) and up.child("gateway") not in (None, old[1]))
            assert stream.whole(), "a stream was cut"
            wait_for(lambda: old[1] not in descendants(up.process.pid))
            assert up.get("rep")["items"][0]["status"]["pid"] == replica
        load.stop()
        assert not load.problems, load.problems[:3]


def the_end_is_in_order():
    """Streams are answered to their end, then replicas and controller go; nothing is left."""
    with Platform([STORY]) as up:
        below = descendants(up.process.pid)
        stream = Stream(up.port, "story", 300)
        up.process.terminate()
        assert stream.whole(), "the stream was cut"
        assert up.process.wait(30) == 0, up.read_log()[-2000:]
        left = [pid for pid in below if "sluice" in " ".join(command_line(pid))]
        assert not left, [command_line(pid) for pid in left]
        log = up.read_log()
        assert log.index("gateway") < log.rindex("draining the replicas")


def a_second_signal_ends_at_once():
    with Platform([STORY]) as up:
        below = descendants(up.process.pid)
        streams = [Stream(up.port, "story", 900) for _ in range(24)]  # more than is answered meanwhile
        up.process.terminate()
        up.wait_log("a second one ends at once")
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(10) == 1
        assert not all([stream.whole() for stream in streams])
        wait_for(lambda: not [pid for pid in below if "sluice" in " ".join(command_line(pid))])


def nobody_outlives_the_supervisor():
    with Platform([STORY]) as up:
        below = descendants(up.process.pid)
        up.process.kill()
        up.process.wait()
        wait_for(lambda: not [pid for pid in below if "sluice" in " ".join(command_line(pid))], 60)


def a_service_at_zero_wakes():
    with Platform([manifest("asleep.yaml", service("asleep", minReplicas=0,
                   spec="sluice: {scaling: {stableWindowSeconds: 6, scaleToZeroGraceSeconds: 1}}"))]) as up:
        assert up.answer("asleep")
        wait_for(lambda: up.out("get", "rep", "--no-headers") == "")
        took = []
        for n in range(3 if LONG else 1):
            if n:
                wait_for(lambda: up.out("get", "rep", "--no-headers") == "")
            began = time.monotonic()
            assert up.answer("asleep", tokens=1)
            took.append(time.monotonic() - began)
        print("  from zero in %s s" % ", ".join("%.2f" % each for each in took))


def kept_replicas_are_taken_over():
    with tempfile.TemporaryDirectory() as folder:
        with Platform([STORY], ["--keep-replicas"], folder=folder) as up:
            replica = up.get("rep")["items"][0]["status"]["pid"]
            assert up.stop() == 0
        assert os.path.exists("/proc/%d" % replica)
        with Platform([], folder=folder) as up:
            up.out("wait", "isvc/story", "--timeout", "20s")
            assert up.get("rep")["items"][0]["status"]["pid"] == replica
            assert up.answer("story")
        wait_for(lambda: not os.path.exists("/proc/%d" % replica))


def a_notice_for_replicas():
    """Replaced first: no stream is cut, no request fails."""
    with Platform([manifest("two.yaml", service("story", minReplicas=2, maxReplicas=3))]) as up:
        wait_for(lambda: up.get("isvc", "story")["status"]["components"]["predictor"].get("readyReplicas") == 2)
        load = Load(up, clients=1)
        streams = [Stream(up.port, "story") for _ in range(2)]
        names = sorted(r["metadata"]["name"] for r in up.get("rep")["items"])
        api(up, "POST", "/admin/v1/notice", {"replicas": ["default/" + names[0]]})
        wait_for(lambda: names[0] not in [r["metadata"]["name"] for r in up.get("rep")["items"]])
        assert all([stream.whole() for stream in streams]), "a stream was cut"
        load.stop()
        assert not load.problems, load.problems[:3]


def a_notice_for_the_machine():
    """What has begun is answered, and all is over before the machine is."""
    notice = os.path.join(FOLDER.name, "notice")
    with Platform([STORY], ["--spot-file", notice]) as up:
        stream = Stream(up.port, "story", 300)
        began = time.monotonic()
        with open(notice + ".new", "w") as f:
            f.write("12s")
        os.replace(notice + ".new", notice)
        up.wait_log("this machine is taken back")
        up.wait_log("not ready any more")
        assert up.answer("story"), "it does not answer any more"
        assert stream.whole(), "the stream was cut"
        assert up.process.wait(20) == 0, up.read_log()[-2000:]
        assert time.monotonic() - began < 14


def api(up, method, path, body):
    import http.client
    import ssl
    with open(up.kubeconfig) as f:
        token = re.search(r"token: (\S+)", f.read()).group(1)
    context = ssl.create_default_context(cafile=os.path.join(up.data, "tls.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", up.control_port, context=context, timeout=30)
    connection.request(method, path, json.dumps(body), {"Authorization": "Bearer " + token})
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status < 300, (response.status, text)
    return json.loads(text)


def doctor():
    with Platform([STORY]) as up:
        found = json.loads(up.run("doctor", "--data", up.data, "-f", STORY, "-o", "json", status=None).stdout)
        subjects = {each["subject"]: each for each in found["findings"]}
        assert subjects["control plane"]["found"].startswith("running"), subjects
        assert subjects["gateway's plan"]["health"] == "ok" and subjects["model"]["health"] == "ok", subjects
        os.chmod(up.kubeconfig, 0o644)
        done = up.run("doctor", "--data", up.data, status=1)
        has(done.stdout, "bad", "chmod 600")
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as folder:
        port = str(taken.getsockname()[1])
        done = subprocess.run([BINARY, "doctor", "--data", folder, "--port", port], capture_output=True, text=True)
        assert done.returncode == 1 and "port " + port in done.stdout, done


def what_cannot_start_says_why():
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as folder:
        for arguments, said in [(["--port", str(taken.getsockname()[1])], "in use"),
                                (["--port", "0", "--control-port", "0", "-f", "/no/such/file"], "no such file"),
                                (["--port", "0", "--control-port", "0", "--pvc", "x=/no/such"], "is no folder")]:
            done = subprocess.run([BINARY, "up", "--data", folder, *arguments], capture_output=True, text=True, timeout=60)
            assert done.returncode == 1 and said in done.stderr, done
        with Platform([STORY], folder=folder) as up:
            again = subprocess.run([BINARY, "controller", "--data", up.data, "--port", "0"], capture_output=True, text=True, timeout=60)
            assert again.returncode == 1 and "another controller uses" in again.stderr, again
        for path in glob.glob(os.path.join(folder, "data", "control.db*")):
            with open(path, "wb") as f:
                f.write(b"no database" * 100)
        done = subprocess.run([BINARY, "up", "--data", os.path.join(folder, "data"), "--port", "0", "--control-port", "0"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "control.db" in done.stderr, done


CASES = [quickstart, commands, by_kubectl, strangers_stay_outside, a_killed_controller_is_followed,
         a_killed_gateway_refuses_nobody, a_killed_replica_is_followed, an_upgrade_loses_nothing, the_end_is_in_order,
         a_second_signal_ends_at_once, nobody_outlives_the_supervisor, a_service_at_zero_wakes, kept_replicas_are_taken_over, a_notice_for_replicas, a_notice_for_the_machine, doctor,
         what_cannot_start_says_why]

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
