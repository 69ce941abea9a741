"""The whole life cycle of objects by stock kubectl of several versions, and what must not work."""
import http.client
import json
import os
import random
import re
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kubectl import Api, Controller, Kubectl, programs  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "manifests", "demo.yaml")
KINDS = ["namespace/demo", "secret/storage-key", "serviceaccount/reader", "configmap/settings",
         "servingruntime.serving.kserve.io/sluice-gguf", "inferenceservice.serving.kserve.io/llama",
         "inferencegraph.serving.kserve.io/answer", "tenant.sluice.dev/search", "apikey.sluice.dev/search-key",
         "provider.sluice.dev/remote"]
ISVC = ("isvc", "llama", "-n", "demo")


def read(path):
    with open(path) as f:
        return f.read()


def service(name="x", predictor="", model="storageUri: hf://o/m"):
    return ("apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: %s}\nspec:\n  predictor:\n"
            "    %s\n    model:\n      modelFormat: {name: gguf}\n      %s\n" % (name, predictor or "minReplicas: 1", model))


def field(k, path, *what):
    return k.out("get", *(what or ISVC), "-o", "jsonpath={%s}" % path)


def has(text, *parts):
    for part in parts:
        assert part in text, (part, text)


def discovery(k, _):
    has(k.out("api-resources"), "inferenceservices", "isvc", "serving.kserve.io", "apikeys", "sluice.dev")
    has(k.out("version"), "Server Version")
    has(k.out("explain", "isvc.spec.predictor.model"), "modelFormat", "storageUri", "Where the model lies")
    has(k.out("explain", "ig.spec.nodes.steps", "--recursive"), "serviceName", "timeoutSeconds")
    has(k.out("explain", "secret.stringData"), "plain text")


def apply_and_read(k, _):
    has(k.out("apply", "-f", DEMO), *[kind + " created" for kind in KINDS])
    again = k.out("apply", "-f", DEMO)
    has(again, *[kind + " unchanged" for kind in KINDS if not kind.startswith("secret/")])
    wide = k.out("get", "isvc", "-n", "demo", "-o", "wide")
    has(wide, "NAME", "URL", "READY", "LATESTREADYREVISION", "RUNTIME", "hf://owner/model")
    assert "RUNTIME" not in k.out("get", "isvc", "-n", "demo")
    has(k.out("get", "all", "-n", "demo"), "inferenceservice.serving.kserve.io/llama", "provider.sluice.dev/remote")
    has(k.out("get", "ns,cm,secrets,sa,servingruntimes,tenants,apikeys", "-A"), "reader", "storage-key", "search-key")
    has(k.out("get", "isvc", "-A", "-l", "team=search", "--field-selector", "metadata.name=llama", "--no-headers"), "llama")
    assert k.out("get", "isvc", "-A", "-l", "team!=search", "--no-headers") == ""
    has(k.out("get", "isvc", "-A", "--sort-by=.metadata.name", "--chunk-size=1"), "llama")
    has(k.out("describe", *ISVC), "Storage Uri:", "hf://owner/model", "Events:")
    has(k.out("describe", "ns", "demo"), "Active")
    has(k.out("describe", "secret", "storage-key", "-n", "demo"), "HF_TOKEN:")
    assert json.loads(k.out("get", *ISVC, "-o", "json"))["spec"]["canary"][0]["trafficPercent"] == 10


def diff_and_dry_run(k, folder):
    assert k.run("diff", "-f", DEMO, status=None).returncode in (0, 1)
    changed = os.path.join(folder, "changed.yaml")
    with open(changed, "w") as f:
        f.write(read(DEMO).replace("maxReplicas: 3", "maxReplicas: 5"))
    shown = k.run("diff", "-f", changed, status=1).stdout
    has(shown, "-    maxReplicas: 3", "+    maxReplicas: 5")
    has(k.out("apply", "--dry-run=server", "-f", changed), "llama configured (server dry run)")
    assert field(k, ".spec.predictor.maxReplicas") == "3"
    has(k.out("apply", "-f", changed), "inferenceservice.serving.kserve.io/llama configured")
    assert field(k, ".spec.predictor.maxReplicas") == "5"
    assert field(k, ".metadata.generation") == "2"


def change(k, _):
    has(k.out("scale", *ISVC, "--replicas=2"), "scaled")
    assert field(k, ".spec.predictor['minReplicas','maxReplicas']") == "2 2"
    has(k.refused("scale", *ISVC, "--current-replicas=7", "--replicas=3"), "2")
    k.out("label", *ISVC, "tier=gold")
    k.out("annotate", *ISVC, "note=hello")
    k.out("patch", *ISVC, "--type=merge", "-p", '{"spec":{"predictor":{"maxReplicas":4}}}')
    k.out("patch", *ISVC, "--type=json", "-p", '[{"op":"replace","path":"/spec/predictor/minReplicas","value":0}]')
    k.out("patch", "cm", "settings", "-n", "demo", "-p", '{"data":{"more":"1"}}')
    has(k.refused("patch", *ISVC, "-p", '{"spec":{}}').lower(), "strategic")
    assert field(k, ".metadata.labels.tier") == "gold" and field(k, ".spec.predictor['minReplicas','maxReplicas']") == "0 4"
    k.out("edit", *ISVC, environment={"KUBE_EDITOR": "sed -i s/maxReplicas:.*/maxReplicas:\\ 6/"})
    assert field(k, ".spec.predictor.maxReplicas") == "6"
    k.out("label", *ISVC, "tier-")
    whole = k.out("get", *ISVC, "-o", "json")
    k.out("annotate", *ISVC, "note=again", "--overwrite")
    has(k.refused("replace", "-f", "-", stdin=whole), "the object has been modified")


def wait_and_watch(k, _):
    has(k.refused("wait", "--for=condition=Ready", "isvc/llama", "-n", "demo", "--timeout=1s"), "timed out")
    watch = k.start("get", "isvc", "-n", "demo", "-w", "--no-headers")
    waiting = k.start("wait", "--for=condition=Ready", "isvc/llama", "-n", "demo", "--timeout=20s")
    time.sleep(1)
    k.out("apply", "-f", "-", stdin=service("short-lived") .replace("metadata: {", "metadata: {namespace: demo, "))
    set_ready(k)
    assert waiting.wait(20) == 0, waiting.stdout.read()
    gone = k.start("wait", "--for=delete", "isvc/short-lived", "-n", "demo", "--timeout=20s")
    time.sleep(0.5)
    k.out("delete", "isvc", "short-lived", "-n", "demo")
    assert gone.wait(20) == 0, gone.stdout.read()
    time.sleep(0.5)
    watch.terminate()
    seen = watch.communicate()[0]
    has(seen, "short-lived", "http://llama.demo")
    assert re.search(r"llama\s+http://llama.demo\S*\s+True", seen), seen


def set_ready(k):
    """As a controller would: by the status subresource."""
    body = json.loads(k.out("get", *ISVC, "-o", "json"))
    body["status"] = {"url": "http://llama.demo", "conditions": [{"type": "Ready", "status": "True"}]}
    k.out("replace", "--raw", "/apis/serving.kserve.io/v1beta1/namespaces/demo/inferenceservices/llama/status", "-f", "-",
          stdin=json.dumps(body))


def server_side(k, _):
    def apply(manager, env, *more, call=None):
        text = ("apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: owned, namespace: demo}\n"
                "spec: {predictor: {model: {modelFormat: {name: gguf}, storageUri: 'hf://o/m', env: [%s]}}}\n" % env)
        return (call or k.out)("apply", "--server-side", "--field-manager=" + manager, "-f", "-", *more, stdin=text)

    has(apply("one", "{name: A, value: '1'}"), "serverside-applied")
    apply("two", "{name: B, value: '2'}")
    owned = ("isvc", "owned", "-n", "demo")
    assert field(k, ".spec.predictor.model.env[*].name", *owned) == "A B"
    has(apply("two", "{name: A, value: '9'}", call=k.refused), 'conflict with "one"', 'env[{"name":"A"}].value')
    apply("two", "{name: A, value: '9'}", "--force-conflicts")
    assert field(k, ".spec.predictor.model.env[*].value", *owned) == "9"
    apply("one", "")
    assert field(k, ".spec.predictor.model.env[*].name", *owned) == "A"
    k.out("delete", *owned)


def imperative(k, _):
    k.out("create", "namespace", "made")
    k.out("create", "secret", "generic", "s", "-n", "made", "--from-literal=k=value")
    k.out("create", "configmap", "c", "-n", "made", "--from-literal=k=value")
    k.out("create", "serviceaccount", "a", "-n", "made")
    assert field(k, ".data.k", "secret", "s", "-n", "made") == "dmFsdWU="
    k.out("delete", "secret,cm", "--all", "-n", "made")
    k.out("delete", "namespace", "made")
    has(k.refused("get", "ns", "made"), "NotFound")
    has(k.refused("delete", "namespace", "default"), "may not be deleted")


def refusals(k, _):
    for text, said in [(service(predictor="minReplica: 1"), "minReplica"),
                       (service(predictor="minReplicas: many"), "minReplicas"),
                       (service(predictor="sklearn: {}"), "modelFormat.name: sklearn"),
                       (service(model="storageUri: s3://b/m"), "s3:// is not supported yet"),
                       (service(name="Bad_Name"), "metadata.name"),
                       (service(predictor="minReplicas: 5\n    maxReplicas: 2"), "at least minReplicas"),
                       (graph("root: {routerType: Sequence, steps: [{nodeName: b}]}, b: {routerType: Sequence, "
                              "steps: [{nodeName: root}]}"), "circle"),
                       (graph("root: {routerType: Sequence, steps: [{nodeName: nowhere}]}"), "there is no node"),
                       (llm_service(), "storageUri: \"hf://Qwen/Qwen3-0.6B\"")]:
        has(k.refused("apply", "-f", "-", stdin=text), said)
    shown = k.run("apply", "-f", "-", stdin=service(name="warned", predictor="nodeSelector: {disk: ssd}"))
    has(shown.stderr, "Warning: spec.predictor.nodeSelector has no effect")
    k.out("delete", "isvc", "warned")


def graph(nodes):
    return ("apiVersion: serving.kserve.io/v1alpha1\nkind: InferenceGraph\nmetadata: {name: g}\nspec: {nodes: {%s}}\n" % nodes)


def llm_service():
    return ("apiVersion: serving.kserve.io/v1alpha1\nkind: LLMInferenceService\nmetadata: {name: qwen}\n"
            "spec: {replicas: 2, model: {uri: 'hf://Qwen/Qwen3-0.6B', name: qwen}}\n")


def delete_all(k, _):
    has(k.out("delete", "-f", DEMO), *['"%s" deleted' % kind.split("/")[1] for kind in KINDS])
    assert k.out("get", "isvc,ig,providers", "-A") == ""


LIFE = [discovery, apply_and_read, diff_and_dry_run, change, wait_and_watch, server_side, imperative, refusals, delete_all]


def roles(program):
    with Controller() as controller:
        admin = Kubectl(program, controller.kubeconfig())
        edit = Kubectl(program, controller.kubeconfig("edit"))
        view = Kubectl(program, controller.kubeconfig("view"))
        edit.out("apply", "-f", "-", stdin=service())
        view.out("get", "isvc")
        has(view.refused("get", "secrets"), "Forbidden", "role view")
        has(view.refused("delete", "isvc", "x"), "Forbidden")
        has(edit.refused("create", "ns", "n"), "Forbidden", "role edit")
        shell = service("shell", "containers: [{name: c, command: [/bin/sh]}]")
        has(edit.refused("apply", "-f", "-", stdin=shell), "allow-list")
        admin.out("apply", "-f", "-", stdin=shell)
        nobody = os.path.join(controller.folder, "nobody")
        with open(nobody, "w") as f:
            f.write(re.sub(r"token: .*", "token: wrong-token-of-nobody", read(controller.kubeconfig())))
        has(Kubectl(program, nobody).refused("get", "isvc"), "logged in to the server")
        log = [json.loads(line) for line in read(os.path.join(controller.folder, "audit.log")).splitlines()]
        assert any(e["user"] == "sluice-edit" and e["code"] == 403 for e in log), log
        assert any(e["code"] == 401 for e in log), log
        for path in ("kubeconfig", "kubeconfig-view", "tls.key", "control.db", "audit.log"):
            assert os.stat(os.path.join(controller.folder, path)).st_mode & 0o077 == 0, path


SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"


def body(name, replicas=1):
    return json.dumps({"metadata": {"name": name, "labels": {"n": str(replicas)}}, "spec": {"predictor": {
        "minReplicas": replicas, "maxReplicas": 1000,
        "model": {"modelFormat": {"name": "gguf"}, "storageUri": "hf://o/m"}}}})


def killed():
    """SIGKILL while objects are written: what was answered is there, and nothing is half written."""
    random.seed(5)
    answered, version = {}, 0
    with Controller() as controller:
        for _ in range(200 if "--long" in sys.argv else 10):
            timer = threading.Timer(random.uniform(0.01, 0.15), controller.process.kill)
            timer.start()
            api = Api(controller)
            tried = {}
            try:
                while True:
                    name, replicas = "s%d" % random.randrange(40), random.randrange(1000)
                    tried[name] = replicas
                    if random.random() < 0.2 and name in answered:
                        tried[name] = None
                        if api.call("DELETE", "%s/%s" % (SERVICES, name))[0] == 200:
                            answered.pop(name)
                    elif name in answered:
                        change = json.dumps({"spec": {"predictor": {"minReplicas": replicas}},
                                             "metadata": {"labels": {"n": str(replicas)}}})
                        status, made = api.json("PATCH", "%s/%s" % (SERVICES, name), change,
                                                Content_Type="application/merge-patch+json")
                        assert status == 200, made
                        answered[name] = replicas
                    else:
                        status, made = api.json("POST", SERVICES, body(name, replicas))
                        assert status == 201, made
                        answered[name] = replicas
                    tried.pop(name)
            except (OSError, http.client.HTTPException):
                pass
            timer.join()
            controller.process.wait()
            controller.start()
            there = Api(controller).json("GET", SERVICES)[1]
            assert int(there["metadata"]["resourceVersion"]) >= version, (version, there["metadata"])
            version = int(there["metadata"]["resourceVersion"])
            found = {}
            for item in there["items"]:
                replicas = item["spec"]["predictor"]["minReplicas"]
                assert item["metadata"]["labels"]["n"] == str(replicas), item
                assert int(item["metadata"]["resourceVersion"]) <= version, item
                found[item["metadata"]["name"]] = replicas
            # What was under way at the kill may have happened or not.
            for name, wanted in tried.items():
                assert found.get(name) in (wanted, answered.get(name)), (name, wanted, found.get(name))
                answered.pop(name, None)
                if name in found:
                    answered[name] = found[name]
            assert found == answered, (found, answered)


def full_disk():
    """A write that does not fit is answered with an error; reads go on; nothing that was answered is lost."""
    with Controller(file_bytes=600_000) as controller:
        api = Api(controller)
        made = 0
        while True:
            status, answer = api.json("POST", SERVICES, body("s%d" % made))
            if status != 201:
                break
            made += 1
            assert made < 5000
        assert status == 500 and "nothing was changed" in answer["message"], answer
        there = api.json("GET", SERVICES)[1]["items"]
        assert len(there) == made > 10, (len(there), made)
        controller.stop(kill=True)
        controller.file_bytes = None
        controller.start()
        assert len(Api(controller).json("GET", SERVICES)[1]["items"]) == made
        assert Api(controller).json("POST", SERVICES, body("s%d" % made))[0] == 201


def damaged_and_locked():
    """What cannot be read is refused by name, and one folder has one controller."""
    with Controller() as controller:
        other = Controller(folder=controller.folder)
        try:
            other.start()
            raise AssertionError("two controllers on one folder")
        except AssertionError as e:
            has(str(e), "another controller uses")
        controller.stop()
        path = os.path.join(controller.folder, "control.db")
        with open(path, "r+b") as f:
            f.seek(0)
            f.write(b"x" * 4096)
        try:
            controller.start()
            raise AssertionError("a damaged file was taken")
        except AssertionError as e:
            has(str(e), "control.db", "restore the file from a backup")


def main():
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    found, missing = programs()
    passed = failed = 0

    def attempt(label, case, *arguments):
        nonlocal passed, failed
        if wanted and case.__name__ not in wanted:
            return
        began = time.monotonic()
        try:
            case(*arguments)
            passed += 1
            print("%s: %.1f s" % (label, time.monotonic() - began), flush=True)
        except Exception as e:  # noqa: BLE001
            failed += 1
            print("failed: %s: %r" % (label, e), flush=True)

    for name, program in found.items():
        with Controller() as controller:
            k = Kubectl(program, controller.kubeconfig())
            for case in LIFE:
                attempt("%s: %s" % (name, case.__name__), case, k, controller.folder)
            k.close()
    if found:
        newest = list(found.values())[-1]
        attempt("roles", roles, newest)
    for case in (killed, full_disk, damaged_and_locked):
        attempt(case.__name__, case)
    for line in missing:
        print("skipped: " + line)
    print("%d passed, %d failed, %d skipped" % (passed, failed, len(missing)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
