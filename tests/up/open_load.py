"""Requests that come whether or not those before are answered, each on a thread of its own."""
import random
import threading
import time


class OpenLoad:
    """Calls `one(source)` at random moments, `rate` times a second on average; what it raises is a failed request."""

    def __init__(self, one, rate, seed=1):
        self.one, self.rate = one, rate
        self.source = random.Random(seed)
        self.lock, self.over = threading.Lock(), threading.Event()
        self.asked, self.answered, self.in_flight, self.failed = 0, 0, 0, []
        self.began = time.monotonic()
        self.requests = []
        self.clock = threading.Thread(target=self.run, daemon=True)
        self.clock.start()

    def run(self):
        at = time.monotonic()
        while True:
            # A rate that changes meanwhile holds for the next arrival.
            at += self.source.expovariate(self.rate)
            if self.over.wait(max(0.0, at - time.monotonic())):
                return
            with self.lock:
                self.asked += 1
                self.in_flight += 1
                source = random.Random(self.source.random())
            thread = threading.Thread(target=self.request, args=(source,))
            thread.start()
            self.requests = [each for each in self.requests if each.is_alive()] + [thread]

    def request(self, source):
        began, problem = time.monotonic(), None
        try:
            self.one(source)
        except Exception as e:  # noqa: BLE001
            problem = "%.2f to %.2f s: %r" % (began - self.began, time.monotonic() - self.began, e)
        with self.lock:
            self.in_flight -= 1
            self.answered += problem is None
            if problem:
                self.failed.append(problem)

    def stop(self):
        """No more requests; waits for those under way."""
        self.over.set()
        self.clock.join()
        for each in self.requests:
            each.join()
        return self

    def check(self):
        assert not self.failed, "%d of %d failed: %s" % (len(self.failed), self.asked, self.failed[:4])
        assert self.answered == self.asked > 0, (self.answered, self.asked)
