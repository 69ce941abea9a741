"""Stock kubectl, as programs to call; and a controller for it to talk to."""
import glob
import http.client
import json
import os
import re
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import BINARY  # noqa: E402

CACHE = "build/test/kubectl"


def debian_kubectl():
    """kubectl of Debian's kubernetes-client, unpacked and not installed: it would take the place of a newer one."""
    program = os.path.abspath(CACHE + "/usr/bin/kubectl")
    if not os.path.exists(program):
        os.makedirs(CACHE, exist_ok=True)
        done = subprocess.run(["apt-get", "download", "-q", "kubernetes-client"], cwd=CACHE, capture_output=True, text=True)
        packages = glob.glob(CACHE + "/kubernetes-client_*.deb")
        if done.returncode or not packages:
            return None
        subprocess.run(["dpkg", "-x", packages[0], CACHE], check=True)
    return program


def programs():
    """Name and path of each kubectl at hand, and why one is not."""
    found, missing = {}, []
    old = debian_kubectl()
    if old:
        found["kubectl-1.20"] = old
    else:
        missing.append("kubectl of Debian: the package kubernetes-client cannot be downloaded")
    newer = shutil.which("kubectl")
    if newer:
        found["kubectl-on-path"] = newer
    else:
        missing.append("kubectl on PATH: there is none")
    return found, missing


class Controller:
    """A controller over a folder of its own."""

    def __init__(self, folder=None, arguments=(), file_bytes=None):
        """`file_bytes`: the longest file that it may write, as a disk that is full."""
        self.file_bytes = file_bytes
        self.temporary = None if folder else tempfile.TemporaryDirectory()
        self.folder = folder or self.temporary.name
        self.arguments = list(arguments)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if self.temporary:
            self.temporary.cleanup()

    def start(self):
        self.log = open(os.path.join(self.folder, "controller.log"), "a+")
        self.process = subprocess.Popen([BINARY, "controller", "--data", self.folder, "--port", "0", *self.arguments],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        restore_signals=self.file_bytes is None, preexec_fn=self._limit,
                                        # Models of the hub are named, and never asked for.
                                        env=dict(os.environ, HF_ENDPOINT="https://127.0.0.1:9"))
        end = time.monotonic() + 20
        begin = self.log.tell()
        while time.monotonic() < end:
            with open(self.log.name) as log:
                log.seek(begin)
                text = log.read()
            match = re.search(r"serves on https://127.0.0.1:(\d+)", text)
            if match:
                self.port = int(match.group(1))
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("the controller did not start: " + text)

    def _limit(self):
        if self.file_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes, self.file_bytes))

    def stop(self, kill=False):
        if self.process and self.process.poll() is None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(20)
        self.log.close()

    def kubeconfig(self, role=""):
        return os.path.join(self.folder, "kubeconfig" + ("-" + role if role else ""))


class Api:
    """The API without kubectl between."""

    def __init__(self, controller):
        with open(controller.kubeconfig()) as f:
            self.token = re.search(r"token: (\S+)", f.read()).group(1)
        context = ssl.create_default_context(cafile=os.path.join(controller.folder, "tls.crt"))
        self.connection = http.client.HTTPSConnection("127.0.0.1", controller.port, context=context, timeout=30)

    def call(self, method, path, body=None, **headers):
        headers = dict({"Authorization": "Bearer " + self.token}, **{k.replace("_", "-"): v for k, v in headers.items()})
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        return response.status, response.read()

    def json(self, method, path, body=None, **headers):
        status, text = self.call(method, path, body, **headers)
        return status, json.loads(text)


class Kubectl:
    """One kubectl with one kubeconfig. A fresh cache: discovery is part of what is tested."""

    def __init__(self, program, kubeconfig):
        self.program = program
        self.cache = tempfile.mkdtemp(prefix="kubectl-cache-")
        self.environment = dict(os.environ, KUBECONFIG=kubeconfig, HOME=self.cache, KUBECTL_EXTERNAL_DIFF="diff -u -N")

    def close(self):
        shutil.rmtree(self.cache, ignore_errors=True)

    def run(self, *arguments, stdin=None, status=0, timeout=60, environment=None):
        done = subprocess.run([self.program, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout,
                              env=dict(self.environment, **(environment or {})))
        assert status is None or done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def out(self, *arguments, **options):
        return self.run(*arguments, **options).stdout

    def refused(self, *arguments, **options):
        """What it says when it fails."""
        done = self.run(*arguments, status=None, **options)
        assert done.returncode != 0, (arguments, done.stdout)
        return done.stdout + done.stderr

    def start(self, *arguments):
        return subprocess.Popen([self.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=self.environment)
