#!/usr/bin/python3
"""The control plane with many InferenceServices: applies one after another, lists, what it takes while idle.

Run: bench/control_plane.py [--services 1000]. SLUICE names the binary. Client and server share the machine's cores.
The reconcilers go on with what was applied while the lists are timed; they are waited for before idleness is measured,
and how long that took is a row of its own. --hub: models of a hub that does not answer, one for each service.
"""
import argparse
import json
import os
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "control"))
from kubectl import Api, Controller  # noqa: E402

MODEL = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "story.gguf"))
PATH = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Client(Api):
    def timed(self, method, path, body=None, **headers):
        """Milliseconds until the answer was read, and the answer."""
        began = time.perf_counter()
        status, text = self.call(method, path, body, **headers)
        took = (time.perf_counter() - began) * 1000
        assert status in (200, 201), (status, text)
        return took, text


def service(number, most, hub):
    uri = "hf://nobody/model-%d/model.gguf" % number if hub else "file://" + MODEL
    model = {"modelFormat": {"name": "gguf"}, "storageUri": uri,
             "args": ["--max-model-len", "4096"], "env": [{"name": "A", "value": "1"}],
             "resources": {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "1", "memory": "4Gi"}}}
    return json.dumps({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
                       "metadata": {"name": "s%04d" % number, "labels": {"team": "t%d" % (number % 10)}},
                       "spec": {"predictor": {"minReplicas": 0, "maxReplicas": most, "scaleMetric": "concurrency",
                                              "scaleTarget": 4, "model": model}}})


def applies(client, count, most, hub=False):
    """Server-side applies, one after another."""
    times = []
    for number in range(count):
        took, _ = client.timed("PATCH", "%s/s%04d?fieldManager=bench" % (PATH, number), service(number, most, hub),
                              Content_Type="application/apply-patch+yaml")
        times.append(took)
    return times


def row(name, times):
    times = sorted(times)
    print("%-44s median %7.2f ms   99 %% %7.2f ms   worst %7.2f ms" %
          (name, statistics.median(times), times[int(len(times) * 0.99)], times[-1]), flush=True)


def stat(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(") ", 1)[1].split()
    with open("/proc/%d/status" % pid) as f:
        resident = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident / 1024


def wait_until_settled(pid, patience=180):
    """Until two seconds pass without work; the seconds until then, and what of a core's were used."""
    began, (first, _) = time.monotonic(), stat(pid)
    quiet_since, used = time.monotonic(), first
    while time.monotonic() - began < patience:
        time.sleep(0.5)
        now, _ = stat(pid)
        if now - used > 0.02:
            quiet_since = time.monotonic()
        used = now
        if time.monotonic() - quiet_since >= 2:
            break
    return quiet_since - began, used - first


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--hub", action="store_true")
    options = parser.parse_args()
    with Controller() as controller:
        client = Client(controller)
        row("%d applies, new" % options.services, applies(client, options.services, 3, options.hub))
        row("%d applies, changed" % options.services, applies(client, options.services, 4, options.hub))
        row("%d applies, unchanged" % options.services, applies(client, options.services, 4, options.hub))
        took = [client.timed("GET", PATH) for _ in range(30)]
        row("list, whole objects (%.1f MB)" % (len(took[0][1]) / 1e6), [t for t, _ in took])
        row("list, as a table", [client.timed("GET", PATH, Accept=TABLE)[0] for _ in range(30)])
        row("list, by label", [client.timed("GET", PATH + "?labelSelector=team%3Dt3")[0] for _ in range(30)])
        row("get", [client.timed("GET", PATH + "/s0007")[0] for _ in range(200)])
        print("settled after %.1f s more, %.1f s of a core" % wait_until_settled(controller.process.pid), flush=True)
        before, _ = stat(controller.process.pid)
        time.sleep(options.idle_seconds)
        after, resident = stat(controller.process.pid)
        print("idle: %.2f %% of a core, %.0f MB resident" % ((after - before) / options.idle_seconds * 100, resident))


if __name__ == "__main__":
    main()
