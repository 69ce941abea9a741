"""Starts `sluice gateway` on a free port, and scripted servers for it to stand before."""
import http.client
import http.server
import json
import os
import re
import select
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
from server import BINARY  # noqa: E402

START_SECONDS = 30


class Scripted:
    """A server that tells its name in every answer, and counts; `answer(handler, body)` may do otherwise."""

    def __init__(self, name, answer=None):
        self.name = name
        self.answer = answer
        self.requests = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer leaves in one piece

            def log_message(self, *_):
                pass

            def reply(self, status, value, headers=()):
                body = json.dumps(value).encode()
                self.send_response(status)
                for key, text in headers:
                    self.send_header(key, text)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def do_GET(self):
                self.reply(200, {})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.requests.append((self.path, dict(self.headers), body))
                if owner.answer is not None:
                    return owner.answer(self, body)
                return self.reply(200, {"who": owner.name, "text": owner.name, "model": body.get("model")})

        class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self.httpd = Threads(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()


class Front:
    """A running gateway over one configuration file."""

    def __init__(self, config, env=None):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "gateway.yaml")
        self.write(config)
        self.process = subprocess.Popen([BINARY, "gateway", "--config", self.path, "--port", "0", "--reload-interval", "1"],
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        self.log = b""
        self.port = int(self.wait_for_log(rb"gateway serves on http://[^\s]*:(\d+)").group(1))

    def write(self, config):
        with open(self.path + ".new", "w") as f:
            f.write(config)
        os.replace(self.path + ".new", self.path)

    def wait_for_log(self, pattern, seconds=START_SECONDS):
        """The first match of `pattern` in what was logged since the last call."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log)
            if found:
                self.log = self.log[found.end():]
                return found
            if select.select([self.process.stderr], [], [], 0.1)[0]:
                chunk = os.read(self.process.stderr.fileno(), 65536)
                if not chunk:
                    break
                self.log += chunk
        self.process.kill()
        raise RuntimeError("%r was not logged: %s" % (pattern, self.log.decode(errors="replace")))

    def reload(self, config):
        """The folder is watched: no signal is needed."""
        self.write(config)
        return self.wait_for_log(rb"(configuration taken|configuration was refused)[^\n]*\n([^\n]*)?")

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def post(self, body, headers=None, path="/v1/completions", connection=None):
        connection = connection or self.connect()
        connection.request("POST", path, json.dumps(body), dict({"Content-Type": "application/json"}, **(headers or {})))
        response = connection.getresponse()
        return response.status, response.read().decode()

    def get(self, path, headers=None):
        connection = self.connect()
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while self.get("/ready")[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.02)

    def metric(self, start):
        page = self.get("/metrics")[1]
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.split("\n") if line.startswith(start))

    def stop(self, seconds=40):
        self.process.terminate()
        status = self.process.wait(seconds)
        self.process.stderr.close()
        self.folder.cleanup()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def upstream(name, urls, more=""):
    endpoints = ", ".join('{url: "%s", name: %s%d}' % (url, name, i) for i, url in enumerate(urls))
    return "  - {name: %s, health: {interval: 200ms}, endpoints: [%s]%s}\n" % (name, endpoints, more)


def plan(upstreams, routes, rest=""):
    return "server: {metrics_public: true}\nupstreams:\n" + "".join(upstreams) + "routes:\n" + routes + rest
