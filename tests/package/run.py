"""The Debian package that CPack makes of the build that holds the binary.
  run.py [--long]     SLUICE names the binary; --long needs root and Debian's packages"""
import glob
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
import cases  # noqa: E402
from server import BINARY, Server  # noqa: E402

FOLDER = tempfile.TemporaryDirectory()
UNPACKED = os.path.join(FOLDER.name, "unpacked")
MODEL = "/usr/share/sluice/models/story.gguf"
UNITS = ("sluice-serve.service", "sluice-gateway.service", "sluice-up.service")


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == 0, "%s: %s" % (" ".join(command), (done.stdout + done.stderr)[-2000:])
    return done.stdout


def package():
    return glob.glob(os.path.join(FOLDER.name, "sluice_*.deb"))[0]


def is_made():
    run("cpack", "--config", os.path.join(os.path.dirname(BINARY), "CPackConfig.cmake"), "-B", FOLDER.name)
    fields = run("dpkg-deb", "--field", package())
    depends = re.search(r"^Depends: (.*)$", fields, re.M).group(1)
    for library in ("libc6", "libssl3", "libsqlite3-0", "libcurl4"):
        assert library in depends, depends
    assert not re.search(r"-dev\b", depends), depends
    contents = run("dpkg-deb", "--contents", package())
    for path in ["./usr/bin/sluice", "." + MODEL] + ["./lib/systemd/system/" + unit for unit in UNITS]:
        found = re.search(r"^(\S+) (\S+) .*%s$" % re.escape(path.replace("./lib/systemd", "systemd")), contents, re.M)
        assert found and found.group(2) == "root/root", (path, contents[-3000:])
    run("dpkg-deb", "--extract", package(), UNPACKED)


def serves_from_where_it_was_unpacked():
    binary = UNPACKED + "/usr/bin/sluice"
    assert run(binary, "--version") == run(BINARY, "--version")
    assert "debug_info" not in run("file", binary)
    with Server(models=(UNPACKED + MODEL,), binary=binary) as server:
        assert answers(server.port)
        assert server.stop() == 0


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps({"prompt": "Once upon a time", "max_tokens": 8}),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status == 200 and json.loads(response.read())["choices"][0]["text"]


def units_are_good():
    """As systemd reads them, with the programs where the package puts them."""
    folder = os.path.join(FOLDER.name, "units")
    os.makedirs(folder)
    for unit in UNITS:
        found = glob.glob(UNPACKED + "/**/systemd/system/" + unit, recursive=True)
        with open(found[0]) as f, open(os.path.join(folder, unit), "w") as out:
            out.write(f.read().replace("/usr/bin/sluice", UNPACKED + "/usr/bin/sluice"))
        done = subprocess.run(["systemd-analyze", "verify", os.path.join(folder, unit)], capture_output=True, text=True)
        assert done.returncode == 0 and unit not in done.stderr, done.stderr


def installs_into_a_bare_root():
    root = os.path.join(FOLDER.name, "root")
    run("debootstrap", "--variant=minbase", "bookworm", root)
    os.link(package(), os.path.join(root, "sluice.deb"))
    chroot = ("chroot", root, "/usr/bin/env", "DEBIAN_FRONTEND=noninteractive")
    run(*chroot, "apt-get", "update")
    run(*chroot, "apt-get", "install", "-y", "/sluice.deb")
    with Server(command=("serve", MODEL, "--port", "0"), binary="/usr/bin/sluice", wrapper=("chroot", root)) as server:
        assert answers(server.port)
        assert server.stop() == 0
    run(*chroot, "apt-get", "purge", "-y", "sluice")
    assert not os.path.exists(root + "/usr/bin/sluice")


CASES = [is_made, serves_from_where_it_was_unpacked, units_are_good]
if "--long" in sys.argv:
    CASES.append(installs_into_a_bare_root)

if __name__ == "__main__":
    sys.exit(cases.run(CASES))
