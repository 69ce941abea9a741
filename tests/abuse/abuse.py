"""Hostile clients and broken upstreams at the gateway. Beside all of it one client streams from a Sluice replica again and again: its text
must never change, nor be late. At the end the gateway must hold no more descriptors, metric series and (nearly) memory than before, and its
log no key. Numbers in comments are those of the groups in docs/abuse.md."""
import http.client
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
sys.path.insert(0, HERE)
from broken import BEHAVIOURS, Broken  # noqa: E402
from server import Server  # noqa: E402

KEY, ADMIN, INTERNAL = "sk-abuse-client-key", "sk-abuse-admin-key", "abuse-internal-token"
ASK = {"model": "story", "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 40, "temperature": 0, "stream": True}
LATEST_SECONDS = 5  # of one stream beside; undisturbed it takes some hundredths of a second
SLACK = {"descriptors": 20, "kilobytes": 32 << 10}

PLAN = """
listen: 127.0.0.1:0
server: {max_body: 1MiB}
tenants:
  - name: team
    keys: [{name: client, key: {env: ABUSE_KEY}}, {name: ops, key: {env: ABUSE_ADMIN}, admin: true}]
    limits: {requests_per_minute: 1000000, tokens_per_minute: 100000000}
upstreams:
  - name: story
    kind: sluice
    internal_token: {env: ABUSE_INTERNAL}
    endpoints: [{url: "%s"}]
%s
routes:
  - {name: story, match: {models: [story]}, targets: [{upstream: story}]}
%s
"""


def plan(replica, broken):
    upstreams = "".join("  - {name: %s, endpoints: [{url: \"http://127.0.0.1:%d\"}], health: {active: false}}\n" % (name, at.port)
                        for name, at in broken.items())
    routes = "".join("  - {name: %s, match: {models: [%s]}, targets: [{upstream: %s}], retry: {attempts: 1},\n"
                     "     timeouts: {connect: 1s, first_byte: 1s, idle: 1s, total: 5s}}\n" % (name, name, name) for name in broken)
    return PLAN % (replica, upstreams, routes)


class Beside(threading.Thread):
    def __init__(self, port):
        super().__init__()
        self.port, self.problem, self.text, self.rounds, self.slowest = port, None, None, 0, 0.0
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set() and self.problem is None:
            began = time.monotonic()
            try:
                status, body = ask(self.port, ASK)
                if status != 200 or not body.rstrip().endswith(b"data: [DONE]"):
                    self.problem = "status %d: %s" % (status, body[-200:])
                    return
                text = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in body.split(b"\n")
                               if line.startswith(b"data: {"))
            except (OSError, http.client.HTTPException, ValueError, KeyError) as e:
                self.problem = repr(e)
                return
            self.slowest = max(self.slowest, time.monotonic() - began)
            if self.text not in (None, text):
                self.problem = "its text changed: %r" % text
            self.text = text
            self.rounds += 1


def ask(port, body):
    """Status and body, behind which stand the names of the answer's fields that only an upstream would send."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", "/v1/chat/completions", data, {"Authorization": "Bearer " + KEY, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read() + (b"injected" if answer.getheader("Set-Cookie") else b"")
    finally:
        connection.close()


def get(port, path, key=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Authorization": "Bearer " + key} if key else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def raw(port, data, seconds=15):
    """Everything that comes back until the gateway closes; what it would not take any more is dropped."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        answer = b""
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            while True:
                more = s.recv(65536)
                if not more:
                    break
                answer += more
        except ConnectionResetError:
            pass
    return answer


def statuses(answer):
    return [int(word) for word in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.M)]


class Abuse:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="sluice-abuse-")
        self.passed, self.failures = 0, []
        self.broken = {name: Broken(name) for name in BEHAVIOURS}
        self.replica = Server(["--internal-token", INTERNAL, "--threads", "1", "--kv-cache-memory-bytes", "64M"])
        self.config = os.path.join(self.folder, "gateway.yaml")
        self.write(plan(self.replica.url, self.broken))
        self.gateway = Server(["--config", self.config, "--reload-interval", "1"], command=("gateway",),
                              env=dict(os.environ, ABUSE_KEY=KEY, ABUSE_ADMIN=ADMIN, ABUSE_INTERNAL=INTERNAL))
        self.port = self.gateway.port

    def write(self, text):
        with open(self.config + ".new", "w") as f:
            f.write(text)
        os.replace(self.config + ".new", self.config)

    def expect(self, what, holds, found=""):
        if holds:
            self.passed += 1
        else:
            self.failures.append("%s: %s" % (what, str(found)[:300]))

    def refused(self, what, data, *wanted):
        """One refusal, behind which the connection is closed, and no second answer."""
        found = statuses(raw(self.port, data))
        self.expect(what, len(found) == 1 and found[0] in wanted, found)

    def head(self, lines="", line="POST /v1/chat/completions HTTP/1.1"):
        return ("%s\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%s" % (line, KEY, lines)).encode()

    # 1 to 7: what one reader takes for the end of a message and another does not.
    def framing(self):
        smuggled = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n\r\n"
        chunked = "Transfer-Encoding: chunked\r\n\r\n"
        self.refused("length and chunks", self.head("Content-Length: 4\r\n" + chunked) + b"0\r\n\r\n" + smuggled, 400)
        for value in ("5, 5", "+5", "-1", "0x10", "5 5", "", "9223372036854775808", "1" * 30):
            self.refused("length " + value, self.head("Content-Length: %s\r\n\r\n" % value) + b"abcde" + smuggled, 400, 413)
        self.refused("two lengths", self.head("Content-Length: 5\r\nContent-Length: 5\r\n\r\n") + b"abcde" + smuggled, 400)
        for value in ("xchunked", "chunked, chunked", "chunked;a=b", "identity, chunked", "\tchunked\t,", "gzip"):
            self.refused("coding " + value, self.head("Transfer-Encoding: %s\r\n\r\n" % value) + b"0\r\n\r\n" + smuggled, 400, 501)
        self.refused("chunks on 1.0", self.head(chunked, "POST /v1/chat/completions HTTP/1.0") + b"0\r\n\r\n", 400)
        for size in ("-1", "0x5", "1_0", " 5", "11111111111111111", ""):
            self.refused("chunk size " + size, self.head(chunked) + size.encode() + b"\r\nabcde\r\n0\r\n\r\n" + smuggled, 400, 413)
        self.refused("chunk without its end", self.head(chunked) + b"3\r\nabcXX0\r\n\r\n" + smuggled, 400)
        self.refused("bare line feeds", b"GET /v1/models HTTP/1.1\nHost: x\n\n" + smuggled, 400)
        self.refused("endless extensions", self.head(chunked) + b"1;" + b"a" * (1 << 20), 400, 413, 431)
        trailers = b"0\r\n" + b"A: b\r\n" * 100_000 + b"\r\n"
        self.refused("endless trailers", self.head(chunked) + b"2\r\n{}\r\n" + trailers, 400, 413, 431)

    # 8 to 15.
    def heads(self):
        for line in ("A: b\r\n c", "Bad : x", ": x", "A: \x00", "A: \x7f", "N\u00e4me: x", "Host: y"):
            self.refused("field %r" % line, self.head(line + "\r\n\r\n"), 400)
        for host in ("a/b", "user@x", "a b"):
            self.refused("host " + host, b"GET /v1/models HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n", 400)
        self.refused("no host", b"GET /v1/models HTTP/1.1\r\n\r\n", 400)
        self.refused("long target", b"GET /" + b"a" * (64 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414)
        self.refused("long method", b"A" * 10_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 414, 431, 501)
        for version in ("HTTP/9.9", "HTTP/1.10", "http/1.1", "HTTP/2.0"):
            self.refused("version " + version, b"GET / " + version.encode() + b"\r\nHost: x\r\n\r\n", 400, 505)
        self.refused("10,000 fields", self.head("A: b\r\n" * 10_000 + "\r\n"), 431)
        self.refused("field of a megabyte", self.head("A: " + "b" * (1 << 20) + "\r\n\r\n"), 431)
        for path in ("/v1/%2e%2e/metrics", "/v1%2fmodels", "/%00", "/v1/%zz", "/%c0%ae%c0%ae/metrics", "/METRICS", "/metrics/", "//metrics"):
            self.refused("path " + path, self.head("Connection: close\r\n\r\n", "GET %s HTTP/1.1" % path), 400, 401, 403, 404, 405)
        self.refused("declared too large", self.head("Content-Length: 99999999\r\n\r\n"), 413)
        self.refused("expected too large", self.head("Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"), 413)
        self.refused("unknown expectation", self.head("Expect: magic\r\nContent-Length: 2\r\n\r\n") + b"{}", 417)
        self.refused("chunks too large", self.head("Transfer-Encoding: chunked\r\n\r\n") + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 40, 413)
        self.refused("packed body", self.head("Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n") + b"abc", 415)
        for method in ("CONNECT x:1", "TRACE /v1/models"):
            self.refused(method, ("%s HTTP/1.1\r\nHost: x\r\n\r\n" % method).encode(), 400, 401, 404, 405, 501)
        for i in range(300):  # each a name that nobody has used before
            found = statuses(raw(self.port, b"M%d /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" % (i * 7919)))
            if found != [501]:
                self.expect("random methods", False, found)
                return
        self.expect("random methods", True)

    # 16.
    def pipelines(self):
        one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        found = statuses(raw(self.port, one * 2000 + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        self.expect("2,001 requests in one piece", found == [200] * 2001, (len(found), found[:3]))
        found = statuses(raw(self.port, one + b"\x01\x02 garbage\r\n\r\n"))
        self.expect("garbage behind a request", found == [200, 400], found)

    # 17: they are left open, and told apart by the gateway's own time limits while the rest goes on.
    def open_slow_clients(self):
        self.slow = []
        for kind in range(4):
            for _ in range(50):
                s = socket.create_connection(("127.0.0.1", self.port))
                if kind == 1:
                    s.sendall(b"POST /v1/chat/completions HT")
                elif kind == 2:
                    s.sendall(self.head("Content-Length: 1000\r\n\r\n") + b"{")
                elif kind == 3:
                    s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                self.slow.append((kind, time.monotonic(), s))

    def drip_slow_clients(self):
        """A byte each: progress does not buy time for ever."""
        for kind, _, s in self.slow:
            if kind in (1, 2):
                try:
                    s.send(b"a")
                except OSError:
                    pass

    def close_slow_clients(self):
        open_heads = 0
        while time.monotonic() - self.slow[0][1] < 13:
            time.sleep(0.5)
            self.drip_slow_clients()
        for kind, _, s in self.slow:
            s.settimeout(0.2)
            try:
                while s.recv(65536):
                    pass
                closed = True
            except ConnectionResetError:
                closed = True
            except OSError:
                closed = False
            if kind == 1 and not closed:
                open_heads += 1
            s.close()
        self.expect("slow heads end in ten seconds", open_heads == 0, "%d of 50 are open" % open_heads)

    # 18.
    def leavers(self):
        body = json.dumps(dict(ASK, max_tokens=200)).encode()
        whole = self.head("Content-Length: %d\r\n\r\n" % len(body)) + body
        for cut in (10, len(whole) - len(body), len(whole) - 5, len(whole)):
            for read in (0, 1, 400):
                for reset in (False, True):
                    s = socket.create_connection(("127.0.0.1", self.port))
                    s.sendall(whole[:cut])
                    if read and cut == len(whole):
                        s.settimeout(10)
                        s.recv(read)
                    if reset:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                    s.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (left := self.held()):
            time.sleep(0.05)
        self.expect("nothing of those who left is computed", not left, left)

    def held(self):
        page = get(self.replica.port, "/metrics?view=native")[1].decode()
        running = [line for line in page.split("\n") if re.match(r"sluice_requests_(running|waiting)\{", line)]
        return [line for line in running if float(line.rsplit(" ", 1)[1]) > 1]  # the one beside

    # 29 to 33, 44.
    def bodies(self):
        bad = {"depth of [": b"[" * 100_000, "depth of {": b'{"a":' * 50_000, "model twice": b'{"model":"story","model":"good","messages":[]}',
               "NaN": b'{"model":"story","temperature":NaN,"messages":[]}', "no UTF-8": b'{"model":"st\xffory"}', "NUL": b'{"model":"a\x00b"}',
               "lone surrogate": b'{"model":"\\ud800","messages":[]}', "byte order mark": b'\xef\xbb\xbf{"model":"story"}',
               "cut": b'{"model":"story"', "trailing": b'{"model":"story","messages":[]} {}', "list": b"[1]", "empty": b"",
               "1e400": b'{"model":"story","messages":[{"role":"user","content":"x"}],"temperature":1e400}',
               "no text": b'{"model":7,"messages":[]}', "long model": b'{"model":"' + b"x" * 100_000 + b'"}',
               "many keys": ("{" + ",".join('"k%d":1' % i for i in range(60_000)) + "}").encode()}
        for name, body in bad.items():
            status, answer = ask(self.port, body)
            self.expect("body: " + name, status in (400, 404, 413) and b'"message"' in answer, (status, answer[:200]))
        for name in ("a\r\nSet-Cookie: x", "<script>", "x" * 300, "\u202e", "no-such-model"):  # 78, 80, labels
            status, answer = ask(self.port, dict(ASK, model=name))
            self.expect("model %r" % name[:20], status in (400, 403, 404), (status, answer[:200]))

    # 72, 73, 79.
    def keys(self):
        tried = [KEY[:-1], KEY + "x", KEY.upper(), "", "' OR 1=1 --", "x" * 7000, "\u00e4\u00f6"]
        for key in tried:
            line = b"Authorization: Bearer " + key.encode() + b"\r\nConnection: close\r\n"
            found = statuses(raw(self.port, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n"))
            self.expect("key %r" % key[:20], found in ([401], [400]), found)
        for line in (b"Authorization: Basic eDp5", b"Authorization: Bearer " + KEY.encode() + b"\r\nAuthorization: Bearer x",
                     b"X-Key: " + KEY.encode()):
            found = statuses(raw(self.port, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + line + b"\r\nConnection: close\r\n\r\n"))
            self.expect("credentials %r" % line[:30], found in ([401], [400]), found)
        self.expect("key in the query", get(self.port, "/v1/models?api_key=" + KEY)[0] == 401)
        for path in ("/metrics", "/usage", "/Metrics", "/metrics%20", "/internal/v1/blocks", "/v1/../metrics"):
            status, answer = get(self.port, path, KEY)
            self.expect("admin path " + path, status in (400, 401, 403, 404, 405), (status, answer[:100]))

    # 82 to 87, 89.
    def upstreams(self):
        threads = [threading.Thread(target=self.upstream, args=(name,)) for name in BEHAVIOURS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    def upstream(self, name):
        for stream in (False, True):
            began = time.monotonic()
            try:
                status, answer = ask(self.port, {"model": name, "stream": stream, "messages": [{"role": "user", "content": "x"}]})
            except (http.client.HTTPException, OSError) as e:
                status, answer = "cut", repr(e).encode()  # begun and broken: the client can tell
            took = time.monotonic() - began
            clean = b"injected" not in answer and b"127.0.0.1" not in answer
            self.expect("upstream %s, stream %s" % (name, stream), took < 15 and clean and (status == "cut" or 200 <= status < 600),
                        (status, took, answer[:200]))
            if name in ("good", "good-stream", "byte-by-byte", "comments"):
                self.expect("upstream %s is understood" % name, status == 200 and (b"hi" in answer or b"[DONE]" in answer), answer[:200])
        attempts = self.broken[name].requests
        self.expect("upstream %s is not stormed" % name, attempts <= 4, "%d attempts for two requests" % attempts)

    # 96, 98.
    def operations(self):
        good = plan(self.replica.url, self.broken)
        for name, text in {"syntax": "a: [", "unknown field": good + "\nsurprise: 1\n", "no such upstream": good.replace("upstream: story}", "upstream: x}"),
                           "ten megabytes": good + "#" * (10 << 20)}.items():
            self.write(text)
            self.gateway.process.send_signal(1)
            time.sleep(0.3)
            self.expect("configuration with " + name, ask(self.port, ASK)[0] == 200)
        for i in range(100):
            self.write(good + "# %d\n" % i)
            self.gateway.process.send_signal(1)
            time.sleep(0.01)
        self.expect("after 100 reloads in a second", ask(self.port, ASK)[0] == 200)
        pages = [get(self.port, "/metrics", ADMIN)[0] for _ in range(200)]
        self.expect("200 scrapes", pages == [200] * 200)

    def measure(self):
        page = get(self.port, "/metrics", ADMIN)[1].decode()
        with open("/proc/%d/status" % self.gateway.process.pid) as f:
            kilobytes = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
        # Buckets and words of a closed set may come with the first event that they count.
        labels = {value for line in page.split("\n") if not line.startswith("#") for value in re.findall(r'"((?:[^"\\]|\\.)*)"', line)}
        return {"labels": labels, "descriptors": len(os.listdir("/proc/%d/fd" % self.gateway.process.pid)), "kilobytes": kilobytes}

    def run(self):
        for name in BEHAVIOURS:  # so that what each needs is there before
            try:
                ask(self.port, {"model": name, "messages": [{"role": "user", "content": "x"}]})
            except (http.client.HTTPException, OSError):
                pass
        for at in self.broken.values():
            at.requests = 0
        time.sleep(6)  # breakers
        ask(self.port, ASK)
        before = self.measure()
        beside = Beside(self.port)
        beside.start()
        self.open_slow_clients()
        for part in (self.framing, self.heads, self.pipelines, self.bodies, self.keys, self.leavers, self.upstreams, self.operations):
            began = time.monotonic()
            part()
            self.drip_slow_clients()
            print("%s: %.1f s" % (part.__name__, time.monotonic() - began), flush=True)
        self.close_slow_clients()
        beside.stopping.set()
        beside.join(60)
        print("beside: %d streams, the slowest %.2f s" % (beside.rounds, beside.slowest), flush=True)
        self.expect("the stream beside", beside.problem is None and beside.rounds > 20, beside.problem or beside.rounds)
        self.expect("the stream beside is in time", beside.slowest < LATEST_SECONDS, beside.slowest)
        time.sleep(1.5)
        after = self.measure()
        strange = [label for label in after["labels"] - before["labels"] if not re.fullmatch(r"[a-z0-9_.+-]{0,40}|\+Inf|[A-Z]{3,7}", label)]
        self.expect("no label of a client's", not strange and len(after["labels"] - before["labels"]) < 60, strange or after["labels"] - before["labels"])
        for what, slack in SLACK.items():
            self.expect(what + " are back", after[what] <= before[what] + slack, (before[what], after[what]))
        self.expect("alive", self.gateway.alive() and self.replica.alive())
        self.expect("ends cleanly", self.gateway.stop() == 0)
        log = self.gateway.log.decode(errors="replace")
        self.expect("no key in the log", not any(secret in log for secret in (KEY, ADMIN, INTERNAL)))
        self.replica.stop()
        for at in self.broken.values():
            at.close()
        shutil.rmtree(self.folder)
        for failure in self.failures:
            print("failed: " + failure)
        print("%d passed, %d failed, 0 skipped" % (self.passed, len(self.failures)))
        return 1 if self.failures else 0


if __name__ == "__main__":
    sys.exit(Abuse().run())
