"""Prometheus, configured by deploy/prometheus/scrape.example.yaml with nothing changed but addresses, files and periods, beside a platform that
answers requests."""
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("../http", "../up"):
    sys.path.insert(0, os.path.join(HERE, folder))
import cases  # noqa: E402
from open_load import OpenLoad  # noqa: E402
from platform_process import Platform, wait_for  # noqa: E402

LONG = "--long" in sys.argv
SECONDS = 300 if LONG else 10
EXAMPLE = "deploy/prometheus/scrape.example.yaml"
RULES = "deploy/prometheus/sluice.rules.yaml"
QUICKSTART = "examples/quickstart"
MODELS = ("story", "tale", "two-parts")


def configuration(up, folder):
    """The example with the addresses and files of `up`."""
    with open(up.kubeconfig + "-view") as f:
        token = re.search(r"token: (\S+)", f.read()).group(1)
    control_token = os.path.join(folder, "control-token")
    with open(control_token, "w") as f:
        f.write(token)
    shutil.copy(RULES, folder)
    with open(EXAMPLE) as f:
        text = f.read()
    for old, new in (("127.0.0.1:8000", "127.0.0.1:%d" % up.port), ("127.0.0.1:8001", "127.0.0.1:%d" % up.control_port),
                     ("/etc/prometheus/sluice-control.crt", os.path.join(up.data, "tls.crt")),
                     ("/etc/prometheus/sluice-control-token", control_token),
                     ("    authorization: {credentials_file: /etc/prometheus/sluice-admin-key}    # not with metrics_public\n", "")):
        assert old in text, (EXAMPLE, old)
        text = text.replace(old, new)
    text, count = re.subn(r"(scrape_interval|refresh_interval): \d+s", r"\1: 1s", text)
    assert count >= 3, text
    path = os.path.join(folder, "prometheus.yaml")
    with open(path, "w") as f:
        f.write("global: {evaluation_interval: 1s}\n" + text)
    done = subprocess.run(["promtool", "check", "config", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


class Prometheus:
    def __init__(self, config, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = "http://127.0.0.1:%d" % port
        self.log_path = os.path.join(folder, "prometheus.log")
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=" + config, "--storage.tsdb.path=" + os.path.join(folder, "tsdb"),
                 "--web.listen-address=127.0.0.1:%d" % port, "--log.format=json"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        wait_for(self.is_ready)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    def is_ready(self):
        assert self.process.poll() is None, self.complaints()
        try:
            return urllib.request.urlopen(self.url + "/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def get(self, path, **query):
        found = urllib.request.urlopen("%s/api/v1/%s?%s" % (self.url, path, urllib.parse.urlencode(query)), timeout=30)
        return json.load(found)["data"]

    def query(self, expression):
        return [(each["metric"], float(each["value"][1])) for each in self.get("query", query=expression)["result"]]

    def complaints(self):
        """Lines of its own log that are more than news."""
        out = []
        with open(self.log_path) as f:
            for line in f:
                try:
                    level = json.loads(line).get("level")
                except ValueError:
                    level = "none"
                if level not in ("info", "debug"):
                    out.append(line.strip())
        return out


def pages(up):
    """Every page of metrics that there is: the gateway's, the controller's, each replica's."""
    with open(up.kubeconfig + "-view") as f:
        token = re.search(r"token: (\S+)", f.read()).group(1)

    def fetch(connection, path, **headers):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, (path, response.status, text)
        return text
    yield "gateway", fetch(http.client.HTTPConnection("127.0.0.1", up.port), "/metrics")
    context = ssl.create_default_context(cafile=os.path.join(up.data, "tls.crt"))
    bearer = {"Authorization": "Bearer " + token}
    control = http.client.HTTPSConnection("127.0.0.1", up.control_port, context=context)
    yield "controller", fetch(control, "/metrics", **bearer)
    for target in json.loads(fetch(control, "/metrics/targets", **bearer)):
        yield target["labels"]["replica"], fetch(control, target["labels"]["__metrics_path__"], **bearer)


def own_part(page):
    """Without vLLM's names, which are not ours to choose."""
    return "".join(line + "\n" for line in page.splitlines() if not re.match(r"(# \w+ )?vllm:", line))


def every_page_is_clean(up):
    seen = dict(pages(up))
    assert len(seen) == 5, sorted(seen)
    for name, page in seen.items():
        done = subprocess.run(["promtool", "check", "metrics"], input=own_part(page), capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr.strip(), (name, done.stderr)


def prometheus_is_content():
    with tempfile.TemporaryDirectory() as folder, Platform([QUICKSTART], ["--metrics-public"]) as up:
        count = [0]

        def one(source):
            count[0] += 1
            status, text = up.request({"model": source.choice(MODELS), "prompt": "Once upon a time", "max_tokens": 24,
                                       "stream": source.random() < 0.5})
            assert status == 200 and '"error"' not in text, (status, text[-300:])
        load = OpenLoad(one, 4)
        with Prometheus(configuration(up, folder), folder) as prometheus:
            wanted = 2 + 3  # gateway, controller, a replica of each predictor
            try:
                wait_for(lambda: len(prometheus.query("up == 1")) == wanted)
            except AssertionError:
                raise AssertionError("targets: %s, log: %s" % ([
                    (each["scrapeUrl"], each["health"], each["lastError"]) for each in prometheus.get("targets")["activeTargets"]],
                    prometheus.complaints()[:3])) from None
            settled = time.time()
            time.sleep(SECONDS)
            load.stop().check()
            watch = "%ds" % (time.time() - settled)
            targets = prometheus.get("targets")["activeTargets"]
            for each in targets:
                assert each["health"] == "up" and not each["lastError"], each
            assert len(targets) == wanted, [each["labels"] for each in targets]
            assert [value for _, value in prometheus.query("min_over_time(up[%s])" % watch)] == [1] * wanted
            rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
            assert len(rules) > 20, len(rules)
            for rule in rules:
                assert rule["health"] == "ok" and not rule.get("lastError"), rule
            alerts = prometheus.get("alerts")["alerts"]
            assert not alerts, alerts
            assert not prometheus.query("max_over_time(ALERTS[%s])" % watch), "an alert came and went"
            # The figures are those of the load.
            asked = sum(value for _, value in prometheus.query("sum(sluice_gateway_requests_total)"))
            assert asked >= load.asked, (asked, load.asked)
            tokens = 'sum by (service) (sluice_generation_tokens_total{replica!=""})'
            services = {metric["service"] for metric, _ in prometheus.query(tokens)}
            assert services == {"story", "tale"}, services
            failed = prometheus.query("sum(increase(prometheus_rule_evaluation_failures_total[%s]))" % watch)
            assert not [value for _, value in failed if value], failed
            print("  %s of scrapes of %d targets, %d rules, %d requests" % (watch, wanted, len(rules), load.asked))
            assert not prometheus.complaints(), prometheus.complaints()[:5]
        every_page_is_clean(up)


CASES = [prometheus_is_content]

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
