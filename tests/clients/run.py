"""Starts a server with keys and gives its addresses to clients.mjs and oip_grpc.py."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import Server  # noqa: E402

KEY = "client-test-key"
ADMIN_KEY = "client-test-admin"
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


with Server(["--api-key", KEY, "--admin-key", ADMIN_KEY, "--grpc-port", "0"]) as server:
    grpc_address = "127.0.0.1:%d" % server.grpc_port()
    runs = [run(["node", "tests/clients/clients.mjs", server.url, grpc_address, KEY]),
            run(["/usr/bin/python3", "tests/clients/oip_grpc.py", grpc_address, KEY, ADMIN_KEY,
                 str(server.process.pid)])]
    if server.stop() != 0:
        print("failed: the server did not drain")
        runs.append((1, (0, 1, 0)))
print("%d passed, %d failed, %d skipped" % tuple(sum(counts[i] for _, counts in runs) for i in range(3)))
sys.exit(any(status for status, _ in runs))
