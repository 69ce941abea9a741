#!/usr/bin/python3
"""Reads the tree and fails on what the conventions forbid (CONTRIBUTING.md lists them)."""
import os
import re
import subprocess
import sys

MAX_LINES = 800
MAX_COLUMNS = 100
# Files that may be longer than MAX_LINES, each with its reason.
LONG_FILES = {}
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FORBIDDEN = [
    (re.compile(r"\bstd::regex\b"), "std::regex (use RE2 or PCRE2)"),
    (re.compile(r"(?<![\w:.>])s?rand\(\s*\)"), "rand() (use base/rng.h)"),
    (re.compile(r"(?<![\w:])(?:f|s)?printf\("), "printf (use fmt)"),
    (re.compile(r"\.detach\(\)"), "a detached thread"),
    (re.compile(r"\breinterpret_pointer_cast\b"), "reinterpret_pointer_cast"),
]
SLEEPS = re.compile(r"\bsleep_for\b|\bsleep_until\b|\busleep\(|\bnanosleep\(")
MACHINE_PATH = re.compile(r"/(?:work|root)/[a-z]")


class Report:
    def __init__(self):
        self.passed = 0
        self.failures = []

    def check(self, name, problems):
        if problems:
            self.failures += ["%s: %s" % (name, p) for p in problems]
        else:
            self.passed += 1


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--"] +
                         list(patterns), capture_output=True, text=True, check=True).stdout
    return sorted(f for f in out.split("\n") if f and os.path.exists(f))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def room_table():
    table, tests = {}, {}
    for line in read("tools/test/rooms.txt").split("\n"):
        if not line or line.startswith("#"):
            continue
        name, _, allowed = line.partition(":")
        if name.startswith("test "):
            tests[name[5:]] = set(allowed.split())
        else:
            table[name] = set(allowed.split())
    return table, tests


def room_edges(sources):
    table, tests = room_table()
    problems = []
    for path in sources:
        parts = path.split("/")
        if parts[0] != "src":
            continue
        room = parts[1]
        if room not in table:
            problems.append("%s: room '%s' is not in tools/test/rooms.txt" % (path, room))
            continue
        allowed = table[room] | {room}
        if re.search(r"(_test\.cc|test_\w+\.h|_testing\.h|fake_\w+\.h)$", path):
            allowed |= tests.get(room, set())
        for target in re.findall(r'^#include "(\w+)/', read(path), re.M):
            if target not in allowed:
                problems.append("%s includes room '%s'" % (path, target))
    return problems


def sizes(sources):
    problems = []
    for path in sources:
        lines = read(path).split("\n")
        if len(lines) > MAX_LINES and path not in LONG_FILES:
            problems.append("%s has %d lines; at most %d" % (path, len(lines), MAX_LINES))
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS and "http" not in line:
                problems.append("%s:%d has %d columns" % (path, number, len(line)))
    return problems


def short_enough_files(sources):
    """Nine in ten files under 500 lines."""
    long = [p for p in sources if read(p).count("\n") > 500]
    if len(long) * 10 > len(sources):
        return ["%d of %d files are over 500 lines: %s" % (len(long), len(sources), " ".join(long))]
    return []


def forbidden(sources):
    problems = []
    for path in sources:
        for number, line in enumerate(read(path).split("\n"), 1):
            code = line.split("//")[0]
            for pattern, what in FORBIDDEN:
                if pattern.search(code):
                    problems.append("%s:%d uses %s" % (path, number, what))
            if path.endswith("_test.cc") and SLEEPS.search(code):
                problems.append("%s:%d: a test must not sleep" % (path, number))
    return problems


def marks(files):
    return ["%s:%d: a leftover mark" % (path, number)
            for path in files if path != "tools/test/tidy.py"
            for number, line in enumerate(read(path).split("\n"), 1) if MARKS.search(line)]


def machine_paths(files):
    return ["%s:%d names a path of one machine" % (path, number)
            for path in files if path != "tools/test/tidy.py"
            for number, line in enumerate(read(path).split("\n"), 1) if MACHINE_PATH.search(line)]


def readmes():
    table, _ = room_table()
    return ["src/%s has no README.md" % room for room in table
            if os.path.isdir("src/" + room) and not os.path.exists("src/%s/README.md" % room)]


def links(documents):
    problems = []
    for path in documents:
        text = re.sub(r"```.*?```", "", read(path), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target) or target.startswith("#"):
                continue
            there = os.path.normpath(os.path.join(os.path.dirname(path), target.split("#")[0]))
            if not os.path.exists(there):
                problems.append("%s links to %s, which is not there" % (path, target))
    return problems


def fuzz_targets():
    """A fuzz target for each parser of foreign bytes."""
    wanted = ["gguf", "safetensors", "request_json", "tokenizer_json", "sentencepiece", "chat_template",
              "http1", "sse_client", "detokenizer", "infer_message", "chat_as_message",
              "internal_request", "internal_events", "plan", "body_scan", "registry", "hf_config",
              "replica_records"]
    return ["fuzz/%s_fuzz.cc is missing" % name for name in wanted
            if not os.path.exists("fuzz/%s_fuzz.cc" % name)]


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    sources = tracked("*.cc", "*.h", "*.inl")
    documents = tracked("*.md")
    scripts = tracked("*.py", "*.sh", "*.mjs", "*.cmake", "*CMakeLists.txt")
    report = Report()
    report.check("room edges", room_edges(sources))
    report.check("sizes", sizes(sources))
    report.check("file sizes", short_enough_files(sources))
    report.check("forbidden", forbidden(sources))
    report.check("marks", marks(sources + documents + scripts))
    report.check("machine paths", machine_paths(sources + documents + scripts))
    report.check("room readmes", readmes())
    report.check("links", links(documents))
    report.check("fuzz targets", fuzz_targets())
    for failure in report.failures:
        print("failed: " + failure)
    print("%d passed, %d failed, 0 skipped" % (report.passed, len(report.failures)))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
