"""What users do all day, on a thread of its own: services and graphs come, change, roll out, roll back, scale, sleep and go."""
import json
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "up"))
from ledger import GRAPHS, MERGE, REPLICAS, SERVICES, Api, Ledger, Unanswered  # noqa: E402
from platform_process import MODEL  # noqa: E402

ARGUMENTS = ["--threads", "1", "--kv-cache-memory-bytes", "16M"]
STEP = "CRASH_STEP"  # a variable of the replicas: which version of its service a process is of
PROGRESSIVE = {"strategy": "Progressive", "steps": [{"weight": 30, "pauseSeconds": 1}, {"weight": 100}],
               "analysis": {"intervalSeconds": 0.5, "failureLimit": 2, "maxErrorRate": 0.5}}
QUICK_SLEEP = {"stableWindowSeconds": 6, "scaleToZeroGraceSeconds": 1}
# Always up from the first check on, whatever happens to them.
STANDING = ("always", "rolled", "split", "scaled")
GUESTS = ("guest-0", "guest-1")


def service(name, step, version, least=1, most=1, sequences=4, canary=None, annotations=None, **sluice):
    """`step`: of the object; `version`: of what its replicas run."""
    model = {"modelFormat": {"name": "gguf"}, "storageUri": "file://" + MODEL,
             "args": ARGUMENTS + ["--max-num-seqs", str(sequences)], "env": [{"name": STEP, "value": str(version)}]}
    predictor = {"minReplicas": least, "maxReplicas": most, "model": model}
    if canary is not None:
        predictor["canaryTrafficPercent"] = canary
    spec = dict({"predictor": predictor}, **({"sluice": sluice} if sluice else {}))
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": {"name": name, "labels": {"step": str(step)}, "annotations": dict(annotations or {}, step=str(step))},
            "spec": spec}


def graph(name, step, services):
    steps = [{"name": "step-%d" % i, "serviceName": each, "data": "$request"} for i, each in enumerate(services)]
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "InferenceGraph",
            "metadata": {"name": name, "labels": {"step": str(step)}, "annotations": {"step": str(step)}},
            "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}}


class Users:
    def __init__(self, up, seed):
        self.random = random.Random(seed)
        self.api, self.ledger = Api(up), Ledger()
        self.step = 0
        self.versions, self.scale = {}, {"scaled": 1}
        self.answers, self.changed = 0, threading.Condition()
        self.done = {}
        self.problem = None

    def next_step(self):
        self.step += 1
        return self.step

    def wait_answer(self, seconds):
        """Until the next write has been acknowledged."""
        with self.changed:
            seen = self.answers
            self.changed.wait_for(lambda: self.answers > seen, seconds)

    def write(self, path, name, sent, call):
        if self.ledger.write(self.api, (path, name), sent, call):
            with self.changed:
                self.answers += 1
                self.changed.notify_all()

    def apply(self, path, body):
        sent = {"metadata": {key: body["metadata"][key] for key in ("labels", "annotations")}, "spec": body["spec"]}
        self.write(path, body["metadata"]["name"], sent, lambda api: api.apply(path, body))

    def look(self, path):
        """What is there by now is what was sent; the listing."""
        listing = self.api.list(path)
        self.ledger.check(path, listing)
        return listing["items"]

    # Each of these is one request of a user.
    def change(self, name, rollback=None, canary=None):
        """A new version, by its arguments and environment."""
        step = self.next_step()
        if rollback is None:
            self.versions[name] = step
        more = {"rolled": {"rollout": PROGRESSIVE}, "sleeper": {"scaling": QUICK_SLEEP}}.get(name, {})
        annotations = {"sluice.dev/rollout": "rollback " + rollback} if rollback else None
        least, most = {"sleeper": (0, 1), "scaled": (self.scale["scaled"],) * 2}.get(name, (1, 2 if name == "rolled" else 1))
        self.apply(SERVICES, service(name, step, self.versions.setdefault(name, step), least, most, 2 + self.versions[name] % 3,
                                     canary, annotations, **more))

    def change_rolled(self):
        self.change("rolled")

    def undo(self):
        """Takes the revision back that is taking over, if one is."""
        status, found = self.api.call("GET", SERVICES + "/rolled")
        candidate = found.get("status", {}).get("sluice", {}).get("rollout", {}).get("candidate")
        if status == 200 and candidate:
            self.change("rolled", rollback=candidate)

    def canary(self):
        self.change("split", canary=self.random.choice([10, 50, 90]))

    def promote(self):
        """Without the percent, the latest has all of the traffic."""
        self.change("split")

    def scale_it(self):
        replicas = self.random.choice([1, 2, 3])
        if len(self.ledger.states((SERVICES, "scaled"))) > 1:
            self.look(SERVICES)
        sent = json.loads(json.dumps(self.ledger.states((SERVICES, "scaled"))[-1].body))
        sent["spec"]["predictor"].update(minReplicas=replicas, maxReplicas=replicas)
        self.scale["scaled"] = replicas
        self.write(SERVICES, "scaled", sent,
                   lambda api: api.call("PATCH", SERVICES + "/scaled/scale", {"spec": {"replicas": replicas}}, MERGE))

    def guest_comes(self):
        name = self.random.choice(GUESTS)
        self.versions[name] = step = self.next_step()
        self.apply(SERVICES, service(name, step, step, self.random.choice([0, 1])))

    def guest_goes(self):
        name = self.random.choice(GUESTS)
        self.write(SERVICES, name, None, lambda api: api.call("DELETE", SERVICES + "/" + name))

    def graph_comes(self):
        self.apply(GRAPHS, graph("pair", self.next_step(), self.random.choice([["always", "split"], ["rolled", "always"]])))

    def graph_goes(self):
        self.write(GRAPHS, "pair", None, lambda api: api.call("DELETE", GRAPHS + "/pair"))

    def replica_goes(self):
        """Users may delete a replica: another one follows, which is ready first."""
        status, found = self.api.call("GET", REPLICAS)
        names = [each["metadata"]["name"] for each in found["items"]] if status == 200 else []
        if names:
            status, answer = self.api.call("DELETE", REPLICAS + "/" + self.random.choice(names))
            assert status in (200, 404), answer

    WISHES = {change_rolled: 5, undo: 3, canary: 3, promote: 2, scale_it: 4, guest_comes: 3, guest_goes: 3, graph_comes: 2,
              graph_goes: 1, replica_goes: 1}

    def begin(self):
        """What stands from now on."""
        for name in (*STANDING, "sleeper"):
            self.change(name)
        self.graph_comes()

    def settle(self):
        """Nothing is taken back any more, and the last version of each is what is to run."""
        self.change("rolled")
        while len(self.ledger.states((SERVICES, "rolled"))) > 1:
            self.change("rolled")

    def take_all_away(self):
        for path in (GRAPHS, SERVICES):
            for name in list(self.ledger.wanted(path)):
                while True:
                    self.write(path, name, None, lambda api: api.call("DELETE", path + "/" + name))
                    if self.ledger.states((path, name))[-1].body is None and len(self.ledger.states((path, name))) == 1:
                        break

    def work(self, ended):
        """Until `ended`; a failed expectation is kept in `problem`."""
        wishes = list(self.WISHES)
        try:
            while not ended.wait(self.random.choice([0, 0.02, 0.1, 0.3])):
                wish = self.random.choices(wishes, [self.WISHES[each] for each in wishes])[0]
                try:
                    wish(self)
                except Unanswered:
                    pass  # what it read first
                self.done[wish.__name__] = self.done.get(wish.__name__, 0) + 1
        except Exception as e:  # noqa: BLE001
            self.problem = e


class Load:
    """A light, steady load on what is to be up: each request on a connection of its own."""

    def __init__(self, up, names, clients=2, pause=0.08):
        self.up, self.names, self.pause = up, names, pause
        self.ended, self.lock = threading.Event(), threading.Lock()
        self.answered, self.problems = {}, []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, name):
        try:
            status, body = self.up.request({"model": name, "prompt": "Once upon", "max_tokens": 4})
            problem = None if status == 200 else "%s: %d %s" % (name, status, body[:300])
        except OSError as e:
            problem = "%s: %r" % (name, e)
        with self.lock:
            if problem:
                self.problems.append(problem)
            else:
                self.answered[name] = self.answered.get(name, 0) + 1

    def run(self, number):
        choose = random.Random(number)
        while not self.ended.wait(self.pause):
            self.ask(choose.choice(self.names))

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(90)
        return self
