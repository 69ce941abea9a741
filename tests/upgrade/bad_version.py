"""A version of a model's server that ought not to have been released; a ServingRuntime starts it.
  bad_version.py failing PORT                            answers every request with 500
  bad_version.py slow PORT SLUICE MODEL [ARGUMENT…]      `sluice serve`, each answer of which begins too late"""
import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading

DELAY = 1.0


class Handler(http.server.BaseHTTPRequestHandler):
    # Every answer ends with its connection, so that the end has none to wait for.
    protocol_version = "HTTP/1.0"
    behind = None  # port of the server that knows the answers

    def log_message(self, *_):
        pass

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, "text/plain", b"ready")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.behind is None:
            return self.answer(500, "application/json", json.dumps(
                {"error": {"message": "this version is broken", "type": "server_error"}}).encode())
        threading.Event().wait(DELAY)
        connection = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=120)
        connection.request("POST", self.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        kind = response.getheader("Content-Type") or "application/json"
        if not kind.startswith("text/event-stream"):
            return self.answer(response.status, kind, response.read())
        self.send_response(response.status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        while piece := response.read1(65536):
            self.wfile.write(piece)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # the end waits for the answers that have begun
    request_queue_size = 128


def serve_behind(command):
    env = {name: value for name, value in os.environ.items() if name not in ("PORT", "LISTEN_FDS", "LISTEN_PID")}
    child = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
    line = b""
    while b"serves on" not in line:
        line = child.stderr.readline()
        if not line:
            sys.exit("the server behind did not start")
    threading.Thread(target=child.stderr.read, daemon=True).start()
    return child, int(re.search(rb":(\d+)\s*$", line).group(1))


def main():
    kind, port, *command = sys.argv[1:]
    child = None
    if kind == "slow":
        child, Handler.behind = serve_behind([command[0], "serve", *command[1:]])
    server = Server(("127.0.0.1", int(port)), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(0.05)
    server.server_close()
    if child:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    main()
