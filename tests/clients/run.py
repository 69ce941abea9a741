"""Starts a server with a key and gives its address to clients.mjs."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import Server  # noqa: E402

KEY = "client-test-key"

with Server(["--api-key", KEY]) as server:
    done = subprocess.run(["node", "tests/clients/clients.mjs", server.url, KEY])
    if server.stop() != 0 and done.returncode == 0:
        sys.exit("the server did not drain")
sys.exit(done.returncode)
