"""The gateway as a process, before scripted servers and real runtimes.
  run.py [--long]     SLUICE names the binary"""
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from front import BINARY, Front, Scripted, plan, upstream  # noqa: E402
import cases  # noqa: E402
from server import MODEL, Server  # noqa: E402

LONG = "--long" in sys.argv
ASK = {"model": "story", "prompt": "Once upon a time", "max_tokens": 12, "temperature": 0, "ignore_eos": True}
RUNTIME = ["--threads", "1", "--kv-cache-memory-bytes", "64M"]


def shares(front, count, body=None, headers=None):
    """How often each server answered `count` requests on one connection."""
    connection = front.connect()
    counts = collections.Counter()
    for _ in range(count):
        status, answer = front.post(body or {"model": "m"}, headers, connection=connection)
        assert status == 200, (status, answer)
        counts[json.loads(answer)["who"]] += 1
    return counts


def balances():
    servers = [Scripted("s%d" % i) for i in range(3)]
    route = "  - {name: r, public: true, policy: %s, targets: [{upstream: u}]}\n"
    with Front(plan([upstream("u", [s.url for s in servers])], route % "round_robin")) as front:
        assert set(shares(front, 30).values()) == {10}
        for policy in ("least_outstanding", "power_of_two", "prefix_affinity", "weighted_round_robin"):
            front.reload(plan([upstream("u", [s.url for s in servers])], route % policy))
            shares(front, 10)
        page = front.get("/metrics")[1]
        tool = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        assert tool.returncode == 0 and not tool.stderr.strip(), tool.stderr
        assert front.metric("sluice_gateway_decisions_total{") == 70
        for policy, count in (("round_robin", 30), ("power_of_two", 10), ("weighted_round_robin", 10)):
            found = [line for line in front.get("/metrics")[1].splitlines()
                     if line.startswith("sluice_gateway_decisions_total{") and 'policy="%s"' % policy in line]
            assert sum(float(line.rsplit(" ", 1)[1]) for line in found) == count, found


def splits_exactly():
    count = 10_000 if LONG else 1_000
    a, b = Scripted("a"), Scripted("b")
    targets = '[{upstream: a, weight: 90}, {upstream: b, weight: 10, model: next}]'
    with Front(plan([upstream("a", [a.url]), upstream("b", [b.url])],
                    "  - {name: r, public: true, targets: %s}\n" % targets)) as front:
        counts = shares(front, count)
        assert abs(counts["b"] - count / 10) <= count / 100, counts
    assert {body["model"] for _, _, body in b.requests} == {"next"}


def sticks_over_reloads():
    servers = [Scripted("s%d" % i) for i in range(4)]
    targets = "[%s]" % ", ".join("{upstream: u%d}" % i for i in range(4))
    config = plan([upstream("u%d" % i, [s.url]) for i, s in enumerate(servers)],
                  "  - {name: r, public: true, sticky: {by: user}, targets: %s}\n" % targets)
    with Front(config) as front:
        connection = front.connect()

        def homes():
            return [front.post({"model": "m", "user": "user %d" % i}, connection=connection)[1] for i in range(40)]
        before = homes()
        assert len(set(before)) == 4
        front.reload(config + "# changed\n")
        assert homes() == before


def reloads_good_and_refuses_bad():
    a, b = Scripted("a"), Scripted("b")
    route = "  - {name: r, public: true, targets: [{upstream: u}]}\n"
    with Front(plan([upstream("u", [a.url])], route)) as front:
        assert shares(front, 3)["a"] == 3
        assert b"taken" in front.reload(plan([upstream("u", [b.url])], route)).group(0)
        assert shares(front, 3)["b"] == 3
        told = front.reload(plan([upstream("u", [a.url])], route + "    polcy: x\n")).group(0)
        assert b"refused" in told and b"gateway.yaml:" in told, told
        told = front.reload(plan([upstream("u", [a.url])], route.replace("targets", "targts"))).group(0)
        assert b"refused" in told and b"targts" in told, told
        assert shares(front, 3)["b"] == 3
        assert front.metric('sluice_gateway_config_reloads_total{result="refused"}') == 2
        front.reload(plan([upstream("u", [a.url])], route))
        assert shares(front, 3)["a"] == 3
        # Unchanged, because somebody says so.
        front.process.send_signal(1)
        front.wait_for_log(rb"configuration taken")
        assert shares(front, 3)["a"] == 3


def reloads_lose_nothing():
    a, b = Scripted("a"), Scripted("b")
    route = "  - {name: r, public: true, targets: [{upstream: u}]}\n"
    configs = [plan([upstream("u", [s.url])], route) for s in (a, b)]
    with Front(configs[0]) as front:
        failures, stop = [], threading.Event()

        def load():
            connection = front.connect()
            while not stop.is_set():
                status, answer = front.post({"model": "m"}, connection=connection)
                if status != 200:
                    failures.append((status, answer))
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for i in range(10):
            front.reload(configs[i % 2])
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]


def survives_a_killed_replica():
    with Server(RUNTIME) as one, Server(RUNTIME) as two:
        route = "  - {name: r, public: true, policy: round_robin, match: {models: [story]}, targets: [{upstream: u}]}\n"
        with Front(plan([upstream("u", [one.url, two.url])], route)) as front:
            front.wait_ready()
            wanted = front.post(ASK)
            assert wanted[0] == 200, wanted
            text = json.loads(wanted[1])["choices"][0]["text"]
            one.process.kill()
            for _ in range(10):
                status, answer = front.post(ASK)
                assert status == 200 and json.loads(answer)["choices"][0]["text"] == text, (status, answer)
            assert front.metric('sluice_gateway_replicas_usable{upstream="u"}') == 1
            two.process.kill()
            two.process.wait()
            status, answer = front.post(ASK)
            assert status == 503 and "error" in json.loads(answer), (status, answer)


def streams_pass_through():
    def event_text(raw):
        return "".join(json.loads(line[6:])["choices"][0]["text"] for line in raw.split("\n")
                       if line.startswith("data: {"))
    body = dict(ASK, stream=True, max_tokens=64)
    with Server(RUNTIME) as server:
        route = "  - {name: r, public: true, match: {models: [tale]}, targets: [{upstream: u, model: story}]}\n"
        with Front(plan([upstream("u", [server.url])], route)) as front:
            status, raw = front.post(dict(body, model="tale"))
            direct = Front.post(front, body, connection=__import__("http.client").client.HTTPConnection(
                "127.0.0.1", server.port, timeout=30))[1]
            assert status == 200 and raw.rstrip().endswith("[DONE]")
            assert event_text(raw) == event_text(direct) != ""
            # The client that leaves frees the runtime.
            connection = front.connect()
            connection.request("POST", "/v1/completions", json.dumps(dict(body, model="tale", max_tokens=900)),
                               {"Content-Type": "application/json"})
            connection.getresponse().read1(100)
            connection.close()
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and front.metric('sluice_gateway_outstanding_requests{upstream="u"}') > 0:
                time.sleep(0.05)
            assert front.metric('sluice_gateway_outstanding_requests{upstream="u"}') == 0
            assert front.metric('sluice_gateway_requests_total{model="tale",route="r",status="499"}') == 1


def prompts_go_where_their_blocks_are():
    """What the gateway did not send there itself, too; and again after the replica has begun anew."""
    token = {"SLUICE_INTERNAL_TOKEN": "t"}
    prompt = "Once upon a time there was a dog that ran to the sun and saw a cat. " * 6
    ask = {"model": "story", "prompt": prompt, "max_tokens": 4, "temperature": 0}

    def hits(port):
        page = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port).read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.split("\n")
                   if line.startswith("sluice_prefix_cache_hits_total"))

    def direct(port):
        body = json.dumps(ask).encode()
        request = urllib.request.Request("http://127.0.0.1:%d/v1/completions" % port, body, {"Content-Type": "application/json"})
        return json.loads(urllib.request.urlopen(request).read())["choices"][0]["text"]
    env = dict(os.environ, **token)
    with Server(RUNTIME, env=env) as one, Server(RUNTIME, env=env) as two:
        sluice = ", kind: sluice, internal_token: {env: SLUICE_INTERNAL_TOKEN}"
        route = "  - {name: r, public: true, policy: prefix_affinity, match: {models: [story]}, targets: [{upstream: u}]}\n"
        config = plan([upstream("u", [one.url, two.url], sluice)], route)

        def all_tell():
            deadline = time.monotonic() + 20
            while front.metric("sluice_gateway_block_streams{") < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert front.metric("sluice_gateway_block_streams{") == 2
        with Front(config, token) as front:
            front.wait_ready()
            all_tell()
            text = direct(two.port)
            deadline = time.monotonic() + 20
            while front.metric("sluice_gateway_blocks_known{") == 0 and time.monotonic() < deadline:
                time.sleep(0.02)
            before = hits(one.port), hits(two.port)
            for _ in range(6):
                status, answer = front.post(ask)
                assert status == 200 and json.loads(answer)["choices"][0]["text"] == text, (status, answer)
            assert hits(one.port) == before[0] and hits(two.port) >= before[1] + 6 * 64, (before, hits(two.port))
            assert front.metric('sluice_gateway_decisions_total{decision="exact"') == 6
            # It begins anew, with nothing held: what was known of it is forgotten.
            port = two.port
            two.process.kill()
            two.process.wait()
            with Server(RUNTIME, command=("serve", MODEL, "--port", str(port)), env=env) as again:
                deadline = time.monotonic() + 20
                while front.metric("sluice_gateway_blocks_known{") > 0 and time.monotonic() < deadline:
                    time.sleep(0.02)
                all_tell()
                direct(one.port)
                while front.metric("sluice_gateway_blocks_known{") == 0 and time.monotonic() < deadline:
                    time.sleep(0.02)
                before = hits(again.port)
                for _ in range(4):
                    assert front.post(ask)[0] == 200
                assert hits(again.port) == before
                assert front.metric('sluice_gateway_decisions_total{decision="exact"') == 10


def keys_are_needed():
    server = Scripted("a")
    rest = ("tenants:\n  - {name: t, keys: [{name: k, key: {env: TEST_KEY}, models: [m]}, "
            "{name: gone, key: {env: OLD_KEY}, expires: 2020-01-01}]}\n")
    config = plan([upstream("u", [server.url], ", api_key: {env: THEIR_KEY}")],
                  "  - {name: r, match: {models: [m, n]}, targets: [{upstream: u}]}\n", rest)
    env = {"TEST_KEY": "sk-test", "OLD_KEY": "sk-old", "THEIR_KEY": "sk-theirs"}
    with Front(config, env) as front:
        def status(key, model="m"):
            return front.post({"model": model}, {"Authorization": "Bearer " + key} if key else {})[0]
        assert [status(None), status("sk-tes"), status("sk-old"), status("sk-test")] == [401, 401, 401, 200]
        assert [status("sk-test", "n"), status("sk-test", "x")] == [404, 404]
        assert front.get("/version")[0] == 401 and front.get("/health")[0] == 200
    assert [headers["Authorization"] for _, headers, _ in server.requests] == ["Bearer sk-theirs"]


def drains_on_sigterm():
    hold = threading.Event()

    def slow(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"data: 1\n\n")
        handler.wfile.flush()
        hold.wait(20)
        handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True
    server = Scripted("a", slow)
    front = Front(plan([upstream("u", [server.url])], "  - {name: r, public: true, targets: [{upstream: u}]}\n"))
    connection = front.connect()
    connection.request("POST", "/v1/completions", '{"model":"m"}', {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.read1(100) == b"data: 1\n\n"
    front.process.terminate()
    front.wait_for_log(rb"draining")
    hold.set()
    assert response.read() == b"data: [DONE]\n\n"
    assert front.process.wait(20) == 0
    front.process.stderr.close()


def mirrors_and_compares():
    a, b = Scripted("a"), Scripted("b")
    with Front(plan([upstream("a", [a.url]), upstream("b", [b.url])],
                    "  - {name: r, public: true, targets: [{upstream: a}], mirror: {upstream: b}}\n")) as front:
        assert shares(front, 10)["a"] == 10
        deadline = time.monotonic() + 10
        while len(b.requests) < 10 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(b.requests) == 10
        while time.monotonic() < deadline and front.metric("sluice_gateway_mirror_compared_total{") < 10:
            time.sleep(0.02)
        assert front.metric('sluice_gateway_mirror_compared_total{outcome="different_text",route="r"}') == 10


def storms_are_damped():
    def broken(handler, _):
        handler.reply(500, {"error": "broken"})
    servers = [Scripted("s%d" % i, broken) for i in range(3)]
    route = ("  - {name: r, public: true, targets: [{upstream: u}], "
             "retry: {attempts: 3, backoff: 0s, budget_ratio: 0.1, budget_per_second: 1}}\n")
    config = plan([upstream("u", [s.url for s in servers], ", breaker: {consecutive_failures: 1000000, min_requests: 1000000}"
                            ", outlier: {max_ejected_percent: 0}")], route)
    with Front(config) as front:
        connection = front.connect()
        began = time.monotonic()
        for _ in range(200):
            assert front.post({"model": "m"}, connection=connection)[0] == 500
        sent = sum(len(s.requests) for s in servers)
        assert sent <= 200 * 1.1 + (time.monotonic() - began) + 2, sent


def checks_configurations():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "g.yaml")
        for text, status in [(plan([upstream("u", ["http://127.0.0.1:1"])],
                                   "  - {name: r, targets: [{upstream: u}]}\n"), 0), ("routes: 7\n", 1), ("a: [", 1)]:
            with open(path, "w") as f:
                f.write(text)
            done = subprocess.run([BINARY, "gateway", "--config", path, "--check"], capture_output=True, text=True)
            assert done.returncode == status and (status == 0 or "g.yaml:1" in done.stderr), (text, done)
    with open("docs/gateway.md", encoding="utf-8") as f:
        examples = re.findall(r"```yaml\n(.*?)```", f.read(), re.S)
    assert len(examples) >= 2
    env = dict(os.environ, **{name: "x" for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "STORY_TOKEN", "TEAM_KEY", "CLOUD_KEY",
                                                     "REDIS_PASSWORD", "CONTROL_TOKEN")})
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(examples):
            if "upstreams:" not in text:  # a part of a plan, over others
                text += 'upstreams: [{name: story, endpoints: [{url: "http://127.0.0.1:1"}]}]\n'
            if "routes:" not in text:
                text += "routes: [{name: story, match: {models: [story]}, targets: [{upstream: story}]}]\n"
            path = os.path.join(folder, "%d.yaml" % number)
            with open(path, "w") as f:
                f.write(text)
            done = subprocess.run([BINARY, "gateway", "--config", path, "--check"], capture_output=True, text=True, env=env)
            assert done.returncode == 0, (text, done.stderr)


CASES = [balances, splits_exactly, sticks_over_reloads, reloads_good_and_refuses_bad, reloads_lose_nothing,
         survives_a_killed_replica, streams_pass_through, prompts_go_where_their_blocks_are, keys_are_needed, drains_on_sigterm, mirrors_and_compares,
         storms_are_damped, checks_configurations]


if __name__ == "__main__":
    sys.exit(cases.run(CASES))
