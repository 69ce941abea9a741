"""Runs tests/http/*.test. Each file starts its own server; beside every file one stream runs again and again
and must give the same text each time, and in the end no sequence and no KV block may be left.

A file:
    serve: --api-key sesame          flags of the server (optional, first line)
    == name of a case
    POST /v1/completions             method and target
    Authorization: Bearer sesame     headers
                                     (blank line) and the body, up to "=>"
    {"prompt": "x"}
    => 400                           expected status, then checks:
    error.param == "prompt"          a value of the JSON body, by path
    error.message ~ at least         text that it contains
    body ~ text / body !~ text       the raw body
    header retry-after ~ 1           a response header
    events >= 3                      a stream's events, [DONE] included
    event -1 == [DONE]               one event's data
    event 0 ~ "role":"assistant"
{{repeat:N:text}} in a body stands for N times the text; {{hex:ff}} for bytes.
"""
import glob
import http.client
import json
import os
import re
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server  # noqa: E402

BESIDE = {"prompt": "Once upon a time there was a", "max_tokens": 40, "temperature": 0, "stream": True}


def expand(text):
    text = re.sub(r"\{\{repeat:(\d+):(.*?)\}\}", lambda m: m.group(2) * int(m.group(1)), text, flags=re.S)
    out = b""
    for i, part in enumerate(re.split(r"\{\{hex:([0-9a-f]+)\}\}", text)):
        out += bytes.fromhex(part) if i % 2 else part.encode()
    return out


def parse_file(path):
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    flags = lines.pop(0)[6:].split() if lines[0].startswith("serve:") else []
    cases, case = [], None
    for line in lines:
        if line.startswith("== "):
            case = {"name": line[3:], "request": [], "checks": [], "part": "request"}
            cases.append(case)
        elif case is None:
            continue
        elif line.startswith("=> ") and case["part"] == "request":
            case["status"] = int(line[3:])
            case["part"] = "checks"
        elif case["part"] == "checks":
            if line.strip() and not line.startswith("#"):
                case["checks"].append(line.strip())
        else:
            case["request"].append(line)
    return flags, cases


def send(port, case, api_key=None):
    lines = case["request"]
    method, target = lines[0].split(" ", 1)
    headers, at = {}, 1
    while at < len(lines) and re.match(r"[A-Za-z-]+: ", lines[at]):
        name, value = lines[at].split(": ", 1)
        headers[name] = value
        at += 1
    body = expand("\n".join(lines[at:]).strip("\n"))
    if body and "Content-Type" not in headers:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, target, body=body or None, headers=headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, data.decode(errors="replace")


def lookup(document, path):
    for step in path.split("."):
        if isinstance(document, list):
            document = document[int(step)]
        else:
            document = document[step]
    return document


def events_of(body):
    return [part[6:] for part in body.split("\n\n") if part.startswith("data: ")]


def holds(check, headers, body):
    m = re.match(r"events (>=|==) (\d+)$", check)
    if m:
        n = len(events_of(body))
        return n >= int(m.group(2)) if m.group(1) == ">=" else n == int(m.group(2))
    m = re.match(r"(body|header ([\w-]+)|event (-?\d+)|([\w.]+)) (==|~|!~|type) (.*)$", check, re.S)
    if not m:
        raise ValueError("this check is not understood: " + check)
    subject, header, event, path, operator, wanted = m.groups()
    if subject == "body":
        value = body
    elif header:
        value = headers.get(header, "")
    elif event:
        value = events_of(body)[int(event)]
    else:
        value = lookup(json.loads(body), path)
        if operator == "==":
            return value == json.loads(wanted)
        if operator == "type":
            return type(value).__name__ == wanted
        value = value if isinstance(value, str) else json.dumps(value)
    if operator == "==":
        return value == wanted
    return (wanted in value) == (operator == "~")


class Beside(threading.Thread):
    """A greedy stream, over and over, while the cases run."""

    def __init__(self, port, key):
        super().__init__()
        self.port, self.key = port, key
        self.texts, self.error = set(), None
        self.stopping = threading.Event()

    def run(self):
        headers = ["Authorization: Bearer " + self.key] if self.key else []
        case = {"request": ["POST /v1/completions"] + headers + ["", json.dumps(BESIDE)]}
        try:
            while True:
                status, _, body = send(self.port, case)
                events = events_of(body)
                if status != 200 or events[-1] != "[DONE]":
                    self.error = "status %d, %d events" % (status, len(events))
                    return
                self.texts.add("".join(json.loads(e)["choices"][0]["text"] for e in events[:-1]))
                if self.stopping.is_set():
                    return
        except Exception as e:  # noqa: BLE001
            self.error = repr(e)


def leftovers(port, key):
    """Sequences and blocks that are still held."""
    headers = ["Authorization: Bearer " + key] if key else []
    _, _, page = send(port, {"request": ["GET /metrics?view=native"] + headers})
    return [line for line in page.split("\n")
            if re.match(r"sluice_(requests_running|requests_waiting|kv_cache_usage_ratio)\{", line)
            and float(line.rsplit(" ", 1)[1]) != 0]


def run_case(port, case):
    status, headers, body = send(port, case)
    if status != case["status"]:
        return "status %d, not %d: %s" % (status, case["status"], body[:300])
    for check in case["checks"]:
        try:
            if not holds(check, headers, body):
                return "does not hold: %s in %s" % (check, body[:500])
        except (KeyError, IndexError, ValueError) as e:
            return "%s: %r in %s" % (check, e, body[:300])
    return None


def main():
    passed, failures = 0, []
    for path in sorted(glob.glob("tests/http/*.test")):
        flags, cases = parse_file(path)
        key = flags[flags.index("--api-key") + 1] if "--api-key" in flags else None
        name = os.path.basename(path)
        with Server(flags) as server:
            beside = Beside(server.port, key)
            beside.start()
            for case in cases:
                problem = run_case(server.port, case)
                if problem:
                    failures.append("%s: %s: %s" % (name, case["name"], problem))
                else:
                    passed += 1
            beside.stopping.set()
            beside.join(120)
            ends = [
                ("the stream beside", beside.error or (len(beside.texts) != 1 and "its text changed")),
                ("leftovers", ", ".join(leftovers(server.port, key))),
                ("alive", not server.alive() and "the server died"),
                ("drain", server.stop() != 0 and "SIGTERM did not end it cleanly"),
                ("log", key and key in server.log.decode(errors="replace") and "it holds the key"),
            ]
            for what, problem in ends:
                if problem:
                    failures.append("%s: %s: %s" % (name, what, problem))
                else:
                    passed += 1
    for failure in failures:
        print("failed: " + failure)
    print("%d passed, %d failed, 0 skipped" % (passed, len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
