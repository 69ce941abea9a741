"""Metadata services as the clouds have them, with a notice that a test gives: paths, headers, answers.
  AWS    docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html, and IMDSv2
  GCP    cloud.google.com/compute/docs/instances/create-use-preemptible (the key instance/preempted)
  Azure  learn.microsoft.com/azure/virtual-machines/linux/scheduled-events"""
import email.utils
import http.server
import json
import threading
import time
import urllib.parse

MACHINE = "this-machine"
TOKEN = "a-session-token"


class Metadata:
    def __init__(self, cloud):
        self.cloud, self.ends, self.wrong = cloud, None, []
        metadata = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                status, body = metadata.answer(self.command, self.path, self.headers)
                if status in (400, 405):
                    metadata.wrong.append("%s %s %s" % (self.command, self.path, dict(self.headers)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            do_GET = do_PUT = answer
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.server.server_port

    def give(self, seconds):
        self.ends = time.time() + seconds

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, target, headers):
        path, _, query = target.partition("?")
        return getattr(self, self.cloud)(method, path, urllib.parse.parse_qs(query), headers)

    def aws(self, method, path, _, headers):
        if path == "/latest/api/token":
            seconds = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            return (200, TOKEN.encode()) if method == "PUT" and seconds.isdigit() and 1 <= int(seconds) <= 21600 else (400, b"")
        if headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401, b""
        if path != "/latest/meta-data/spot/instance-action" or self.ends is None:
            return 404, b"<html>404 - Not Found</html>"
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.ends))
        return 200, json.dumps({"action": "terminate", "time": at}).encode()

    def gcp(self, method, path, _, headers):
        if method != "GET" or headers.get("Metadata-Flavor") != "Google":
            return 400, b""
        if path != "/computeMetadata/v1/instance/preempted":
            return 404, b""
        return 200, b"FALSE" if self.ends is None else b"TRUE"

    def azure(self, method, path, query, headers):
        if method != "GET" or headers.get("Metadata") != "true" or "api-version" not in query:
            return 400, b""
        if path == "/metadata/instance/compute/name":
            return 200, MACHINE.encode()
        if path != "/metadata/scheduledevents":
            return 404, b""
        events = [{"EventId": "1", "EventStatus": "Scheduled", "EventType": "Preempt", "ResourceType": "VirtualMachine",
                   "Resources": ["another-machine"], "NotBefore": email.utils.formatdate(time.time() + 1, usegmt=True),
                   "Description": "", "EventSource": "Platform", "DurationInSeconds": -1}]
        if self.ends is not None:
            events.append(dict(events[0], EventId="2", Resources=[MACHINE],
                               NotBefore=email.utils.formatdate(self.ends, usegmt=True)))
        return 200, json.dumps({"DocumentIncarnation": 1, "Events": events}).encode()
