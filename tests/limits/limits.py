"""Limits of tenants, on a real gateway before a real runtime: budgets are never passed, what was used is known afterwards, and
a gateway that is killed in between forgets nothing.
  limits.py [--long]     SLUICE names the binary"""
import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
from server import BINARY, Server  # noqa: E402

TOKEN = "limits-test-token"
DAY_TOKENS = 15000
CHAT = "/v1/chat/completions"
KEYS = {"day": "key-of-day", "rate": "key-of-rate", "one": "key-of-one", "free": "key-of-free", "admin": "key-of-admin"}

PLAN = """
usage: {path: %(usage)s}
upstreams:
  - {name: own, kind: sluice, internal_token: {env: LIMITS_TOKEN}, endpoints: [{url: "%(url)s"}]}
  - {name: other, kind: foreign, endpoints: [{url: "%(url)s"}]}
routes:
  - {name: own, match: {models: [own]}, targets: [{upstream: own, model: story}], default_max_tokens: 20,
     price: {prompt: 1, completion: 2}}
  - {name: other, match: {models: [other]}, targets: [{upstream: other, model: story}], default_max_tokens: 20}
tenants:
  - {name: day, limits: {tokens_per_day: %(day)d}, keys: [{name: k, sha256: %(k_day)s}]}
  - {name: rate, limits: {requests_per_minute: 3}, keys: [{name: k, sha256: %(k_rate)s}]}
  - {name: one, limits: {tokens_per_minute: 400}, keys: [{name: k, sha256: %(k_one)s}]}
  - {name: free, keys: [{name: k, sha256: %(k_free)s}]}
  - {name: admin, keys: [{name: k, sha256: %(k_admin)s, admin: true}]}
"""
passed, failed = 0, 0


def check(good, what):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("failed: " + what, flush=True)


class Gateway:
    def __init__(self, folder, url):
        path = os.path.join(folder, "plan.yaml")
        hashes = {"k_" + name: hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
        with open(path, "w") as f:
            f.write(PLAN % dict(hashes, usage=os.path.join(folder, "usage.db"), url=url, day=DAY_TOKENS))
        self.process = subprocess.Popen([BINARY, "gateway", "--config", path, "--port", "0"], stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, env=dict(os.environ, LIMITS_TOKEN=TOKEN))
        lines = []
        while not lines or "serves on" not in lines[-1]:
            lines.append(self.process.stderr.readline().decode())
            assert lines[-1], "the gateway did not start: " + "".join(lines)
        self.port = int(lines[-1].rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, tenant, method="POST", path=CHAT, **body):
        """(status, headers, JSON) of a whole answer; status 0 when the gateway went away."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body else None,
                               {"Content-Type": "application/json", "Authorization": "Bearer " + KEYS[tenant]})
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, response.headers, json.loads(text) if text.startswith("{") else text
        except (OSError, http.client.HTTPException):
            return 0, {}, {}

    def usage(self, tenant):
        _, _, report = self.ask("admin", "GET", "/usage")
        return [row for row in report["usage"] if row["tenant"] == tenant]


def say(text, model="own", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}


def used(rows):
    return sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)


def budget_under_fire(folder, runtime):
    """64 clients spend a day's budget while the gateway is killed and started again."""
    gateway = Gateway(folder, runtime)
    told, lock = [0], threading.Lock()
    current = [gateway]
    stop = threading.Event()

    def client():
        while not stop.is_set():
            status, _, answer = current[0].ask("day", **say("Tell me a story about a fox.", max_tokens=24, ignore_eos=True))
            if status == 200:
                with lock:
                    told[0] += answer["usage"]["total_tokens"]
            elif status in (413, 429):
                return
    clients = [threading.Thread(target=client) for _ in range(64)]
    for each in clients:
        each.start()
    for _ in range(2):
        stop.wait(0.5)
        current[0].kill()
        current[0] = Gateway(folder, runtime)
    for each in clients:
        each.join(60)
    check(not any(each.is_alive() for each in clients), "every client came to the end of the budget")
    rows = current[0].usage("day")
    total = used(rows)
    unsettled = sum(row["unsettled_requests"] for row in rows)
    print("day's budget %d: %d spent by the ledger (%d requests lost with a gateway), %d told to clients" %
          (DAY_TOKENS, total, unsettled, told[0]), flush=True)
    check(told[0] <= total <= DAY_TOKENS, "the budget was kept: %d told, %d spent, %d allowed" % (told[0], total, DAY_TOKENS))
    check(total > DAY_TOKENS - 60, "the budget was used up: %d of %d" % (total, DAY_TOKENS))
    return current[0]


def refusals(gateway):
    for i in range(3):
        status, headers, _ = gateway.ask("rate", **say("hi", max_tokens=1))
        check(status == 200, "request %d of 3 a minute: %s" % (i + 1, status))
        check(headers.get("x-ratelimit-remaining-requests") == str(2 - i), "what is left is told")
    status, headers, answer = gateway.ask("rate", **say("hi", max_tokens=1))
    check(status == 429, "the fourth one in a minute: %s" % status)
    check(0 < int(headers.get("Retry-After", 0)) <= 61, "Retry-After: %s" % headers.get("Retry-After"))
    check(answer["error"]["code"] == "requests_per_minute", "the limit is named: %s" % answer)
    status, _, answer = gateway.ask("one", **say("hi", max_tokens=5000))
    check(status == 413 and answer["error"]["code"] == "tokens_per_minute", "more than a minute ever has: %s" % status)
    status, _, _ = gateway.ask("free", "GET", "/usage")
    check(status == 403, "the usage report is the admins': %s" % status)


def accounts(gateway):
    for model in ("own", "other"):
        spent = 0
        for stream in (False, True):
            body = say("Tell me a story about a dog.", model, max_tokens=12, ignore_eos=True)
            if stream:
                body.update(stream=True, stream_options={"include_usage": True})
            status, _, answer = gateway.ask("free", **body)
            check(status == 200, "%s: %s" % (model, status))
            if not stream:
                spent += 2 * answer["usage"]["total_tokens"]
        rows = [row for row in gateway.usage("free") if row["route"] == model]
        check(used(rows) == spent and sum(row["requests"] for row in rows) == 2,
              "%s: what the answers say was used is in the report: %s, %d" % (model, rows, spent))
        if model == "own":
            cost = sum(row["prompt_tokens"] * 1e-6 + row["completion_tokens"] * 2e-6 for row in rows)
            check(abs(sum(row["cost"] for row in rows) - cost) < 1e-5, "and what it cost")
    # Without max_tokens the route's default holds, and is what is generated at the most.
    for model in ("own", "other"):
        status, _, answer = gateway.ask("one", **say("Tell me a story about a cat.", model, ignore_eos=True))
        if model == "own":
            check(status == 200 and answer["usage"]["completion_tokens"] == 20, "the default of 20: %s %s" % (status, answer))
        else:
            check(status in (413, 429) or answer["usage"]["completion_tokens"] == 20, "the default of 20 elsewhere: %s" % answer)


def main():
    runtime = Server(["--served-model-name", "story", "--internal-token", TOKEN, "--threads", "1"])
    with tempfile.TemporaryDirectory() as folder:
        gateway = budget_under_fire(folder, "http://127.0.0.1:%d" % runtime.port)
        refusals(gateway)
        accounts(gateway)
        gateway.kill()
    runtime.process.kill()
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
