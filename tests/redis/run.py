"""Limits shared by two gateways through Redis, all of them real processes: no budget is passed by one token while 64 clients spend it
and a gateway is killed; a dead gateway's places come free; what happens without Redis is what the configuration says.
  run.py     SLUICE names the binary; redis-server is Debian's"""
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
from server import Server  # noqa: E402

TOKEN = "redis-test-token"
PASSWORD = "redis-test-password"
DAY_TOKENS = 15000
CHAT = "/v1/chat/completions"
PATIENCE = 30
TENANTS = ("day", "two", "rate", "free")

PLAN = """
limits: {redis: {url: "unix://%(socket)s", password: {env: REDIS_TEST_PASSWORD}, timeout: 1s, lease: 4s, on_loss: %(on_loss)s}}
upstreams:
  - {name: own, kind: sluice, internal_token: {env: REDIS_TEST_TOKEN}, endpoints: [{url: "%(url)s"}]}
  - {name: other, kind: foreign, endpoints: [{url: "%(url)s"}]}
routes:
  - {name: own, match: {models: [own]}, targets: [{upstream: own, model: story}], default_max_tokens: 20}
  - {name: other, match: {models: [other]}, targets: [{upstream: other, model: story}], default_max_tokens: 20}
tenants:
  - {name: day, limits: {tokens_per_day: %(day)d}, keys: [{name: k, sha256: %(k_day)s}]}
  - {name: two, limits: {concurrency: 2}, keys: [{name: k, sha256: %(k_two)s}]}
  - {name: rate, limits: {requests_per_minute: 1000}, keys: [{name: k, sha256: %(k_rate)s, limits: {requests_per_minute: 6}}]}
  - {name: free, keys: [{name: k, sha256: %(k_free)s}]}
"""
passed, failed = 0, 0


def check(good, what):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("failed: " + what, flush=True)


class Redis:
    """A redis-server on a socket in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = os.path.join(folder, "redis.sock")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.folder, "--save", "", "--appendonly", "yes",
             "--appendfsync", "always", "--requirepass", PASSWORD], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        for line in self.process.stdout:
            if b"accept connections" in line:
                break
        else:
            raise RuntimeError("redis-server did not start")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask(self, *words):
        """The number or text that one command replies."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(self.socket)
            for command in (("AUTH", PASSWORD), words):
                s.sendall(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in command))
            lines = s.makefile("rb")
            assert lines.readline() == b"+OK\r\n"
            line = lines.readline()
            return (line[1:] if line.startswith(b":") else lines.readline()).decode().strip()

    def number(self, tenant, field):
        return int(self.ask("HGET", "sluice:{%s}:s:t" % tenant, field))


class Gateway:
    def __init__(self, folder, name, redis, url, on_loss="refuse"):
        self.path = os.path.join(folder, name + ".yaml")
        hashes = {"k_" + tenant: hashlib.sha256(("key-of-" + tenant).encode()).hexdigest() for tenant in TENANTS}
        with open(self.path, "w") as f:
            f.write(PLAN % dict(hashes, socket=redis.socket, url=url, day=DAY_TOKENS, on_loss=on_loss))
        self.start()

    def start(self):
        self.server = Server(command=("gateway", "--config", self.path, "--port", "0"),
                             env=dict(os.environ, REDIS_TEST_TOKEN=TOKEN, REDIS_TEST_PASSWORD=PASSWORD))

    def kill(self):
        self.server.process.kill()
        self.server.process.wait()

    def begin(self, tenant, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request("POST", CHAT, json.dumps(body),
                           {"Content-Type": "application/json", "Authorization": "Bearer key-of-" + tenant})
        return connection.getresponse()

    def ask(self, tenant, **body):
        """(status, headers, JSON) of a whole answer; status 0 when the gateway went away."""
        try:
            response = self.begin(tenant, body)
            text = response.read().decode()
            return response.status, response.headers, json.loads(text) if text.startswith("{") else text
        except (OSError, http.client.HTTPException):
            return 0, {}, {}


def say(text, model="own", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **more}


def until(wanted, ask):
    """Asks again until `wanted` is the answer, or patience ends; the last answer."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if answer == wanted or time.monotonic() > end:
            return answer


def budget_under_fire(redis, gateways):
    """64 clients spend a day's budget through two gateways, one of which is killed and started again."""
    told, lock = [0], threading.Lock()
    some = threading.Condition(lock)

    def client(number):
        while True:
            number += 1
            status, _, answer = gateways[number % 2].ask("day", **say("Tell me a story about a fox.", max_tokens=24, ignore_eos=True))
            if status == 200:
                with some:
                    told[0] += answer["usage"]["total_tokens"]
                    some.notify_all()
            elif status in (413, 429):
                return
    clients = [threading.Thread(target=client, args=(i,)) for i in range(64)]
    for each in clients:
        each.start()
    for part in (5, 3):
        with some:
            some.wait_for(lambda: told[0] > DAY_TOKENS / part, 60)
        gateways[0].kill()
        gateways[0].start()
    for each in clients:
        each.join(60)
    check(not any(each.is_alive() for each in clients), "every client came to the end of the budget")
    # What the killed ones had reserved is spent when their leases are over: the next question finds it so.
    until(1, lambda: (gateways[1].ask("day", **say("hi", max_tokens=24)), int(redis.ask("HLEN", "sluice:{day}:g")))[1])
    spent = redis.number("day", "dtok")
    lost = int(redis.ask("HLEN", "sluice:{day}:l"))
    print("day's budget %d: %d spent (%d requests lost with a gateway), %d told to clients" % (DAY_TOKENS, spent, lost, told[0]), flush=True)
    check(told[0] <= spent <= DAY_TOKENS, "the budget was kept: %d told, %d spent, %d allowed" % (told[0], spent, DAY_TOKENS))
    check(spent > DAY_TOKENS - 60, "the budget was used up: %d of %d" % (spent, DAY_TOKENS))
    check(lost > 0, "the killed gateways had something under way")
    check(redis.number("day", "open") == 0 and redis.number("day", "reserved") == 0, "nothing is left open")


def one_count(gateways):
    """Six requests a minute for a key, wherever it asks: at both gateways, over replicas and over other servers."""
    left = []
    for i in range(6):
        status, headers, _ = gateways[i % 2].ask("rate", **say("hi", ("own", "other")[i // 2 % 2], max_tokens=1))
        left.append((status, headers.get("x-ratelimit-remaining-requests")))
    check(left == [(200, str(5 - i)) for i in range(6)], "each gateway tells what both have left: %s" % left)
    for gateway in gateways:
        status, headers, answer = gateway.ask("rate", **say("hi", max_tokens=1))
        check(status == 429 and answer["error"]["code"] == "requests_per_minute", "the seventh: %s" % status)
        check(0 < int(headers.get("Retry-After", 0)) <= 61, "Retry-After: %s" % headers.get("Retry-After"))


def places(gateways):
    """A gateway dies with both places of a tenant."""
    long = say("Tell me a story about a fox.", max_tokens=400, n=16, ignore_eos=True, stream=True)
    streams = [gateways[0].begin("two", long) for _ in range(2)]
    check(all(each.status == 200 for each in streams), "two at a time")
    gateways[0].kill()
    status, _, answer = gateways[1].ask("two", **say("hi", max_tokens=1))
    check(status == 429 and answer["error"]["code"] == "concurrency", "a gateway that has just died still has them: %s" % status)
    check(until(200, lambda: gateways[1].ask("two", **say("hi", max_tokens=1))[0]) == 200, "and then no more")
    gateways[0].start()


def without_redis(redis, gateways, local):
    check(local.ask("two", **say("hi", max_tokens=1))[0] == 200, "a gateway that would go on alone")
    redis.process.send_signal(signal.SIGSTOP)
    for model in ("own", "other"):
        status, headers, answer = gateways[0].ask("two", **say("hi", model, max_tokens=1))
        check(status == 503 and answer["error"]["code"] == "limits_unavailable" and headers.get("Retry-After") == "1",
              "%s, Redis hangs: %s %s" % (model, status, answer))
    redis.process.send_signal(signal.SIGCONT)
    check(until(200, lambda: gateways[0].ask("two", **say("hi", max_tokens=1))[0]) == 200, "it goes on")
    redis.kill()
    check(until(503, lambda: gateways[0].ask("two", **say("hi", max_tokens=1))[0]) == 503, "without Redis: refused")
    check(gateways[0].ask("free", **say("hi", max_tokens=1))[0] == 200, "who has no limits is served")
    check(until(200, lambda: local.ask("day", **say("hi", max_tokens=1))[0]) == 200, "on_loss: local serves")
    status, _, _ = local.ask("day", **say("hi", max_tokens=DAY_TOKENS))
    check(status in (413, 429), "and keeps the limits by itself: %s" % status)
    redis.start()
    check(until(200, lambda: gateways[0].ask("two", **say("hi", max_tokens=1))[0]) == 200, "it is found again")
    check(until(0, lambda: (gateways[0].ask("two", **say("hi", max_tokens=1)), redis.number("two", "open"))[1]) == 0,
          "and nothing is left open")
    status, _, _ = gateways[0].ask("day", **say("hi", max_tokens=100))
    check(status == 429, "it has forgotten nothing: %s" % status)


def main():
    runtime = Server(["--served-model-name", "story", "--internal-token", TOKEN, "--threads", "1"])
    with tempfile.TemporaryDirectory() as folder:
        redis = Redis(folder)
        gateways = [Gateway(folder, name, redis, runtime.url) for name in ("a", "b")]
        local = Gateway(folder, "c", redis, runtime.url, "local")
        budget_under_fire(redis, gateways)
        one_count(gateways)
        places(gateways)
        without_redis(redis, gateways, local)
        for each in gateways + [local]:
            check(each.server.stop() == 0, "a gateway ends in good order")
            check(PASSWORD.encode() not in each.server.log, "and has not told the password")
        redis.kill()
    runtime.process.kill()
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
