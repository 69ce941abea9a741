"""Starts the real binary on a free port and stops it again. Shared by the tests of several folders."""
import os
import re
import select
import subprocess
import time

BINARY = os.environ.get("SLUICE", "build/release/sluice")
MODEL = "models/story.gguf"
START_SECONDS = 60


def readable(pipe, seconds=0.2):
    """Whether there is something to read, which is waited for; select() knows only the first 1,024 descriptors."""
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    return waiting.poll(int(seconds * 1000))


class Server:
    def __init__(self, arguments=(), models=(MODEL,), command=None, env=None, binary=BINARY, wrapper=()):
        command = command or ("serve", *models, "--port", "0")
        self.process = subprocess.Popen([*wrapper, binary, *command, *arguments], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        env=env)
        self.log = b""
        self.port = self._read_port()
        self.url = "http://127.0.0.1:%d" % self.port
        os.set_blocking(self.process.stderr.fileno(), False)

    def _read_port(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not readable(self.process.stderr):
                continue
            chunk = os.read(self.process.stderr.fileno(), 65536)
            if not chunk:
                break
            self.log += chunk
            found = re.search(rb"serves on https?://[^\s]*:(\d+)", self.log)
            if found:
                return int(found.group(1))
        self.process.kill()
        raise RuntimeError("the server did not start: " + self.log.decode(errors="replace"))

    def read_log(self):
        """All of the log so far."""
        while True:
            try:
                chunk = os.read(self.process.stderr.fileno(), 65536)
            except BlockingIOError:
                break
            if not chunk:
                break
            self.log += chunk
        return self.log.decode(errors="replace")

    def grpc_port(self):
        """The port of gRPC, which the log names behind that of HTTP."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = re.search(r"serves gRPC on [^\s]*:(\d+)", self.read_log())
            if found:
                return int(found.group(1))
            readable(self.process.stderr)
        raise RuntimeError("no gRPC port in the log: " + self.log.decode(errors="replace"))

    def alive(self):
        return self.process.poll() is None

    def stop(self, seconds=40):
        """SIGTERM; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return -9
        finally:
            self.read_log()
            self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.alive():
            self.stop()
        elif not self.process.stderr.closed:
            self.process.stderr.close()
