"""Crash safety of `sluice up`: its controller is killed while users work, its disk is full, its files are damaged.
  run.py [--long] [--seed=N] [CASE…]     SLUICE names the binary"""
import collections
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
for folder in ("http", "up"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
import cases  # noqa: E402
import world  # noqa: E402
from ledger import GRAPHS, REPLICAS, REVISIONS, SERVICES, Api  # noqa: E402
from platform_process import Platform, command_line, descendants, wait_for  # noqa: E402
from users import STANDING, STEP, Load, Users, service  # noqa: E402

LONG = "--long" in sys.argv
SEED = next((int(word[7:]) for word in sys.argv if word.startswith("--seed=")), 5)
ROUNDS, KILLS_PER_ROUND = (20, 12) if LONG else (1, 5)
SETTLE_SECONDS = 60


def ready(item):
    return any(each["type"] == "Ready" and each["status"] == "True" for each in item.get("status", {}).get("conditions", []))


def identity(item):
    return "%s.%s" % (item["metadata"]["namespace"], item["metadata"]["name"])


class Scene:
    """A platform, its users and its load, and what must hold of them."""

    def __init__(self, up, seed):
        self.up, self.random = up, random.Random(seed)
        self.users = Users(up, seed + 1)
        self.api = Api(up)
        self.kills = collections.Counter()
        self.killed = None
        self.slowest = 0.0

    def controller(self):
        """The process id of a controller that was not killed yet."""
        pid = self.up.child("controller")
        return pid if pid != self.killed else None

    def kill(self, how):
        if how == "at any time":
            threading.Event().wait(self.random.uniform(0.1, 2.2))
        elif how == "at an answer":
            self.users.wait_answer(3)
            threading.Event().wait(self.random.choice([0, self.random.uniform(0, 0.03)]))
        victim = wait_for(self.controller)
        if how == "at its start":
            threading.Event().wait(self.random.uniform(0, 0.15))
        os.kill(victim, signal.SIGKILL)
        self.killed = victim
        self.kills[how] += 1

    def work_and_kill(self, kills):
        """Users work, the controller is killed so many times."""
        ended = threading.Event()
        working = threading.Thread(target=self.users.work, args=(ended,))
        working.start()
        try:
            for _ in range(kills):
                self.kill(self.random.choices(["at any time", "at an answer", "at its start"], [5, 4, 3])[0])
        finally:
            ended.set()
            working.join()
        if self.users.problem:
            raise self.users.problem

    def unsettled(self):
        """Why the platform is not what the objects say; None: it is."""
        services = self.users.look(SERVICES)
        graphs = self.users.look(GRAPHS)
        revisions = self.api.list(REVISIONS)["items"]
        replicas = {identity(each): each for each in self.api.list(REPLICAS)["items"]}
        for item in [*services, *graphs]:
            status, name = item.get("status", {}), item["metadata"]["name"]
            if item["metadata"].get("deletionTimestamp"):
                return name + " is still there"
            if status.get("observedGeneration") != item["metadata"].get("generation") or not ready(item):
                return "%s is not ready: %s" % (name, status.get("conditions"))
            rollout = status.get("sluice", {}).get("rollout", {})
            shares = "canaryTrafficPercent" in item["spec"].get("predictor", {})  # and stays beside the other
            if rollout.get("candidate") and not (shares and rollout["phase"] == "Paused"):
                return "%s has a revision on its way: %s" % (name, rollout)
        names = {each["metadata"]["name"] for each in services}
        running = collections.Counter()
        for item in revisions:
            status, name = item.get("status", {}), item["metadata"]["name"]
            own = [each for each in replicas.values() if each["spec"]["revision"] == name]
            if item["spec"]["service"] not in names:
                return "the revision %s belongs to nobody" % name
            retired = status.get("role") == "Retired"
            wanted = 0 if retired else status.get("desired", 0)
            if not len(own) == wanted == status.get("readyReplicas", 0) or not all(map(ready, own)):
                return "%s has %d replicas: %s" % (name, len(own), status)
            running[item["spec"]["service"]] += len(own)
        orphans = [name for name, each in replicas.items()
                   if each["spec"]["revision"] not in {r["metadata"]["name"] for r in revisions} or
                   each["metadata"].get("deletionTimestamp")]
        if orphans:
            return "replicas without a revision: %s" % orphans
        return self.wrong_scale(running, replicas) or world.problem(self.up, replicas)

    def wrong_scale(self, running, replicas):
        processes = world.Processes(self.up.data)
        for name, state in self.users.ledger.wanted(SERVICES).items():
            predictor = state["spec"]["predictor"]
            least, canary = predictor["minReplicas"], "canaryTrafficPercent" in predictor
            if not least <= running[name] <= (2 if canary else predictor["maxReplicas"]):
                return "%s has %d replicas, %s" % (name, running[name], predictor)
            version = next(each["value"] for each in predictor["model"]["env"] if each["name"] == STEP)
            steps = {step for each, item in replicas.items() if item["spec"]["service"] == name
                     for step in processes.steps(each, STEP)}
            if running[name] and (version not in steps or len(steps) > (2 if canary else 1)):
                return "%s runs versions %s, and %s is asked for" % (name, sorted(map(str, steps)), version)
        return None

    def settle(self):
        """All that was acknowledged is there, and becomes so within its time."""
        began = time.monotonic()
        why = "nothing"
        while why:
            why = self.unsettled()
            assert not why or time.monotonic() < began + SETTLE_SECONDS, why + "; " + self.up.read_log()[-1500:]
        self.slowest = max(self.slowest, time.monotonic() - began)


def a_controller_killed_at_random():
    """Nothing that was acknowledged is lost, all becomes as the objects say, nobody is left behind, no request fails."""
    with Platform() as up:
        scene = Scene(up, SEED)
        scene.users.begin()
        scene.settle()
        scene.slowest = 0.0
        load = Load(up, STANDING)
        try:
            for round_number in range(ROUNDS):
                if LONG and round_number % 4 == 3:
                    a_sleeper_wakes(scene)
                scene.work_and_kill(KILLS_PER_ROUND)
                scene.users.settle()
                scene.settle()
                assert not load.problems, (len(load.problems), load.problems[:3], up.read_log()[-1500:])
        finally:
            load.stop()
        assert not load.problems, (len(load.problems), load.problems[:3])
        nothing_is_left(scene)
        ledger = scene.users.ledger
        kills = sum(scene.kills.values())
        assert kills >= (200 if LONG else 8)
        print("  %d kills (%s); %d writes acknowledged, %d unanswered; settled within %.1f s; %d requests answered; "
              "%s" % (kills, ", ".join("%d %s" % (n, how) for how, n in scene.kills.items()), ledger.acknowledged,
                               ledger.unanswered, scene.slowest, sum(load.answered.values()),
                               " ".join("%s %d" % each for each in sorted(scene.users.done.items()))))
        assert up.stop() == 0, up.read_log()[-2000:]


def a_sleeper_wakes(scene):
    """A request for a service at zero is answered, though the controller dies while it waits."""
    def replicas():
        return [each for each in scene.api.list(REPLICAS)["items"] if each["spec"]["service"] == "sleeper"]

    wait_for(lambda: not replicas(), 40)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(scene.up.request({"model": "sleeper", "prompt": "x", "max_tokens": 1})))
    asking.start()
    threading.Event().wait(scene.random.uniform(0, 0.1))
    scene.kill("at a wake")
    asking.join()
    assert answers and answers[0][0] == 200, answers


def a_first_start_that_is_killed():
    """Before there is anything: the next one begins anew, or goes on."""
    choose = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        data, killed = os.path.join(folder, "data"), set()

        def controller():
            return next((pid for pid in world.all_processes() if pid not in killed and
                         command_line(pid)[1:4] == ["controller", "--data", data]), None)

        def kill_some():
            for _ in range(3):
                victim = wait_for(controller)
                threading.Event().wait(choose.uniform(0, 0.04))
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)

        killer = threading.Thread(target=kill_some)
        killer.start()
        with Platform(folder=folder) as up:
            killer.join()
            api = Api(up)
            wait_for(lambda: api.apply(SERVICES, service("story", 1, 1))[0] in (200, 201))
            wait_for(lambda: process_of(api))
            wait_for(lambda: up.request({"model": "story", "prompt": "x", "max_tokens": 1})[0] == 200)
        assert len(killed) == 3


def nothing_is_left(scene):
    """All is deleted, under kills: no object, process or folder of it stays."""
    killer = threading.Thread(target=lambda: [scene.kill("at an answer") for _ in range(3)])
    killer.start()
    scene.users.take_all_away()
    killer.join()
    scene.settle()
    for path in (SERVICES, GRAPHS, REVISIONS, REPLICAS):
        assert not scene.api.list(path)["items"], path
    assert scene.up.request({"model": "always", "prompt": "x"})[0] == 404


# One service that is asked all the time, while something is done to the platform's files.

@contextlib.contextmanager
def one_service(folder=None):
    with Platform(folder=folder) as up:
        api = Api(up)
        status, answer = api.apply(SERVICES, service("story", 1, 1))
        assert status == 201, answer
        wait_for(lambda: ready(api.list(SERVICES)["items"][0]))
        wait_for(lambda: up.request({"model": "story", "prompt": "x", "max_tokens": 1})[0] == 200)
        load = Load(up, ("story",), clients=1)
        try:
            yield up, api, load
        finally:
            load.stop()
        assert not load.problems, (len(load.problems), load.problems[:3])
        assert load.answered["story"] >= 3, load.answered


def process_of(api, service_name="story"):
    found = [each for each in api.list(REPLICAS)["items"] if each["spec"]["service"] == service_name and ready(each)]
    return found[0]["status"]["pid"] if len(found) == 1 else None


def serves(load, more=5):
    """It goes on."""
    before = load.answered.get("story", 0)
    wait_for(lambda: load.answered.get("story", 0) >= before + more)


@contextlib.contextmanager
def without_controller(up):
    """The supervisor is held meanwhile, so that no other one follows."""
    os.kill(up.process.pid, signal.SIGSTOP)
    try:
        living = up.child("controller")
        if living:
            os.kill(living, signal.SIGKILL)
        wait_for(lambda: up.child("controller") is None)
        yield
    finally:
        os.kill(up.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def small_disk(folder, mebibytes):
    """A file system of its own under `folder`."""
    options = "size=%dm,mode=0700,uid=%d,gid=%d" % (mebibytes, os.getuid(), os.getgid())
    for rights in ([], ["sudo", "-n"]):
        try:
            mounted = subprocess.run([*rights, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        if mounted.returncode == 0:
            break
    else:
        raise cases.Skipped("a small disk needs the right to mount one")
    try:
        yield
    finally:
        subprocess.run([*rights, "umount", "-l", folder], check=True)


def fill(path):
    """Until not a byte goes onto the disk any more."""
    with open(path, "ab", buffering=0) as f:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * size)


def until_refused(api, filler, prefix):
    """Creates services on the full disk; those that were acknowledged, for files that are there may have room within."""
    made = []
    while True:
        fill(filler)
        status, answer = api.apply(SERVICES, service("%s%d" % (prefix, len(made)), 1, 1, least=0))
        if status >= 500:
            break
        assert status == 201 and len(made) < 2000, answer
        made.append(answer["metadata"]["name"])
    assert status == 507 and answer["reason"] == "InsufficientStorage", answer
    assert "nothing was changed" in answer["message"] and "is full" in answer["message"], answer
    return made


def names_of(api):
    return {each["metadata"]["name"] for each in api.list(SERVICES)["items"]}


def a_full_disk():
    """What cannot be stored is refused with a clear text, requests are answered, and once there is room all goes on."""
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        os.mkdir(data)
        with small_disk(data, 24), one_service(folder) as (up, api, load):
            filler = os.path.join(data, "filler")
            made = until_refused(api, filler, "s")
            replica = process_of(api)
            assert names_of(api) == {"story", *made}
            serves(load)
            # One that starts on the full disk tells what there is, as well.
            killed = up.kill("controller")
            assert names_of(api) == {"story", *made} and up.child("controller") != killed
            assert process_of(api) == replica
            made += until_refused(api, filler, "t")
            serves(load)
            os.unlink(filler)
            status, answer = api.apply(SERVICES, service("story", 2, 1, least=2, most=2))
            assert status == 200, answer
            wait_for(lambda: len([each for each in api.list(REPLICAS)["items"] if each["spec"]["service"] == "story" and ready(each)]) == 2)
            assert names_of(api) == {"story", *made}
            replicas = {identity(each): each for each in api.list(REPLICAS)["items"]}
            wait_for(lambda: world.problem(up, replicas) is None)
            print("  %d objects had room in files that were there" % len(made))


def in_the_middle(path):
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2 // 4096 * 4096)
        f.write(b"\xa5" * 4096)


def cut_off(path):
    os.truncate(path, os.path.getsize(path) // 2 + 100)


def emptied(path):
    os.truncate(path, 0)


def no_database(path):
    with open(path, "wb") as f:
        f.write(b"not a database, but text\n" * 400)


def damaged_objects():
    """The controller says which file it is and what to do; requests are answered by the plan that there was."""
    with one_service() as (up, api, load):
        path, kept = os.path.join(up.data, "control.db"), os.path.join(up.folder, "kept.db")
        replica = process_of(api)
        for n in range(20):
            assert api.apply(SERVICES, service("s%d" % n, 1, 1, least=0))[0] == 201
        for damage in (emptied, in_the_middle, cut_off, no_database)[:4 if LONG else 1]:
            threading.Event().wait(1.1)  # one that dies after a second of life is followed at once
            with without_controller(up):
                with contextlib.closing(sqlite3.connect(path)) as database:
                    assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
                shutil.copyfile(path, kept)
                forget_log(path)
                damage(path)
                log = len(up.read_log())
            said = r"control\.db.*restore the file from a backup, or move it away"
            wait_for(lambda: said_since(up, log, said) >= 2)
            serves(load)
            with without_controller(up):
                shutil.copyfile(kept, path)
                forget_log(path)
            api.close()
            names = [each["metadata"]["name"] for each in api.list(SERVICES)["items"]]
            assert len(names) == 21, (damage.__name__, names)
            assert wait_for(lambda: process_of(api)) == replica, damage.__name__
            serves(load)


def forget_log(database):
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(database + suffix)


def said_since(up, position, pattern):
    return len(re.findall(pattern, up.read_log()[position:]))


def a_damaged_plan():
    """The gateway says so and goes on by the one it has; the controller puts a good one there."""
    with one_service() as (up, api, load):
        path = os.path.join(up.data, "gateway.json")
        for text in (b'{"upstreams": [', b"", b"\x00\xff" * 2000)[:3 if LONG else 1]:
            log = len(up.read_log())
            with open(path, "r+b") as f:
                f.truncate(0)
                f.write(text)
            wait_for(lambda: said_since(up, log, r"gateway\.json") >= 1)
            serves(load)
            wait_for(lambda: world.read_json(path).get("upstreams"))
        # Nor is it the end when the gateway has nothing else to begin with: who asks then, waits.
        load.stop()
        with without_controller(up), open(path, "w") as f:
            f.write("no plan")
            f.flush()
            os.kill(up.child("gateway"), signal.SIGKILL)
        assert up.request({"model": "story", "prompt": "x", "max_tokens": 1})[0] == 200
        assert process_of(api)


def damaged_replica_records():
    """A living replica goes on with its records written anew, one that has ended is followed by another."""
    with one_service() as (up, api, load):
        replica = process_of(api)
        name = "%s.%s" % ("default", api.list(REPLICAS)["items"][0]["metadata"]["name"])
        own = os.path.join(up.data, "replicas", name)
        for files in (["state.json"], ["spec.json"], ["state.json", "spec.json"]):
            log = len(up.read_log())
            with without_controller(up):
                for file in files:
                    with open(os.path.join(own, file), "w") as f:
                        f.write('{"token": 7, ')
            wait_for(lambda: said_since(up, log, files[-1].replace(".", r"\.")) >= 1)
            wait_for(lambda: all(world.read_json(os.path.join(own, file)).get("token") not in (None, 7) for file in files))
            assert wait_for(lambda: process_of(api)) == replica, files
            replicas = {identity(each): each for each in api.list(REPLICAS)["items"]}
            wait_for(lambda: world.problem(up, replicas) is None)
        load.stop()  # from here on its only replica is gone for a moment
        with without_controller(up):
            os.kill(replica, signal.SIGKILL)
            wait_for(lambda: os.path.exists(os.path.join(own, "exit.json")))
            with open(os.path.join(own, "exit.json"), "w") as f:
                f.write("it ended")
        wait_for(lambda: process_of(api) not in (None, replica))
        wait_for(lambda: up.request({"model": "story", "prompt": "x", "max_tokens": 1})[0] == 200)
        replicas = {identity(each): each for each in api.list(REPLICAS)["items"]}
        wait_for(lambda: world.problem(up, replicas) is None)


def speaks_http2(port):
    """Asked until somebody answers with the settings of an HTTP/2 server; nobody refuses the connection."""
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            try:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                head = connection.recv(9)
            except ConnectionError:
                continue  # of a process that was killed just then
            if head:
                assert head[3] == 4, head
                return True


def a_killed_gateway_leaves_no_port_alone():
    """The supervisor holds gRPC's port too: who connects while there is no gateway waits for the next."""
    with Platform(arguments=["--grpc-port", "0"]) as up:
        port = int(up.wait_log(r"serves gRPC on 127\.0\.0\.1:(\d+)"))
        assert speaks_http2(port)
        for _ in range(10 if LONG else 3):
            victim = up.child("gateway")
            os.kill(victim, signal.SIGKILL)
            assert speaks_http2(port)
            wait_for(lambda: up.child("gateway") not in (None, victim))
        before = up.child("gateway"), up.child("controller")
        up.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: speaks_http2(port) and not set(before) & set(descendants(up.process.pid)))
        assert speaks_http2(port)
        assert not Api(up).list(SERVICES)["items"]  # the new controller has begun
        assert up.stop() == 0, up.read_log()[-2000:]


CASES = [a_controller_killed_at_random, a_first_start_that_is_killed, a_full_disk, damaged_objects, a_damaged_plan, damaged_replica_records,
         a_killed_gateway_leaves_no_port_alone]

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
