"""Three services of the platform in one process that has room for two of their models."""
import os
import re
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
sys.path.insert(0, os.path.join(HERE, "..", "up"))
from open_load import OpenLoad  # noqa: E402
from platform_process import MODEL, Platform, service, wait_for  # noqa: E402

RATE = 10  # requests a second, while services come and go
NAMES = ("one", "two", "three")


def has(text, *parts):
    for part in parts:
        assert part in text, (part, text)


def manifest(names, arguments, spec="sluice: {shareProcess: true}"):
    return "---\n".join(service(name, spec, arguments, minReplicas=1) for name in names)


def stable(up, name):
    status = up.get("isvc", name).get("status", {})
    return status.get("sluice", {}).get("rollout", {}).get("stable", "")


def models(up, name):
    """Of the revision that serves it; none while it is not served."""
    revision = stable(up, name)
    return [each["name"] for each in up.get("rev", revision)["spec"].get("models", [])] if revision else []


def metric(up, name, labels=""):
    """Of the one replica that there is."""
    (replica,) = up.get("rep")["items"]
    path = "/apis/sluice.dev/v1alpha1/namespaces/default/replicas/%s/metrics" % replica["metadata"]["name"]
    status, text = up.api_text("GET", path)
    assert status == 200, text
    lines = re.findall("^%s(?:{([^}]*)})? ([0-9.e+]+)$" % name, text, re.MULTILINE)
    return sum(float(value) for found, value in lines if labels in found)


def settles(up, names):
    """All of them, and nobody else, are models of the one process."""
    wait_for(lambda: all(models(up, name) == sorted(names) for name in names), 60)
    wait_for(lambda: len(up.get("rep")["items"]) == 1 and len(up.replica_pids()) == 1)
    assert len({stable(up, name) for name in names}) == 1


def on_demand(up):
    texts = {up.answer(name) for name in NAMES + NAMES}
    assert len(texts) == 1, "one file, one answer: %r" % texts
    assert metric(up, "sluice_model_unloads_total", 'reason="evicted"') >= 1
    assert metric(up, "sluice_models_loaded") == 2
    assert metric(up, "sluice_model_memory_bytes") <= metric(up, "sluice_model_memory_budget_bytes")
    assert up.request({"model": "four", "prompt": "x"})[0] == 404


def what_is_shown(up):
    """The name of the leader."""
    has(up.out("get", "isvc", "-o", "wide"), "PROCESSOF")
    leader = up.get("isvc", "one")["status"]["sluice"]["leader"]
    other = next(name for name in NAMES if name != leader)
    has(up.out("describe", "isvc", other), "ProcessShared", "served by the process of " + leader, "Events:")
    assert up.out("logs", "isvc/" + other).strip(), "the log of the process"
    conditions = {each["type"]: each for each in up.get("isvc", other)["status"]["conditions"]}
    assert conditions["Ready"]["reason"] == "ProcessShared", conditions
    return leader


def changes(up, arguments, leader):
    """The leader goes, another service comes and goes: nobody else notices. Who is left."""
    stay = [name for name in NAMES if name != leader]
    load = OpenLoad(lambda source: up.answer(source.choice(stay)), RATE)
    try:
        up.out("delete", "isvc", leader)
        settles(up, stay)
        assert stable(up, stay[0]).startswith(tuple(stay)), "another one leads"
        up.out("apply", "-f", "-", "--wait", stdin=manifest(["four"], arguments))
        settles(up, stay + ["four"])
        up.answer("four")
        up.out("delete", "isvc", "four")
        settles(up, stay)
    finally:
        load.stop()
    load.check()
    print("  %d requests meanwhile" % load.answered)
    return stay


def ready(up, name):
    conditions = up.get("isvc", name).get("status", {}).get("conditions", [])
    return next(((each["status"], each.get("reason"), each.get("message", ""))
                 for each in conditions if each["type"] == "Ready"), ("", "", ""))


def unreadable(up, arguments, stay):
    """A file that is no model is told by its service, and nobody else notices; a good one in its place is found."""
    path = os.path.join(up.folder, "four.gguf")
    with open(MODEL, "rb") as whole, open(path, "wb") as out:
        out.write(whole.read(5000))
    up.out("apply", "-f", "-", stdin=service("four", "sluice: {shareProcess: true}", arguments, model=path, minReplicas=1))
    wait_for(lambda: ready(up, "four")[:2] == ("False", "ModelLoadFailed"))
    has(ready(up, "four")[2], path)
    settles(up, stay)
    shutil.copy(MODEL, path)
    wait_for(lambda: ready(up, "four")[0] == "True", 30)
    settles(up, stay + ["four"])
    up.answer("four")
    up.out("delete", "isvc", "four")
    settles(up, stay)


def too_large(up, arguments, stay):
    """A model whose weights alone are more than its process may hold is told by its service."""
    little = list(arguments)
    little[little.index("--model-memory-bytes") + 1] = "1M"
    up.out("apply", "-f", "-", stdin=manifest(["five"], little))
    wait_for(lambda: ready(up, "five")[:2] == ("False", "ModelLoadFailed"))
    has(ready(up, "five")[2], MODEL, "may take 1.0 MiB", "--model-memory-bytes")
    up.out("delete", "isvc", "five")
    settles(up, stay)


def on_the_platform(options):
    at = options.index("--model-repository")
    arguments = list(options[:at] + options[at + 2:])
    with Platform() as up:
        up.out("apply", "-f", "-", "--wait", stdin=manifest(NAMES, arguments))
        settles(up, NAMES)
        on_demand(up)
        stay = changes(up, arguments, what_is_shown(up))
        unreadable(up, arguments, stay)
        too_large(up, arguments, stay)
        told = up.run("apply", "-f", "-", stdin=manifest(["two"], arguments, "sluice: {shareProcess: true, rollout: {}}"))
        has(told.stdout + told.stderr, "spec.sluice.shareProcess has no effect beside spec.sluice.rollout")
        assert up.stop() == 0
