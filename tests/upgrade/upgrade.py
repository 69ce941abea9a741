"""Zero-loss upgrades: an open-loop load on a service of `sluice up` while versions of it come and go. Every answer must be the
undisturbed one, and the completed requests of every 10 s window as many as were asked for. What is bad goes back by itself.
  upgrade.py [--long] [--verbose]     SLUICE names the binary"""
import argparse
import http.client
import json
import os
import random
import re
import ssl
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("http", "gateway", "up"):
    sys.path.insert(0, os.path.join(HERE, "..", folder))
import unbroken  # noqa: E402
from platform_process import MODEL, Platform, wait_for  # noqa: E402
from server import BINARY  # noqa: E402

LOAD_OF_CAPACITY = 0.35
CLIENTS_FOR_CAPACITY = 8
WINDOW = 10.0
SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
RUNTIMES = "/apis/serving.kserve.io/v1alpha1/namespaces/default/servingruntimes"
OWN = ["--threads", "1", "--kv-cache-memory-bytes", "64M"]
# How the request is made, and how many tokens it asks for; by chance, for what comes in turn a split of whole percents would
# give to one version always.
KINDS = [("greedy", True, 64), ("chat", False, 48), ("sampled", True, 48), ("greedy", False, 32), ("chat", True, 96)]


class Times:
    """Of a rollout: the long ones let an analysis of two looks at three seconds of requests decide."""

    def __init__(self, long):
        self.pause, self.interval, self.limit = (10, 5, 2) if long else (1, 1, 2)
        # Reports come two seconds late, which looks that are a second apart have to wait for.
        self.late = 1.0 if long else 4.0
        self.window = self.interval * self.limit

    def policy(self, first):
        """`first`: seconds of the first step."""
        steps = [{"weight": 10, "pauseSeconds": first}, {"weight": 50, "pauseSeconds": self.pause},
                 {"weight": 100, "pauseSeconds": max(self.pause, self.window)}]
        return {"strategy": "Progressive", "steps": steps,
                "analysis": {"intervalSeconds": self.interval, "failureLimit": self.limit, "minRequests": 2,
                             "maxErrorRate": 0.02, "maxTtftMs": 500}}


class Api:
    """The control plane, as a client with the kubeconfig's token sees it."""

    def __init__(self, up):
        with open(up.kubeconfig) as f:
            self.head = {"Authorization": "Bearer " + re.search(r"token: (\S+)", f.read()).group(1)}
        self.context = ssl.create_default_context(cafile=os.path.join(up.data, "tls.crt"))
        self.port = up.control_port

    def open(self, method, path, body=None, kind="application/json", timeout=30):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=timeout)
        connection.request(method, path, None if body is None else json.dumps(body), dict(self.head, **{"Content-Type": kind}))
        return connection.getresponse()

    def call(self, method, path, body=None, kind="application/json"):
        response = self.open(method, path, body, kind)
        text = response.read().decode()
        assert response.status < 300, (method, path, response.status, text)
        return json.loads(text)

    def apply(self, path, body):
        return self.call("PATCH", "%s/%s?fieldManager=upgrade-test&force=true" % (path, body["metadata"]["name"]), body,
                         "application/apply-patch+yaml")


class Watch(threading.Thread):
    """What the rollout's state was, and when it was told."""

    def __init__(self, api):
        super().__init__(daemon=True)
        self.response = api.open("GET", SERVICE + "?watch=true", timeout=None)
        self.states, self.changed = [], threading.Condition()
        self.start()

    def run(self):
        while line := self.response.readline():
            event = json.loads(line)
            if event.get("type") not in ("ADDED", "MODIFIED") or event["object"]["metadata"]["name"] != "story":
                continue
            status = event["object"].get("status", {})
            with self.changed:
                self.states.append((time.monotonic(), status.get("sluice", {}).get("rollout", {}), status))
                self.changed.notify_all()

    def wait(self, what, since=0, seconds=120):
        """The first state behind the first `since` ones that is so."""
        found, deadline = [], time.monotonic() + seconds

        def come():
            found.extend(each for each in self.states[since:] if what(each[1]))
            return found
        with self.changed:
            while not come():
                assert self.changed.wait(deadline - time.monotonic()), self.states[-1:]
        return found[0]


class Load(threading.Thread):
    """A constant number of requests a second, whatever becomes of them."""

    def __init__(self, port, expected, rate, verbose):
        super().__init__()
        self.port, self.expected, self.rate, self.verbose = port, expected, rate, verbose
        self.began = time.monotonic()
        self.over, self.lock = threading.Event(), threading.Lock()
        self.asked, self.completed, self.wrong, self.latencies, self.gaps = 0, [], [], [], []

    def now(self):
        return time.monotonic() - self.began

    def run(self):
        requests, source = [], random.Random(1)
        while not self.over.wait(max(0.0, self.asked / self.rate - self.now())):
            request = threading.Thread(target=self.one, args=(source.choice(KINDS),))
            request.start()
            self.asked += 1
            requests = [each for each in requests if each.is_alive()] + [request]
        self.ended = self.now()
        for each in requests:
            each.join()

    def one(self, kind):
        began, problem, gap = self.now(), None, 0.0
        try:
            got, gap = ask(self.port, kind)
            if got != self.expected[kind]:
                problem = "%s: another answer: %s" % (kind, str(got)[:300])
        except Exception as e:  # noqa: BLE001
            problem = "%s: %r" % (kind, e)
        with self.lock:
            ended = self.now()
            self.latencies.append(ended - began)
            self.gaps.append(gap)
            if problem:
                self.wrong.append("asked at %.2f s, ended at %.2f s: %s" % (began, ended, problem))
                if self.verbose:
                    print("%7.2f wrong: %s" % (ended, self.wrong[-1][:400]), flush=True)
            else:
                self.completed.append(ended)

    def windows(self):
        """Of each whole window: how far the completed requests are from those asked for, in parts of these."""
        out = []
        for i in range(int(self.ended / WINDOW)):
            offered = self.rate * WINDOW
            done = sum(i * WINDOW <= at < (i + 1) * WINDOW for at in self.completed)
            out.append((done - offered) / offered)
        return out


def ask(port, kind):
    case, stream, tokens = kind
    return unbroken.ask(port, case, stream=stream, max_tokens=tokens, model="story")


def capacity(port, expected, seconds):
    """Requests a second that clients who wait for each answer get."""
    answered, end = [], time.monotonic() + seconds

    def client(number):
        while time.monotonic() < end:
            kind = KINDS[number % len(KINDS)]
            got, _ = ask(port, kind)
            assert got == expected[kind], (kind, got)
            answered.append(number)
            number += 1
    began = time.monotonic()
    clients = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS_FOR_CAPACITY)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return len(answered) / (time.monotonic() - began)


class Upgrade:
    def __init__(self, up, long, verbose):
        self.up, self.long, self.verbose, self.times = up, long, verbose, Times(long)
        self.api, self.version, self.told = Api(up), 0, []
        script = os.path.join(HERE, "bad_version.py")
        for name, command in (("failing", []), ("slow", [os.path.abspath(BINARY), "/mnt/models", *OWN])):
            self.api.apply(RUNTIMES, {
                "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": name},
                "spec": {"supportedModelFormats": [{"name": "gguf"}], "containers": [
                    {"name": "kserve-container", "command": ["/usr/bin/python3", script, name, "$(PORT)", *command],
                     "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1}}]}})

    def say(self, text):
        self.told.append(text)
        if self.verbose:
            print("%7.2f %s" % (self.load.now() if hasattr(self, "load") else 0, text), flush=True)

    def apply(self, runtime=None):
        """The next version."""
        self.version += 1
        first = self.times.window + self.times.late if runtime else self.times.pause
        model = {"modelFormat": {"name": "gguf"}, "storageUri": "file://" + MODEL}
        if runtime:
            model["runtime"] = runtime
            model["env"] = [{"name": "VERSION", "value": str(self.version)}]
        else:
            model["args"] = [*OWN, "--max-num-seqs", str(16 + self.version)]
        self.api.apply(SERVICE, {
            "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "story"},
            "spec": {"sluice": {"rollout": self.times.policy(first)},
                     "predictor": {"minReplicas": 2, "maxReplicas": 2, "terminationGracePeriodSeconds": 60, "model": model}}})

    def state(self):
        return self.watch.states[-1][1]

    def replicas_of(self):
        return {each["spec"]["revision"] for each in self.api.call(
            "GET", "/apis/sluice.dev/v1alpha1/namespaces/default/replicas")["items"]}

    def begin(self):
        self.apply()
        self.up.out("wait", "isvc/story", "--timeout", "60s")
        wait_for(lambda: len(self.up.get("rep")["items"]) == 2)
        self.watch = Watch(self.api)
        self.watch.wait(lambda rollout: rollout.get("stable"))
        self.expected = {kind: ask(self.up.port, kind)[0] for kind in KINDS}
        capacity(self.up.port, self.expected, 1 if self.long else 0.5)
        full = capacity(self.up.port, self.expected, 10 if self.long else 1)
        self.full, rate = full, full * LOAD_OF_CAPACITY
        self.load = Load(self.up.port, self.expected, rate, self.verbose)
        self.load.start()
        self.say("%.1f requests a second of %.1f" % (rate, full))

    def rollout(self):
        """A good version takes over, step by step."""
        before, since = self.state()["stable"], len(self.watch.states)
        began = time.monotonic()
        self.apply()
        at, rollout, _ = self.watch.wait(
            lambda r: r.get("phase") == "RolledBack" or (r.get("stable") != before and r.get("phase") == "Idle"), since)
        assert rollout["phase"] == "Idle", rollout
        weights = {state.get("weight", 0) for _, state, _ in self.watch.states[since:]}
        assert {10, 50, 100} <= weights, weights
        assert rollout["previous"] == before, rollout
        wait_for(lambda: self.replicas_of() == {rollout["stable"]}, 90)
        self.say("%s has taken over after %.1f s" % (rollout["stable"], at - began))

    def bad(self, runtime, reason):
        """A bad version gets its first requests, and goes."""
        stable, since = self.state()["stable"], len(self.watch.states)
        self.apply(runtime)
        served, rollout, _ = self.watch.wait(lambda r: r.get("weight", 0) > 0, since)
        candidate = rollout["candidate"]
        back, rollout, status = self.watch.wait(
            lambda r: r.get("phase") == "RolledBack" or r.get("stable") == candidate, since)
        took = back - served
        self.say("%s (%s) was rolled back after %.1f s: %s" % (candidate, runtime, took, rollout.get("message")))
        assert rollout["phase"] == "RolledBack" and rollout["failed"] == candidate and rollout["stable"] == stable, rollout
        assert took <= self.times.window + self.times.late, "it took %.1f s, the window is %.1f s" % (took, self.times.window)
        assert rollout["reason"] == "AnalysisFailed" and re.search(reason, rollout["message"]), rollout
        weights = {state.get("weight", 0) for at, state, _ in self.watch.states[since:] if at <= back}
        assert max(weights) == 10, weights
        condition = {each["type"]: each for each in status["conditions"]}["RolloutProgressing"]
        assert condition["status"] == "False" and condition["reason"] == "AnalysisFailed", condition
        self.is_told(candidate, reason)
        self.up.out("rollout", "undo", "isvc/story")
        self.watch.wait(lambda r: r.get("stable") == stable and r.get("phase") == "Idle" and not r.get("failed"), since)
        wait_for(lambda: self.replicas_of() == {stable}, 90)

    def is_told(self, candidate, reason):
        def event():
            return [each for each in self.api.call("GET", "/api/v1/namespaces/default/events")["items"]
                    if each["reason"] == "RolledBack" and candidate in each["message"] and re.search(reason, each["message"])]

        def entry():
            with open(os.path.join(self.up.data, "audit.log")) as f:
                return [line for line in f if "RolledBack" in line and candidate in line and re.search(reason, line)]
        wait_for(event, 5)
        wait_for(entry, 5)

    def configuration(self):
        """How long requests are held, and another service: no new version."""
        before = self.state()["stable"]
        self.api.call("PATCH", SERVICE + "/story", {"spec": {"sluice": {"wake": {"holdSeconds": 20}}}},
                      "application/merge-patch+json")
        other = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "other"},
                 "spec": {"predictor": {"minReplicas": 0, "model": {"modelFormat": {"name": "gguf"}, "args": OWN,
                                                                    "storageUri": "file://" + MODEL}}}}
        self.api.apply(SERVICE, other)
        self.up.out("wait", "isvc/other", "--timeout", "20s")
        plan = os.path.join(self.up.data, "gateway.json")

        def in_plan(text):
            with open(plan) as f:
                return text in f.read()
        wait_for(lambda: in_plan('"20000ms"') and in_plan("default/other"))
        self.api.call("DELETE", SERVICE + "/other")
        wait_for(lambda: not in_plan("default/other"))
        assert self.state()["stable"] == before and "candidate" not in self.state(), self.state()
        self.say("the configuration was changed three times")

    def metric(self, name, *labels):
        connection = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=30)
        connection.request("GET", "/metrics?view=native")
        lines = connection.getresponse().read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines
                   if line.startswith(name) and all(label in line for label in labels))

    def run(self):
        failing = "requests failed"
        slow = "time to the first token"
        if self.long:
            steps = [self.rollout, self.rollout, lambda: self.bad("failing", failing), self.rollout, self.configuration,
                     lambda: self.bad("slow", slow), self.rollout, self.rollout]
        else:
            steps = [self.rollout, lambda: self.bad("failing", failing), self.configuration]
        self.begin()
        try:
            for step in steps:
                step()
        finally:
            self.load.over.set()
            self.load.join()
        self.check()

    def check(self):
        load, windows = self.load, self.load.windows()
        latencies = sorted(load.latencies)
        print("%d requests in %.0f s, %.1f a second of the %.1f that it can; p50 %.3f s, p99 %.3f s; longest gap in an answer %.3f s" % (
            load.asked, load.ended, load.rate, self.full, latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100],
            max(load.gaps)))
        print("completed in each 10 s, against those asked for: %s" % ", ".join("%+.1f %%" % (100 * each) for each in windows))
        rescued = self.metric("sluice_gateway_fallbacks_total")
        print("%d requests that a bad version failed were answered by the one before; %d answers moved to another replica" % (
            rescued, self.metric("sluice_gateway_unbroken_attempts_total", "move")))
        assert not load.wrong, "%d of %d failed: %s" % (len(load.wrong), load.asked, load.wrong[:5])
        assert len(load.completed) == load.asked, (len(load.completed), load.asked)
        assert rescued > 0, "the version that errs was asked nothing"
        assert self.metric("sluice_gateway_unbroken_attempts_total", "other_revision") == 0
        if self.long:
            # One more or less is no share of a small load.
            most = max(0.02, 1.0 / (load.rate * WINDOW))
            assert all(abs(each) <= most for each in windows), windows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="tell what happens when, and each failed request")
    options = parser.parse_args()
    failed, began = 0, time.monotonic()
    with Platform([], ["--metrics-public"]) as up:
        upgrade = Upgrade(up, options.long, options.verbose)
        try:
            upgrade.run()
        except Exception as e:  # noqa: BLE001
            failed = 1
            print("failed: upgrade: %r; so far: %s" % (e, "; ".join(upgrade.told)))
            if options.verbose:
                print(up.read_log()[-6000:])
        if up.stop() != 0 and not failed:
            failed = 1
            print("failed: upgrade: the platform did not end cleanly")
    print("upgrade: %.0f s" % (time.monotonic() - began))
    print("%d passed, %d failed, 0 skipped" % (1 - failed, failed))
    return failed


if __name__ == "__main__":
    sys.exit(main())
