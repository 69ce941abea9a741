"""What /proc and the data folder say of a platform's replicas: who runs, who listens, what was left behind."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "up"))
from platform_process import command_line, descendants  # noqa: E402

LISTENS = "0A"


def all_processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def environment(pid):
    try:
        with open("/proc/%d/environ" % pid, errors="replace") as f:
            return dict(each.split("=", 1) for each in f.read().split("\0") if "=" in each)
    except OSError:
        return {}


def read_json(path):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return {}


class Processes:
    """The keepers and programs of one data folder, whoever their parents are by now."""

    def __init__(self, data):
        self.folder = os.path.join(os.path.realpath(data), "replicas")
        self.keepers, self.programs = {}, {}
        for pid in all_processes():
            words = command_line(pid)
            if len(words) > 2 and words[1] == "keep" and os.path.dirname(words[2]) == self.folder:
                self.keepers.setdefault(os.path.basename(words[2]), []).append(pid)
                continue
            where = link("/proc/%d/cwd" % pid)
            if any(words) and where.startswith(self.folder + os.sep):
                self.programs.setdefault(where[len(self.folder) + 1:].split(os.sep)[0], []).append(pid)

    def folders(self):
        return {name for name in os.listdir(self.folder) if not name.startswith(".")}

    def steps(self, replica, variable):
        """What the programs of a replica were given as that environment variable."""
        return {environment(pid).get(variable) for pid in self.programs.get(replica, [])}


def listeners(pids):
    """Port → socket → processes that hold it, of these processes."""
    ports = {}
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(file) as f:
                rows = [line.split() for line in f.read().split("\n")[1:] if line]
        except OSError:
            continue
        for row in rows:
            if row[3] == LISTENS:
                ports[row[9]] = int(row[1].rsplit(":", 1)[1], 16)
    out = {}
    for pid in pids:
        try:
            names = os.listdir("/proc/%d/fd" % pid)
        except OSError:
            continue
        for name in names:
            target = link("/proc/%d/fd/%s" % (pid, name))
            socket = target[8:-1] if target.startswith("socket:[") else None
            if socket in ports:
                out.setdefault(ports[socket], {}).setdefault(socket, set()).add(pid)
    return out


def problem(up, replicas):
    """Why processes, folders and ports are not those of `replicas` (Replica objects by id); None: they are."""
    found = Processes(up.data)
    for what, there in (("keepers of", set(found.keepers)), ("programs of", set(found.programs)), ("folders of", found.folders())):
        if there != set(replicas):
            return "%s %s, and objects of %s" % (what, sorted(there), sorted(replicas))
    twice = [each for each in (*found.keepers.values(), *found.programs.values()) if len(each) != 1]
    if twice:
        return "more than one process where one should be: %s" % [[command_line(pid) for pid in each] for each in twice]
    below = set(descendants(up.process.pid))
    held = listeners(below)
    owners = {}
    for replica, item in replicas.items():
        keeper, program = found.keepers[replica][0], found.programs[replica][0]
        if keeper not in below or program not in below:
            return "%s is not below the supervisor" % replica
        state = read_json(os.path.join(found.folder, replica, "state.json"))
        port = state.get("port")
        status = item.get("status", {})
        if status.get("pid") != program or not str(status.get("url", "")).endswith(":%s" % port):
            return "%s has process %d and port %s, its object says %s" % (replica, program, port, status)
        if port in owners:
            return "port %s belongs to %s and %s" % (port, replica, owners[port])
        owners[port] = replica
        sockets = held.get(port, {})
        if [set(pids) for pids in sockets.values()] != [{program}]:
            return "port %s of %s is held by %s, its program is %d" % (port, replica, sockets, program)
    for port in (up.port, up.control_port):
        if len(held.get(port, {})) != 1:
            return "port %d has %d sockets" % (port, len(held.get(port, {})))
    return None
