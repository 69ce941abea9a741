"""Starts a server with keys and gives its addresses to clients.mjs and oip_grpc.py; then the same clients
come through a gateway, over a replica of its own kind and over one as any OpenAI-compatible server."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import Server  # noqa: E402

KEY = "client-test-key"
ADMIN_KEY = "client-test-admin"
INTERNAL_TOKEN = "client-test-internal"
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")


def run(command):
    """Its exit status and its three counts; the summary line is not printed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    counts = (0, 1, 0)
    for line in done.stdout.splitlines():
        match = SUMMARY.match(line)
        if match:
            counts = tuple(int(n) for n in match.groups())
        else:
            print(line)
    return done.returncode, counts


def through_a_gateway(server, kind):
    """The clients before a gateway over `server`; the counts."""
    upstream = {"name": "story", "kind": kind, "endpoints": [{"url": server.url}], "health": {"interval": "100ms"}}
    upstream.update({"internal_token": {"env": "INTERNAL_TOKEN"}} if kind == "sluice" else {"api_key": {"env": "KEY"}})
    plan = {"listen": "127.0.0.1:0", "upstreams": [upstream],
            "routes": [{"name": "story", "match": {"models": ["story"]}, "targets": [{"upstream": "story"}]}],
            "tenants": [{"name": "team", "limits": {"tokens_per_minute": 10_000_000, "requests_per_minute": 100_000},
                         "keys": [{"name": "clients", "key": {"env": "KEY"}}]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(plan, f)
        f.flush()
        env = dict(os.environ, KEY=KEY, INTERNAL_TOKEN=INTERNAL_TOKEN)
        with Server(command=("gateway", "--config", f.name), env=env) as gateway:
            for _ in range(200):
                try:
                    if urllib.request.urlopen(gateway.url + "/ready").status == 200:
                        break
                except OSError:
                    time.sleep(0.05)
            counts = run(["node", "tests/clients/clients.mjs", gateway.url, "none", KEY, server.url,
                          "gateway over %s: " % kind])
            if gateway.stop() != 0:
                print("failed: the gateway did not drain")
                counts = (1, (0, 1, 0))
            return counts


with Server(["--api-key", KEY, "--admin-key", ADMIN_KEY, "--grpc-port", "0", "--internal-token",
             INTERNAL_TOKEN]) as server:
    grpc_address = "127.0.0.1:%d" % server.grpc_port()
    runs = [run(["node", "tests/clients/clients.mjs", server.url, grpc_address, KEY, server.url]),
            through_a_gateway(server, "sluice"), through_a_gateway(server, "foreign"),
            run(["/usr/bin/python3", "tests/clients/oip_grpc.py", grpc_address, KEY, ADMIN_KEY,
                 str(server.process.pid)])]
    # The last case has asked it to end; a second signal would cut it short.
    try:
        status = server.process.wait(60)
    except subprocess.TimeoutExpired:
        status = None
    if status != 0:
        print("failed: the server did not drain: status %s" % status)
        runs.append((1, (0, 1, 0)))
print("%d passed, %d failed, %d skipped" % tuple(sum(counts[i] for _, counts in runs) for i in range(3)))
sys.exit(any(status for status, _ in runs))
