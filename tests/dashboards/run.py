"""Rules and dashboards of deploy/ against the metrics that real processes show, and those that docs/metrics.md names."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
sys.path.insert(0, os.path.join(HERE, "..", "control"))
import cases  # noqa: E402
from kubectl import Api, Controller  # noqa: E402
from server import Server  # noqa: E402

RULES = "deploy/prometheus/sluice.rules.yaml"
METRIC = re.compile(r"\bsluice_[a-z0-9_]+")
# PromQL's own words, and what Prometheus and Grafana add.
LABELS = {"le", "job", "instance"}
SUFFIXES = ("_bucket", "_sum", "_count")


def base(name, known):
    """The metric that a series belongs to."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name[:-len(suffix)] in known:
            return name[:-len(suffix)]
    return name


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def documented():
    """Metrics of docs/metrics.md with their labels."""
    found = {}
    for line in read("docs/metrics.md").split("\n"):
        if not line.startswith("|"):
            continue
        cells = line.split("|")[1]
        for name, labels in re.findall(r"`(sluice_[a-z0-9_]+)(?:\{([^}]*)\})?`", cells):
            found.setdefault(name, set()).update(word.strip() for word in labels.split(",") if word.strip())
            if "`…_hits_total`" in cells:
                found.setdefault("sluice_prefix_cache_hits_total", set())
    return found


def shown(page):
    """Metrics of a /metrics page with their labels."""
    found = {}
    for line in page.split("\n"):
        match = re.match(r"# TYPE (\S+)", line)
        if match:
            found.setdefault(match.group(1), set())
    for line in page.split("\n"):
        match = re.match(r"(sluice_[a-z0-9_]+)(?:\{(.*)\})? ", line)
        if match:
            labels = set(re.findall(r"([a-z_]+)=\"", match.group(2) or ""))
            found.setdefault(base(match.group(1), found), set()).update(labels)
    return found


def expressions():
    """Every expression of rules and dashboards, with where it stands."""
    for number, line in enumerate(read(RULES).split("\n"), 1):
        if METRIC.search(line) and not re.match(r"\s*(summary|action):", line):
            yield "%s:%d" % (RULES, number), line
    for path in sorted(glob.glob("deploy/grafana/*.json")):
        for panel in json.loads(read(path))["panels"]:
            for target in panel.get("targets", []):
                yield "%s, %s" % (path, panel["title"]), target["expr"]


def labels_of(expression):
    """Metrics of an expression with the labels that it takes from them."""
    grouped = {word.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for word in group.split(",")}
    for name, selector in re.findall(r"\b(sluice_[a-z0-9_]+)(?:\{([^}]*)\})?", expression):
        yield name, (grouped | set(re.findall(r"([a-z_]+)(?:=|!=|=~|!~)\"", selector))) - LABELS


def rules_are_good():
    for command in (["check", "rules", os.path.basename(RULES)], ["test", "rules", "sluice.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd="deploy/prometheus", capture_output=True, text=True)
        assert done.returncode == 0 and "FAILED" not in done.stdout, done.stdout + done.stderr


def every_alert_is_tested():
    alerts = set(re.findall(r"alert: (\w+)", read(RULES)))
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", read("deploy/prometheus/sluice.test.yaml")))
    assert alerts == fired, alerts ^ fired
    for alert in re.split(r"- alert: ", read(RULES))[1:]:
        assert "summary:" in alert and "action:" in alert, alert


def names_are_documented():
    known = documented()
    assert len(known) > 60, known
    for place, expression in expressions():
        for name, labels in labels_of(expression):
            metric = base(name, known)
            assert metric in known, "%s: docs/metrics.md has no %s" % (place, metric)


def names_are_real():
    """Each metric is on a page, or, where it only appears with its first event, in the documents with these labels."""
    known = {}
    body = json.dumps({"model": "story", "prompt": "Once upon a time", "max_tokens": 4}).encode()
    with tempfile.TemporaryDirectory() as folder, Server(["--internal-token", "inside"]) as replica, Controller() as controller:
        path = os.path.join(folder, "gateway.json")
        with open(path, "w") as f:
            json.dump({"listen": "127.0.0.1:0", "usage": {"path": os.path.join(folder, "usage.db")},
                       "server": {"metrics_public": True},
                       "upstreams": [{"name": "story", "kind": "sluice", "internal_token": {"env": "STORY_TOKEN"},
                                      "endpoints": [{"url": replica.url}]}],
                       "routes": [{"name": "story", "public": True, "match": {"models": ["story"]},
                                   "targets": [{"upstream": "story"}]}]}, f)
        with Server(command=("gateway", "--config", path), env=dict(os.environ, STORY_TOKEN="inside")) as front:
            request = urllib.request.Request(front.url + "/v1/completions", body, {"Content-Type": "application/json"})
            assert json.load(urllib.request.urlopen(request, timeout=60))["choices"]
            pages = [urllib.request.urlopen(url + "/metrics?view=native", timeout=30).read().decode()
                     for url in (replica.url, front.url)]
        api = Api(controller)
        assert api.call("GET", "/api/v1/namespaces")[0] == 200
        made = api.json("POST", "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices", json.dumps({
            "metadata": {"name": "story"}, "spec": {"predictor": {"minReplicas": 0, "model": {
                "modelFormat": {"name": "gguf"}, "storageUri": "file://" + os.path.abspath("models/story.gguf")}}}}))
        assert made[0] == 201, made
        pages.append(api.call("GET", "/metrics")[1].decode())
        done = subprocess.run(["promtool", "check", "metrics"], input=pages[-1], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    for page in pages:
        for name, labels in shown(page).items():
            known.setdefault(name, set()).update(labels)
    described = documented()
    missing = set()
    for place, expression in expressions():
        for name, labels in labels_of(expression):
            metric = base(name, dict(known, **described))
            if metric in known and known[metric]:
                assert labels <= known[metric], "%s: %s has the labels %s, not %s" % (place, metric, known[metric], labels)
            elif metric not in known:
                missing.add(metric)
                assert labels <= described.get(metric, set()), "%s: %s has no %s" % (place, metric, labels)
    assert len(missing) < 16, missing


def dashboards_are_written():
    before = {path: read(path) for path in glob.glob("deploy/grafana/*.json")}
    sys.path.insert(0, "deploy/grafana")
    import make
    for name, what in make.DASHBOARDS.items():
        wanted = json.dumps(make.dashboard(*what), indent=1) + "\n"
        assert before["deploy/grafana/" + name] == wanted, name + ": write it anew with deploy/grafana/make.py"
    for path, text in before.items():
        ids = [panel["id"] for panel in json.loads(text)["panels"]]
        assert len(ids) == len(set(ids)), path


CASES = [rules_are_good, every_alert_is_tested, names_are_documented, names_are_real, dashboards_are_written]

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
