"""Servers that break the rules: each answers a chat completion as its name says. One thread a connection, loopback only."""
import json
import socket
import threading
import time

CHUNK = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [{"index": 0, "delta": {"content": "héllo "}, "finish_reason": None}]}
LAST = dict(CHUNK, choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
EVENT = ("data: %s\n\n" % json.dumps(CHUNK, ensure_ascii=False)).encode()
END = ("data: %s\n\n" % json.dumps(LAST)).encode()
DONE = b"data: [DONE]\n\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
BODY = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()


def whole(body=BODY, head=b"", status=b"200 OK", kind=b"application/json", length=None):
    size = len(body) if length is None else length
    return (b"HTTP/1.1 " + status + b"\r\nContent-Type: " + kind + b"\r\nContent-Length: " + str(size).encode() + b"\r\n" + head +
            b"Connection: close\r\n\r\n" + body)


def bytes_apart(data):
    return [data[i:i + 1] for i in range(len(data))]


# Name: the pieces that it sends; a number is a pause in seconds, None a reset.
BEHAVIOURS = {
    "good": [whole()],
    "good-stream": [SSE, EVENT, END, DONE],
    "no-done": [SSE, EVENT, END],
    "two-dones": [SSE, EVENT, END, DONE, DONE],
    "cr-only": [SSE, (EVENT + END + DONE).replace(b"\n", b"\r")],
    "byte-by-byte": [SSE] + bytes_apart(EVENT + END + DONE),
    "huge-event": [SSE, b"data: "] + [b"x" * 65536] * 400 + [b"\n\n", DONE],
    "comments": [SSE] + [b": keep\n\n"] * 200 + [EVENT, END, DONE],
    "byte-order-mark": [SSE, b"\xef\xbb\xbf", EVENT, END, DONE],
    "no-blank": [SSE, EVENT.replace(b"data: ", b"data:"), END.replace(b"data: ", b"data:"), b"data:[DONE]\n\n"],
    "error-in-stream": [SSE, EVENT, b'data: {"error":{"message":"boom","type":"server_error"}}\n\n'],
    "garbage-event": [SSE, EVENT, b"data: {nonsense\n\n", DONE],
    "html": [whole(b"<html>maintenance</html>", kind=b"text/html")],
    "error-as-200": [whole(b'{"error":{"message":"no"}}')],
    "no-content": [b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"],
    "interim-flood": [b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 500 + [whole()],
    "redirect": [whole(b"", head=b"Location: http://127.0.0.1:1/\r\n", status=b"302 Found")],
    "status-999": [whole(status=b"999 What")],
    "no-http": [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "header-bomb": [b"HTTP/1.1 200 OK\r\n"] + [b"A: " + b"b" * 8000 + b"\r\n"] * 500,
    "short-body": [whole(length=len(BODY) + 100)],
    "long-body": [whole(length=len(BODY) - 1)],
    "two-lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"],
    "length-and-chunks": [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    "bad-chunk": [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n"],
    "reset-at-once": [None],
    "reset-in-body": [whole()[:-20], None],
    "reset-in-stream": [SSE, EVENT, None],
    "silent": [30],
    "first-then-silent": [SSE, EVENT, 30],
    "retry-after-garbage": [whole(b"{}", head=b"Retry-After: -1, soon\r\n", status=b"503 Service Unavailable")],
    "retry-after-huge": [whole(b"{}", head=b"Retry-After: 1000000000\r\n", status=b"429 Too Many Requests")],
    "usage-lies": [whole(BODY.replace(b'"completion_tokens": 1', b'"completion_tokens": -7'))],
    "header-injection": [whole(b'{"error":{"message":"a\\r\\nSet-Cookie: x=1"}}', status=b"400 Bad Request")],
}


class Broken:
    """Listens on a port of its own for one behaviour."""

    def __init__(self, name):
        self.pieces = BEHAVIOURS[name]
        self.requests = 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        try:
            with connection:
                connection.settimeout(60)
                head = b""
                while b"\r\n\r\n" not in head:
                    more = connection.recv(65536)
                    if not more:
                        return
                    head += more
                self.requests += 1
                for piece in self.pieces:
                    if piece is None:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                        return
                    if isinstance(piece, (int, float)):
                        self.wait_for_end(connection, piece)
                        return
                    connection.sendall(piece)
        except OSError:
            pass

    @staticmethod
    def wait_for_end(connection, seconds):
        """Until the other side leaves, or the time is over."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and connection.recv(65536):
                pass
        except OSError:
            pass

    def close(self):
        self.socket.close()
