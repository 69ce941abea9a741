"""Servers with certificates, and Python's own TLS as their client."""
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

os.environ["GRPC_VERBOSITY"] = "NONE"  # the refusals that are asked for here
import grpc  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import cases  # noqa: E402
from certificates import Authority, replace  # noqa: E402
from server import BINARY, MODEL, Server  # noqa: E402

ASK = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
FOLDER = tempfile.TemporaryDirectory()
AUTHORITY = Authority(FOLDER.name, "authority")
STRANGER = Authority(FOLDER.name, "stranger")
HERE = AUTHORITY.issue("here")
CLIENT = AUTHORITY.issue("client", "DNS:client.test")
STRANGE_CLIENT = STRANGER.issue("strange", "DNS:client.test")


def flags(identity=HERE):
    return ["--ssl-certfile", identity[0], "--ssl-keyfile", identity[1]]


def trust(authority=AUTHORITY, identity=None):
    context = ssl.create_default_context(cafile=authority.file)
    if identity:
        context.load_cert_chain(*identity)
    return context


def connect(port, context):
    return http.client.HTTPSConnection("localhost", port, timeout=30, context=context)


def ask(port, context, **fields):
    connection = connect(port, context)
    connection.request("POST", "/v1/completions", json.dumps(dict(ASK, **fields)), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    assert response.status == 200, (response.status, body)
    return body


def refused(port, context):
    try:
        ask(port, context)
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        return
    raise AssertionError("a client that should be refused was answered")


def serial(port):
    """Of the certificate that the server shows."""
    with socket.create_connection(("localhost", port), timeout=30) as raw:
        with trust().wrap_socket(raw, server_hostname="localhost") as secured:
            return secured.getpeercert()["serialNumber"]


def wait_for(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def answers_and_streams():
    with Server() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", "/v1/completions", json.dumps(ASK), {"Content-Type": "application/json"})
        plain = json.loads(connection.getresponse().read())["choices"][0]["text"]
    with Server(flags()) as server:
        assert json.loads(ask(server.port, trust()))["choices"][0]["text"] == plain
        stream = ask(server.port, trust(), stream=True)
        parts = [json.loads(line[6:]) for line in stream.split("\n") if line.startswith("data: {")]
        assert "".join(part["choices"][0]["text"] for part in parts if part["choices"]) == plain, stream
        assert stream.rstrip().endswith("data: [DONE]")
        refused(server.port, trust(STRANGER))
        connection = http.client.HTTPConnection("localhost", server.port, timeout=30)
        connection.request("GET", "/ready")
        response = connection.getresponse()
        assert response.status == 400 and b"HTTPS" in response.read()
        assert server.stop() == 0


def client_certificates():
    ca = ["--ssl-ca-certs", AUTHORITY.file]
    with Server(flags() + ca + ["--ssl-cert-reqs", "2"]) as server:
        ask(server.port, trust(identity=CLIENT))
        refused(server.port, trust())
        refused(server.port, trust(identity=STRANGE_CLIENT))
    with Server(flags() + ca + ["--ssl-cert-reqs", "1"]) as server:
        ask(server.port, trust())
        refused(server.port, trust(identity=STRANGE_CLIENT))


def new_files_under_a_running_server():
    first, second = AUTHORITY.issue("first"), AUTHORITY.issue("second")
    with Server(flags(first)) as server:
        before = serial(server.port)
        stream = []
        reader = threading.Thread(target=lambda: stream.append(
            ask(server.port, trust(), stream=True, max_tokens=900, ignore_eos=True)))
        reader.start()
        replace(first[0], second[0])  # without its key: refused, the old pair stays
        wait_for(lambda: "refused" in server.read_log())
        assert serial(server.port) == before
        replace(first[1], second[1])
        wait_for(lambda: serial(server.port) != before)
        reader.join(60)
        assert stream and stream[0].rstrip().endswith("[DONE]"), "the stream was cut"


def live(port, authority=AUTHORITY, identity=None):
    """Whether gRPC's ServerLive answers (its request is empty, its answer one true field)."""
    def read(path):
        with open(path, "rb") as f:
            return f.read()
    key, chain = (read(identity[1]), read(identity[0])) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(read(authority.file), key, chain)
    with grpc.secure_channel("localhost:%d" % port, credentials) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        try:
            return ask(b"", timeout=10) == b"\x08\x01"
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNAVAILABLE, e
            return False


def grpc_too():
    ca = ["--ssl-ca-certs", AUTHORITY.file, "--ssl-cert-reqs", "2"]
    with Server(flags() + ["--grpc-port", "0"]) as server:
        assert live(server.grpc_port())
        assert not live(server.grpc_port(), STRANGER)
        with grpc.insecure_channel("localhost:%d" % server.grpc_port()) as channel:
            try:
                channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)
                raise AssertionError("answered in the clear")
            except grpc.RpcError as e:
                assert e.code() == grpc.StatusCode.UNAVAILABLE, e
    with Server(flags() + ca + ["--grpc-port", "0"]) as server:
        assert live(server.grpc_port(), identity=CLIENT)
        assert not live(server.grpc_port())
        assert not live(server.grpc_port(), identity=STRANGE_CLIENT)
    pair = AUTHORITY.issue("grpc_first")
    other = STRANGER.issue("grpc_second")
    with Server(flags(pair) + ["--grpc-port", "0"]) as server:
        assert live(server.grpc_port())
        replace(pair[1], other[1])
        replace(pair[0], other[0])
        wait_for(lambda: live(server.grpc_port(), STRANGER))


def our_own_clients():
    env = dict(os.environ, SSL_CERT_FILE=AUTHORITY.file)
    with Server(flags()) as server:
        url = "https://localhost:%d" % server.port
        out = subprocess.run([BINARY, "chat", "--url", url, "--max-tokens", "8", "-o", "json", "Hi"],
                             capture_output=True, text=True, timeout=60, env=env)
        assert out.returncode == 0 and json.loads(out.stdout)["content"], out.stderr
        out = subprocess.run([BINARY, "chat", "--url", url, "--max-tokens", "8", "Hi"], capture_output=True, text=True,
                             timeout=60)
        assert out.returncode != 0 and "certificate" in out.stderr, out.stderr
        out = subprocess.run([BINARY, "bench", "--url", url, "--num-prompts", "8", "--output-tokens", "4", "-o", "json"],
                             capture_output=True, text=True, timeout=60, env=env)
        assert json.loads(out.stdout)["succeeded"] == 8, out.stderr


def gateway_plan(replica_ports, server, upstream):
    """The text of a gateway's configuration over Sluice replicas on https."""
    return json.dumps({
        "listen": "127.0.0.1:0", "server": server,
        "access_log": {"path": os.path.join(FOLDER.name, "access.log")},
        "upstreams": [dict({"name": "story", "kind": "sluice", "internal_token": {"env": "STORY_TOKEN"},
                            "endpoints": [{"url": "https://localhost:%d" % port} for port in replica_ports],
                            "health": {"interval": "100ms"}}, **upstream)],
        "routes": [{"name": "story", "match": {"models": ["story"]}, "public": True,
                    "targets": [{"upstream": "story"}]}]})


class Gateway(Server):
    def __init__(self, plan):
        self.config = os.path.join(FOLDER.name, "gateway.json")
        with open(self.config, "w") as f:
            f.write(plan)
        super().__init__(["--reload-interval", "1", "--grpc-port", "0"], command=("gateway", "--config", self.config),
                         env=dict(os.environ, STORY_TOKEN="inside"))

    def ready(self, context):
        connection = connect(self.port, context)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200


def behind_a_gateway():
    """Client, gateway and replica each know the other by certificate; streams outlive their replica as in the clear."""
    inside = flags() + ["--ssl-ca-certs", AUTHORITY.file, "--ssl-cert-reqs", "2", "--internal-token", "inside"]
    identity = {"ca": AUTHORITY.file, "certificate": CLIENT[0], "key": CLIENT[1]}
    first, second = AUTHORITY.issue("gateway_first"), AUTHORITY.issue("gateway_second")
    tls = {"certificates": [{"certificate": first[0], "key": first[1]}]}
    fields = {"model": "story", "max_tokens": 300, "ignore_eos": True}
    with Server(inside) as one, Server(inside) as other:
        server = {"tls": tls, "trusted_proxies": ["127.0.0.0/8", "::1"]}
        with Gateway(gateway_plan([one.port, other.port], server, {"tls": identity})) as gateway:
            wait_for(lambda: gateway.ready(trust()))
            assert live(gateway.grpc_port())
            assert not live(gateway.grpc_port(), STRANGER)
            whole = json.loads(ask(gateway.port, trust(), **fields))["choices"][0]["text"]
            answers = []
            reader = threading.Thread(target=lambda: answers.append(ask(gateway.port, trust(), stream=True, **fields)))
            reader.start()
            one.process.kill()
            one.process.wait()
            reader.join(60)
            parts = [json.loads(line[6:]) for line in answers[0].split("\n") if line.startswith("data: {")]
            assert "".join(part["choices"][0]["text"] for part in parts if part["choices"]) == whole, answers
            # The client that a trusted proxy names stands in the access log.
            connection = connect(gateway.port, trust())
            connection.request("POST", "/v1/completions", json.dumps(dict(ASK, model="story")),
                               {"Content-Type": "application/json", "X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
            assert connection.getresponse().status == 200
            wait_for(lambda: '"peer":"203.0.113.9' in open(os.path.join(FOLDER.name, "access.log")).read())
            # New certificates: those of the file that the plan names, then another file's.
            before = serial(gateway.port)
            replace(first[1], second[1])
            replace(first[0], second[0])
            wait_for(lambda: serial(gateway.port) != before)
            third = AUTHORITY.issue("gateway_third")
            between = serial(gateway.port)
            server["tls"] = {"certificates": [{"certificate": third[0], "key": second[1]}]}
            for key, done in [(second[1], lambda: "mismatch" in gateway.read_log()),
                              (third[1], lambda: serial(gateway.port) != between)]:
                server["tls"] = {"certificates": [{"certificate": third[0], "key": key}]}
                with open(gateway.config + ".new", "w") as f:
                    f.write(gateway_plan([one.port, other.port], server, {"tls": identity}))
                os.replace(gateway.config + ".new", gateway.config)
                wait_for(done)
            ask(gateway.port, trust(), model="story")
            connection = connect(gateway.port, trust())
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
            assert 'sluice_gateway_config_reloads_total{result="refused"} 1' in page, page
        # Without its certificate, or believing another authority, the gateway reaches nobody.
        for wrong in ({"ca": AUTHORITY.file}, {"ca": STRANGER.file, "certificate": CLIENT[0], "key": CLIENT[1]}):
            with Gateway(gateway_plan([other.port], {"tls": tls}, {"tls": wrong})) as gateway:
                wait_for(lambda: "fails its check" in gateway.read_log())
                wait_for(lambda: not gateway.ready(trust()))


def bad_flags():
    for arguments, said in [(["--ssl-certfile", HERE[0]], "--ssl-keyfile"),
                            (["--ssl-keyfile", HERE[1]], "go together"),
                            (flags((HERE[0], CLIENT[1])), "mismatch"),
                            (flags((HERE[1], HERE[1])), HERE[1]),
                            (flags((HERE[0] + ".gone", HERE[1])), ".gone"),
                            (flags() + ["--ssl-cert-reqs", "2"], "--ssl-ca-certs"),
                            (flags() + ["--ssl-ca-certs", HERE[1], "--ssl-cert-reqs", "1"], "authorities")]:
        done = subprocess.run([BINARY, "serve", MODEL, "--port", "0", *arguments], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode != 0 and said in done.stderr + done.stdout, (arguments, done.stderr)


CASES = [answers_and_streams, client_certificates, new_files_under_a_running_server, grpc_too, our_own_clients, behind_a_gateway, bad_flags]


if __name__ == "__main__":
    sys.exit(cases.run(CASES))
