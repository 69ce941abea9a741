"""What else the machine does while something is measured: shared by the comparisons of bench/."""
import os
import time

HZ = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count()


def busy_seconds():
    """Processor time of the whole machine since it started."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:]]
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / HZ


def process_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / HZ


def children_seconds():
    """Processor time of this process and of its children that have ended."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def memory_mib(pid):
    """Resident memory of a process: all of it, its highest, and the parts without and with a file behind them."""
    out = {}
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "VmHWM", "RssAnon", "RssFile"):
                out[key] = round(int(value.split()[0]) / 1024, 1)
    return out


class Others:
    """Share of the cores that processes other than ours used. `pids`: processes of ours that go on running."""

    def __init__(self, pids=()):
        self.pids = pids
        self.at, self.busy, self.own = time.monotonic(), busy_seconds(), self._own()

    def _own(self):
        return children_seconds() + sum(process_seconds(p) for p in self.pids)

    def share(self):
        span = max(time.monotonic() - self.at, 1e-3) * CORES
        return round(max(0.0, busy_seconds() - self.busy - (self._own() - self.own)) / span, 4)


def wait_until_quiet(most, patience):
    """Waits until others use less than `most` of the cores for half a second; False when patience is over."""
    deadline = time.monotonic() + patience
    while True:
        others = Others()
        time.sleep(0.5)
        if others.share() <= most:
            return True
        if time.monotonic() >= deadline:
            return False
