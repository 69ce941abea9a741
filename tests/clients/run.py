"""Starts a server with keys and gives its addresses to clients.mjs and oip_grpc.py; then the same clients
come through a gateway, over a replica of its own kind and over one as any OpenAI-compatible server; and OpenAI's
clients over one that is asked by Anthropic's protocol (messages.mjs)."""
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


def run_grpcio(address, server):
    """The last of these cases tells the server to end."""
    return run(["/usr/bin/python3", "tests/clients/oip_grpc.py", address, KEY, ADMIN_KEY, str(server.process.pid)])


def ends(server, told):
    """Whether it drained; a second signal would cut it short."""
    if not told:
        return server.stop() == 0
    try:
        return server.process.wait(60) == 0
    except subprocess.TimeoutExpired:
        return False


def through_a_gateway(server, kind, protocol="openai"):
    """The clients before a gateway over `server`; the runs."""
    upstream = {"name": "story", "kind": kind, "endpoints": [{"url": server.url}], "health": {"interval": "100ms"}}
    if protocol != "openai":
        upstream["protocol"] = protocol
    upstream.update({"internal_token": {"env": "INTERNAL_TOKEN"}} if kind == "sluice" else {"api_key": {"env": "KEY"}})
    plan = {"listen": "127.0.0.1:0", "upstreams": [upstream],
            "routes": [{"name": "story", "match": {"models": ["story"]}, "targets": [{"upstream": "story"}]}],
            "tenants": [{"name": "team", "limits": {"tokens_per_minute": 10_000_000, "requests_per_minute": 100_000},
                         "keys": [{"name": "clients", "key": {"env": "KEY"}},
                                  {"name": "operators", "key": {"env": "ADMIN_KEY"}, "admin": True}]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(plan, f)
        f.flush()
        env = dict(os.environ, KEY=KEY, ADMIN_KEY=ADMIN_KEY, INTERNAL_TOKEN=INTERNAL_TOKEN)
        grpc = ("--grpc-port", "0") if kind == "sluice" else ()
        with Server(command=("gateway", "--config", f.name, *grpc), env=env) as gateway:
            for _ in range(200):
                try:
                    if urllib.request.urlopen(gateway.url + "/ready").status == 200:
                        break
                except OSError:
                    time.sleep(0.05)
            address = "127.0.0.1:%d" % gateway.grpc_port() if grpc else "none"
            if protocol == "openai":
                runs = [run(["node", "tests/clients/clients.mjs", gateway.url, address, KEY, server.url,
                             "gateway over %s: " % kind])]
            else:
                runs = [run(["node", "tests/clients/messages.mjs", gateway.url, KEY, server.url])]
            if grpc:
                runs.append(run_grpcio(address, gateway))
            if not ends(gateway, told=bool(grpc)):
                print("failed: the gateway did not drain")
                runs.append((1, (0, 1, 0)))
            return runs


with Server(["--api-key", KEY, "--admin-key", ADMIN_KEY, "--grpc-port", "0", "--internal-token",
             INTERNAL_TOKEN]) as server:
    grpc_address = "127.0.0.1:%d" % server.grpc_port()
    runs = [run(["node", "tests/clients/clients.mjs", server.url, grpc_address, KEY, server.url]),
            *through_a_gateway(server, "sluice"), *through_a_gateway(server, "foreign"),
            *through_a_gateway(server, "foreign", "anthropic"),
            run_grpcio(grpc_address, server)]
    if not ends(server, told=True):
        print("failed: the server did not drain")
        runs.append((1, (0, 1, 0)))
print("%d passed, %d failed, %d skipped" % tuple(sum(counts[i] for _, counts in runs) for i in range(3)))
sys.exit(any(status for status, _ in runs))
