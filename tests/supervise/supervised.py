"""`sluice gateway --supervise` as a process, its log, its children, its upgrades. Shared by the tests of several folders."""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from server import BINARY, Server  # noqa: E402


class Supervised(Server):
    def __init__(self, config, text, env, binary=BINARY):
        self.config = config
        self.write(text)
        super().__init__(["--supervise", "--reload-interval", "1"], command=("gateway", "--config", self.config), env=env,
                         binary=binary)
        self.wait_log("process (\\d+) started")

    def write(self, text):
        with open(self.config + ".new", "w") as f:
            f.write(text)
        os.replace(self.config + ".new", self.config)

    def wait_log(self, pattern, count=1, seconds=30):
        """The groups of the count-th match; every process's log goes through the supervisor's standard error."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = re.findall(pattern, self.read_log())
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.02)
        raise AssertionError("%r is not in the log %d times: %s" % (pattern, count, self.read_log()[-2000:]))

    def children(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
            return [int(word) for word in f.read().split()]

    def upgrade(self):
        before = len(re.findall("has taken over", self.read_log()))
        self.process.send_signal(signal.SIGUSR2)
        self.wait_log("has taken over", before + 1)
