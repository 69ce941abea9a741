"""The wire between a gateway and one replica: passes bytes on, and can turn slow or be half closed by the replica's side."""
import asyncio
import threading

PIECE = 4096
SLOW_PIECE, SLOW_PAUSE = 48, 0.05


class Link:
    """Listens on a port of its own and passes on to `target`, which may change. `mode`: "open", "slow", "half" (of each
    connection, those there are and new ones, the replica's side ends and the gateway's is still read)."""

    loop = None

    def __init__(self):
        if Link.loop is None:
            Link.loop = asyncio.new_event_loop()
            threading.Thread(target=Link.loop.run_forever, daemon=True).start()
        self.target = None
        self.mode = "open"
        self.near = set()
        self.server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def _run(self, what):
        return asyncio.run_coroutine_threadsafe(what, Link.loop).result(10)

    def set(self, mode):
        async def change():
            self.mode = mode
            for writer in list(self.near) if mode == "half" else ():
                end(writer)
        self._run(change())

    def close(self):
        async def shut():
            self.server.close()
            for writer in list(self.near):
                writer.transport.abort()
        self._run(shut())

    async def _serve(self, near_reader, near):
        self.near.add(near)
        far = None
        try:
            if self.mode == "half":
                end(near)
                await drop(near_reader)
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self._pass(near_reader, far, False), self._pass(far_reader, near, True))
        except OSError:
            pass
        finally:
            self.near.discard(near)
            for writer in (near, far):
                if writer:
                    writer.transport.abort()

    async def _pass(self, reader, writer, answers):
        while True:
            data = await reader.read(SLOW_PIECE if answers and self.mode == "slow" else PIECE)
            if not data:
                # A side that ends ends both: replicas do not half-close by themselves.
                raise ConnectionResetError
            if answers and self.mode == "slow":
                await asyncio.sleep(SLOW_PAUSE)
            if answers and writer not in self.near:
                return
            if writer.transport.is_closing() or (answers and self.mode == "half"):
                continue
            writer.write(data)
            await writer.drain()


def end(writer):
    try:
        if not writer.transport.is_closing():
            writer.write_eof()
    except OSError:
        pass  # the gateway has left


async def drop(reader):
    while await reader.read(PIECE):
        pass
