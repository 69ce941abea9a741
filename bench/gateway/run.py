#!/usr/bin/python3
"""Compares the gateway with other fronts before the same server: delay, rate, server-sent events, memory. See README.md."""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import machine  # noqa: E402

KEY = "bench-key"
BODY = json.dumps({"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "x" * 240}]})
STREAM = json.dumps({"model": "m", "stream": True, "max_tokens": 1 << 20, "messages": [{"role": "user", "content": "x"}]},
                    separators=(",", ":"))
HOLD = json.dumps({"model": "m", "stream": True, "hold": True, "max_tokens": 16, "messages": []}, separators=(",", ":"))
PATH = "/v1/chat/completions"

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
worker_rlimit_nofile 30000;
events {{ worker_connections 20000; }}
http {{
  access_log {folder}/nginx.log;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  keepalive_requests 1000000000;
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 1h; }} }}
}}
"""


def pinned(core, command):
    return ["taskset", "-c", str(core)] + command


class Front:
    """A started front; `command` is a shell-like line with {port}, {upstream} and {folder}."""

    def __init__(self, name, command, port, upstream, folder, core):
        self.name, self.url = name, "http://127.0.0.1:%d%s" % (port, PATH)
        words = shlex.split(command.format(port=port, upstream=upstream, folder=folder))
        self.process = subprocess.Popen(pinned(core, words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(os.path.join(folder, name + ".err"), "wb"))
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("%s does not answer; see %s/%s.err" % (name, folder, name))
            time.sleep(0.05)

    def answers(self):
        request = urllib.request.Request(self.url, BODY.encode(), {
            "Content-Type": "application/json", "Authorization": "Bearer " + KEY,
            **dict(line.split(": ", 1) for line in os.environ["FRONT_HEADERS"].splitlines())})
        try:
            return urllib.request.urlopen(request, timeout=5).status == 200
        except OSError:
            return False

    def pids(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
            return [self.process.pid] + [int(word) for word in f.read().split()]

    def memory(self):
        return sum(machine.memory_mib(pid)["VmRSS"] for pid in self.pids())

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def load(tool, url, body, clients, seconds, core):
    done = subprocess.run(pinned(core, [tool, "client", url, body, str(clients), str(seconds), KEY]),
                          capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout)


def hold(tool, front, streams, core):
    """MiB of the front before and with that many open streams, and how many were opened."""
    before = front.memory()
    holder = subprocess.Popen(pinned(core, [tool, "hold", front.url, HOLD, str(streams), KEY]),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    opened = int(holder.stdout.readline() or 0)
    during = front.memory()
    holder.stdin.close()
    holder.wait()
    return before, during, opened


def gateway_plan(folder, port, upstream):
    """Keys, limits and access log on, as a front of several tenants has them."""
    path = os.path.join(folder, "gateway.json")
    plan = {"listen": "127.0.0.1:%d" % port, "server": {"max_connections": 20000},
            "access_log": {"path": os.path.join(folder, "access.log")},
            "usage": {"path": os.path.join(folder, "usage.db")},
            "upstreams": [{"name": "u", "endpoints": [{"url": "http://127.0.0.1:%d" % upstream}],
                           "health": {"active": False}}],
            "routes": [{"name": "r", "match": {"models": ["m"]}, "targets": [{"upstream": "u"}],
                        "timeouts": {"total": "1h", "idle": "1h"},
                        "queue": {"max_concurrent": 20000, "max_waiting": 1000}}],
            "tenants": [{"name": "t", "limits": {"requests_per_minute": 1_000_000_000, "tokens_per_minute": 1 << 38,
                                                 "concurrency": 1_000_000},
                         "keys": [{"name": "k", "key": {"env": "BENCH_KEY"}}]}]}
    with open(path, "w") as f:
        json.dump(plan, f)
    return path


def median(values):
    return round(statistics.median(values), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=16, help="at once, where rates are measured")
    parser.add_argument("--streams", type=int, default=8000, help="open at once, where memory is measured (0: not)")
    parser.add_argument("--front", action="append", default=[], metavar="NAME=COMMAND",
                        help="another front; {port}, {upstream} and {folder} are filled in")
    parser.add_argument("--no-nginx", action="store_true")
    parser.add_argument("--front-core", type=int, default=0)
    parser.add_argument("--other-core", type=int, default=1, help="of the clients and the server")
    parser.add_argument("--json")
    options = parser.parse_args()
    tool = os.path.join(options.build, "bench/gateway/front_load")
    os.environ["BENCH_KEY"] = KEY
    folder = tempfile.mkdtemp(prefix="front-")
    server = subprocess.Popen(pinned(options.other_core, [tool, "upstream", "4096"]), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    upstream = int(server.stdout.readline())
    os.environ["FRONT_HEADERS"] = "x-portkey-provider: openai\nx-portkey-custom-host: http://127.0.0.1:%d/v1" % upstream
    port = 18400
    commands = {"sluice": "%s/sluice gateway --config %s --log-level error" % (
        options.build, gateway_plan(folder, port, upstream))}
    if not options.no_nginx:
        with open(os.path.join(folder, "nginx.conf"), "w") as f:
            f.write(NGINX.format(folder=folder, upstream=upstream, port=port + 1))
        commands["nginx"] = "nginx -p %s -c %s/nginx.conf" % (folder, folder)
    commands.update(each.split("=", 1) for each in options.front)
    fronts = []
    samples = {}
    noise = []
    try:
        for i, (name, command) in enumerate(commands.items()):
            fronts.append(Front(name, command, port + i, upstream, folder, options.front_core))
        direct = "http://127.0.0.1:%d%s" % (upstream, PATH)
        targets = [("direct", direct)] + [(front.name, front.url) for front in fronts]
        for _ in range(options.rounds):
            machine.wait_until_quiet(0.05, 20)
            others = machine.Others([server.pid] + [pid for front in fronts for pid in front.pids()])
            for name, url in targets:
                one = load(tool, url, BODY, 1, options.seconds, options.other_core)
                many = load(tool, url, BODY, options.clients, options.seconds, options.other_core)
                events = load(tool, url, STREAM, 4, options.seconds, options.other_core)
                row = samples.setdefault(name, {"p50_us": [], "p99_us": [], "rate": [], "events": [], "failed": 0})
                row["p50_us"].append(one["p50_us"])
                row["p99_us"].append(one["p99_us"])
                row["rate"].append(many["requests"] / many["seconds"])
                row["events"].append(events["bytes"] / 100 / events["seconds"])
                row["failed"] += one["failed"] + many["failed"] + events["failed"]
            noise.append(others.share())
        report(samples, noise)
        memory = {}
        for front in fronts:
            if options.streams:
                before, during, opened = hold(tool, front, options.streams, options.other_core)
                memory[front.name] = {"idle_mib": before, "streams": opened, "mib": during}
                print("%s: %.1f MiB after the load, %.1f MiB with %d open streams: %.1f KiB each" % (
                    front.name, before, during, opened, (during - before) * 1024 / max(1, opened)))
        if options.json:
            with open(options.json, "w") as f:
                json.dump({"samples": samples, "noise": noise, "memory": memory}, f, indent=1)
    finally:
        for front in fronts:
            front.stop()
        server.stdin.close()
        server.wait()


def report(samples, noise):
    base = median(samples["direct"]["p50_us"])
    print("Medians of %d rounds; other processes used %s of the cores.\n" % (
        len(noise), ", ".join("%d %%" % round(100 * share) for share in noise)))
    print("| front | p50, one client | added | p99 | requests/s | events/s | failed |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in samples.items():
        p50 = median(row["p50_us"])
        print("| %s | %.0f µs | %.0f µs | %.0f µs | %.0f | %.2f M | %d |" % (
            name, p50, p50 - base, median(row["p99_us"]), median(row["rate"]), median(row["events"]) / 1e6, row["failed"]))
    print()


if __name__ == "__main__":
    sys.exit(main())
