"""A wire tap between a gateway and one replica: passes bytes on event by event, and pulls a trigger behind the k-th token,
so that a replica dies exactly there however fast it is."""
import socket
import struct
import threading

START, DELTA = 1, 3


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of each field of a message in protobuf's wire format."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                size, at = varint(data, at)
            value = data[at:at + size]
            at += size
        yield key >> 3, value


def count_varints(data):
    return sum(1 for byte in data if byte < 128)


class Trigger:
    """Pulled once, behind the k-th token of the stream that gets there first. `action(tap)` returns whether the rest of the
    stream is passed on."""

    def __init__(self, tokens, action):
        self.tokens = tokens
        self.action = action
        self.lock = threading.Lock()
        self.pulled = False
        self.seed = None  # of the stream that pulled it

    def pull(self):
        with self.lock:
            first, self.pulled = not self.pulled, True
            return first


class Tap:
    """Listens on a port of its own and passes on to `target`, which may change."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.target = None
        self.process = None
        self.trigger = None
        self.streams = 0
        self.open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.open = False
        self.listener.close()

    def _accept(self):
        while self.open:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            return cut(near)
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.settimeout(None)
        threading.Thread(target=copy, args=(near, far), daemon=True).start()
        try:
            answers(far.makefile("rb"), near, self)
        except (OSError, ValueError, IndexError):
            pass
        cut(near)
        cut(far)


def cut(sock):
    """Closes with a reset, as a killed process's kernel does for bytes unread."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


def copy(source, sink):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    cut(sink)


def answers(far, near, tap):
    """Passes on one answer after another of a kept connection."""
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = far.readline()
            if not line:
                return
            head += line
        near.sendall(head)
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            tapped = b"application/vnd.sluice.internal" in lower
            if not pass_chunks(far, near, tap, tapped):
                return
            continue
        length = 0
        for line in lower.split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        near.sendall(far.read(length))


def pass_chunks(far, near, tap, tapped):
    pending = b""
    state = {"tokens": 0, "seed": None}
    if tapped:
        tap.streams += 1
    while True:
        size = int(far.readline().split(b";")[0], 16)
        data = far.read(size)
        far.readline()
        if size == 0:
            near.sendall(b"0\r\n\r\n")
            return True
        if not tapped:
            near.sendall(b"%x\r\n%s\r\n" % (size, data))
            continue
        pending += data
        while len(pending) >= 4:
            length = int.from_bytes(pending[:4], "little")
            if len(pending) < 4 + length:
                break
            frame, pending = pending[:4 + length], pending[4 + length:]
            near.sendall(b"%x\r\n%s\r\n" % (len(frame), frame))
            if not watch(frame[4:], state, tap):
                return False


def watch(frame, state, tap):
    kind = frame[0]
    _, at = varint(frame, 1)
    for number, value in fields(frame[at:]):
        if kind == START and number == 3:
            state["seed"] = value
        if kind == DELTA and number == 3:
            state["tokens"] += count_varints(value)
    trigger = tap.trigger
    if kind != DELTA or trigger is None or trigger.pulled or state["tokens"] < trigger.tokens:
        return True
    if not trigger.pull():
        return True
    trigger.seed = state["seed"]
    return trigger.action(tap)
