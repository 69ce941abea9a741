"""Replicas on slow processors: of each process's time, a small part. What they have to do waits instead of using up the machine."""
import os
import signal
import threading
import time

SLOTS = 10
SLOT_SECONDS = 0.005


class SlowReplicas:
    """Lets every `sluice serve` below a platform run in one slot of ten only; two that share a slot run beside each other. New ones run
    freely until they have been seen for `grace` seconds, so that their start is not what is measured."""

    def __init__(self, platform, grace=0.5):
        self.platform, self.grace = platform, grace
        self.seen, self.slots = {}, {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        for pid in self.slots:
            send(pid, signal.SIGCONT)

    def look(self):
        now = time.monotonic()
        alive = set(self.platform.replica_pids())
        self.seen = {pid: self.seen.get(pid, now) for pid in alive}
        self.slots = {pid: slot for pid, slot in self.slots.items() if pid in alive}
        for pid, since in self.seen.items():
            if pid not in self.slots and now - since >= self.grace:
                used = list(self.slots.values())
                self.slots[pid] = min(range(SLOTS), key=used.count)
                send(pid, signal.SIGSTOP)

    def run(self):
        slot, looked = 0, 0.0
        while not self.over.is_set():
            if time.monotonic() - looked > 0.2:
                self.look()
                looked = time.monotonic()
            running = [pid for pid, theirs in self.slots.items() if theirs == slot]
            for pid in running:
                send(pid, signal.SIGCONT)
            time.sleep(SLOT_SECONDS)
            for pid in running:
                send(pid, signal.SIGSTOP)
            slot = (slot + 1) % SLOTS


def send(pid, sig):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass
