"""Blocks marked ```sh run in Markdown files are executed in order against a server of the bundled model, those marked ```sh up against
a platform; port 8000 in them stands for the server's. docs/configuration.md must equal `sluice reference`."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import BINARY, Server  # noqa: E402
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "up"))
from platform_process import Platform  # noqa: E402


def run_blocks(path, kind, port, env=None):
    """What failed, and how many did not."""
    passed, failures = 0, []
    with open(path, encoding="utf-8") as f:
        blocks = re.findall(r"```sh %s\n(.*?)```" % kind, f.read(), re.S)
    for number, block in enumerate(blocks, 1):
        script = "set -euo pipefail\n" + block.replace(":8000", ":%d" % port)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, **(env or {})))
        if done.returncode == 0 and done.stdout.strip():
            passed += 1
        else:
            failures.append("%s, block %d: status %d: %s" % (path, number, done.returncode, done.stderr[-300:]))
    return passed, failures


def on_platforms(files):
    """A platform of its own for each file; `sluice` means the binary that is tested."""
    passed, failures = 0, []
    for path in files:
        with open(path, encoding="utf-8") as f:
            if "```sh up" not in f.read():
                continue
        with Platform() as up:
            env = {"KUBECONFIG": up.kubeconfig, "PATH": os.path.dirname(up.binary) + ":" + os.environ["PATH"]}
            good, bad = run_blocks(path, "up", up.port, env)
            passed, failures = passed + good, failures + bad
    return passed, failures


def main():
    passed, failures = 0, []
    files = subprocess.run(["git", "ls-files", "*.md"], capture_output=True, text=True, check=True).stdout.split()
    with Server() as server:
        for path in files:
            good, bad = run_blocks(path, "run", server.port)
            passed, failures = passed + good, failures + bad
    good, bad = on_platforms(files)
    passed, failures = passed + good, failures + bad
    page = subprocess.run([BINARY, "reference"], capture_output=True, text=True).stdout
    with open("docs/configuration.md", encoding="utf-8") as f:
        if f.read() == page:
            passed += 1
        else:
            failures.append("docs/configuration.md: write it anew with `%s reference`" % BINARY)
    for command in ("serve", "gateway", "chat", "bench", "inspect", "tokenize", "pull", "quantize", "up",
                    "controller", "apply", "get", "describe", "delete", "scale", "wait", "rollout", "logs", "top", "doctor"):
        done = subprocess.run([BINARY, command, "--help"], capture_output=True, text=True)
        if done.returncode == 0 and "sluice %s [OPTIONS]" % command in done.stdout:
            passed += 1
        else:
            failures.append("sluice %s --help" % command)
    for failure in failures:
        print("failed: " + failure)
    print("%d passed, %d failed, 0 skipped" % (passed, len(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
