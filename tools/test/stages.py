"""The stages of ./test, in order: name, budget in minutes on two cores, what to run."""
import glob
import os
import platform
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
import xml.etree.ElementTree as ElementTree

JOBS = str(os.cpu_count() or 2)
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
BINARY_TIMEOUT = 600
FUZZ_SECONDS = 30
FUZZ_TARGETS = 20
# Emulated processors: with all instruction sets of NEON that kernels exist for, with the int8 dot product
# alone, with nothing beyond NEON. On the last two, a few tests show what is found and that it works.
NEON_FEW = "Isas.*:*Matmul.SpecialValues*:*Matmul.RowsAreBitEqual*"
NEON_CPUS = {"max": "*", "neoverse-n1": NEON_FEW, "cortex-a57": NEON_FEW}
# Under ASan: the parity of every model, but not that of wrong ones, whose code is the same.
ASAN_ONLY = {"parity_test": "-*RefusesMoreThanRounding*"}
ASAN_SEEDS = 40  # of the simulated platform; the release build runs 120
# Rooms whose tests run under TSan: those with threads of their own.
TSAN_ROOMS = ("base", "telemetry", "net", "kernels", "engine", "serving", "endpoint", "gateway")


class Context:
    def __init__(self, long):
        self.long = long
        self.passed = 0
        self.failures = []
        self.skips = []
        self.broken = False  # a build failed: later stages make no sense
        self.lock = threading.Lock()

    def pass_one(self):
        with self.lock:
            self.passed += 1

    def fail(self, what):
        with self.lock:
            self.failures.append(what)
            print("FAILED: " + what, flush=True)


def call(command, log, env=None, timeout=None):
    """Runs with output to a log file; True when it exits with 0."""
    with open(log, "wb") as out:
        try:
            done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env=dict(os.environ, **(env or {})), timeout=timeout)
        except subprocess.TimeoutExpired:
            out.write(b"\n(timed out)\n")
            return False
    return done.returncode == 0


def tail(log, lines=40):
    with open(log, errors="replace") as f:
        print("".join(f.readlines()[-lines:]), flush=True)


def build(context, preset, targets=()):
    for command in (["cmake", "--preset", preset],
                    ["cmake", "--build", "build/" + preset, "-j", JOBS] +
                    (["--target"] + list(targets) if targets else [])):
        log = "build/test/build-%s.log" % preset
        if not call(command, log):
            tail(log)
            context.fail("build of preset %s" % preset)
            context.broken = True
            return


def run_gtest(context, binary, label, env, runner=(), only="*"):
    xml = "build/test/%s.xml" % label
    log = "build/test/%s.log" % label
    if os.path.exists(xml):
        os.remove(xml)
    ok = call([*runner, binary, "--gtest_output=xml:" + xml, "--gtest_brief=1", "--gtest_filter=" + only], log, env=env,
              timeout=BINARY_TIMEOUT * (20 if context.long else 1))
    if not os.path.exists(xml):
        tail(log)
        context.fail("%s died or ran too long" % label)
        return
    failed = 0
    for case in ElementTree.parse(xml).getroot().iter("testcase"):
        name = "%s: %s.%s" % (label, case.get("classname"), case.get("name"))
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            failed += 1
            context.fail(name)
        elif skipped is not None:
            reason = (skipped.get("message") or "").strip().split("\n")[-1]
            if reason:
                context.skips.append(name + ": " + reason)
            else:
                context.fail(name + " was skipped without a reason")
        else:
            context.pass_one()
    if failed or not ok:
        tail(log)
    if not ok and not failed:
        context.fail("%s exited with a failure (a sanitizer report?)" % label)


def run_script(context, path):
    """A test program of any language: its last line counts its cases."""
    label = os.path.relpath(path, "tests").replace("/", "-")
    log = "build/test/%s.log" % label
    ok = call([path] + (["--long"] if context.long else []), log, timeout=7200 if context.long else 900)
    with open(log, errors="replace") as f:
        lines = f.read().strip().split("\n")
    match = SUMMARY.match(lines[-1].strip())
    if match:
        context.passed += int(match.group(1))
        context.skips += ["%s: %s" % (label, line) for line in lines if line.startswith("skipped: ")]
        if int(match.group(3)) > sum(line.startswith("skipped: ") for line in lines):
            context.fail(label + " skipped without a reason")
        for line in lines:
            if line.startswith("failed: "):
                context.fail("%s: %s" % (label, line[8:]))
        if int(match.group(2)) and not any(line.startswith("failed: ") for line in lines):
            context.fail(label)
    if not ok or not match:
        tail(log)
        if not match or not int(match.group(2)):
            context.fail("%s ended without its summary or with an error" % label)


def gtest_binaries(preset):
    found = glob.glob("build/%s/src/*/*_test" % preset) + glob.glob("build/%s/tests/*/*_test" % preset)
    return sorted(path for path in found if os.access(path, os.X_OK) and os.path.isfile(path))


def print_isas(label):
    """The instruction sets that the tests of the kernels ran with, and those that the processor lacks."""
    xml = "build/test/%s.xml" % label
    ran, lacking = [], []
    for case in ElementTree.parse(xml).getroot().iter("testcase") if os.path.exists(xml) else ():
        if case.get("classname").startswith("Isa/"):
            isas = ran if case.find("skipped") is None else lacking
            isas.append(case.get("name").split("/")[-1])
    print("   %s: %s; lacking: %s" % (label, " ".join(dict.fromkeys(ran)), " ".join(dict.fromkeys(lacking)) or "none"),
          flush=True)


def run_gtests(context, binaries, prefix, env, only=None):
    """As many test binaries beside each other as there are cores, the largest ones first. `only`: of some, by name."""
    def run(binary):
        name = os.path.basename(binary)
        run_gtest(context, binary, prefix + "-" + name, env, only=(only or {}).get(name, "*"))

    with ThreadPoolExecutor(int(JOBS)) as pool:
        list(pool.map(run, sorted(binaries, key=os.path.getsize, reverse=True)))


def release(context):
    build(context, "release")
    if not context.broken:
        call(["build/release/sluice", "--version"], "build/test/version.log")
        tail("build/test/version.log")


def tests(context):
    env = {"SLUICE_LONG": "1"} if context.long else {}
    run_gtests(context, gtest_binaries("release"), "release", env)
    print_isas("release-kernels_test")


def neon(context):
    """The rooms that know of the processor, cross-built and run on emulated ones."""
    if platform.machine() == "aarch64":
        print("   nothing to emulate: the other stages run NEON here")
        return
    build(context, "neon")
    if context.broken:
        return
    env = {} if context.long else {"SLUICE_EMULATED": "1"}
    for cpu, only in NEON_CPUS.items():
        runner = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", cpu]
        for room in ("base", "tensor", "kernels") if cpu == "max" else ("kernels",):
            run_gtest(context, "build/neon/src/%s/%s_test" % (room, room), "%s-%s_test" % (cpu, room), env, runner,
                      "*" if context.long else only)
        print_isas(cpu + "-kernels_test")


def scripts(context):
    for path in sorted(glob.glob("tests/*/run.sh")) + ["tools/test/tidy.py"]:
        began = time.monotonic()
        run_script(context, path)
        print("   %s %.0f s" % (path, time.monotonic() - began), flush=True)


def test_targets():
    rooms = {path.split("/")[1] + "_test" for path in glob.glob("src/*/*_test.cc")}
    return sorted(rooms | {os.path.basename(path)[:-3] for path in glob.glob("tests/*/*_test.cc")})


def fuzz_targets(context):
    """All, or as many as there is time for, others after each commit."""
    targets = sorted(os.path.basename(path)[:-3] for path in glob.glob("fuzz/*_fuzz.cc"))
    if len(targets) > FUZZ_TARGETS and not context.long:
        head = subprocess.run(["git", "rev-list", "--count", "HEAD"], capture_output=True, text=True)
        start = int(head.stdout.strip() or 0) * FUZZ_TARGETS % len(targets)
        targets = (targets + targets)[start:start + FUZZ_TARGETS]
    return targets


def asan(context):
    build(context, "asan", test_targets() + fuzz_targets(context))
    if context.broken:
        return
    env = {"ASAN_OPTIONS": "detect_stack_use_after_return=1:allocator_may_return_null=1",
           "UBSAN_OPTIONS": "print_stacktrace=1"}
    if not context.long:
        env["SLUICE_SIM_SEEDS"] = str(ASAN_SEEDS)
    run_gtests(context, gtest_binaries("asan"), "asan", env, {} if context.long else ASAN_ONLY)


def tsan(context):
    build(context, "tsan", [room + "_test" for room in TSAN_ROOMS])
    if context.broken:
        return
    run_gtests(context, ["build/tsan/src/%s/%s_test" % (room, room) for room in TSAN_ROOMS], "tsan",
               {"TSAN_OPTIONS": "halt_on_error=1 suppressions=tools/test/tsan.supp"})


def fuzz(context):
    """Each target of the asan build for a while, two at a time, over its committed corpus."""
    targets = fuzz_targets(context)
    seconds = 1800 if context.long else FUZZ_SECONDS
    for at in range(0, len(targets), 2):
        running = []
        for name in targets[at:at + 2]:
            corpus = "build/test/corpus/" + name
            os.makedirs(corpus, exist_ok=True)
            seeds = ["fuzz/corpus/" + name] if os.path.isdir("fuzz/corpus/" + name) else []
            log = open("build/test/fuzz-%s.log" % name, "wb")
            running.append((name, log, subprocess.Popen(
                ["build/asan/fuzz/" + name, corpus] + seeds +
                ["-max_total_time=%d" % seconds, "-timeout=20", "-rss_limit_mb=4096",
                 "-print_final_stats=1", "-artifact_prefix=build/test/%s-" % name],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)))
        for name, log, process in running:
            status = process.wait()
            log.close()
            if status == 0:
                context.passed += 1
            else:
                tail(log.name)
                context.fail("fuzz target %s (input kept under build/test)" % name)


def lint(context):
    """Format of all C++ files; clang-tidy on the files of the last commit."""
    files = subprocess.run(["git", "ls-files", "*.cc", "*.h"], capture_output=True, text=True).stdout.split()
    if call(["clang-format-19", "--dry-run", "-Werror"] + files, "build/test/format.log"):
        context.passed += 1
    else:
        tail("build/test/format.log")
        context.fail("clang-format-19 would change files")
    changed = subprocess.run(["git", "diff", "--name-only", "--diff-filter=d", "HEAD~1", "--", "src"],
                             capture_output=True, text=True).stdout.split()
    changed = [f for f in (changed or []) if f.endswith(".cc")][:12]
    if not changed:
        return
    log = "build/test/tidy.log"
    if call(["clang-tidy-19", "--quiet", "-p", "build/release"] + changed, log):
        context.passed += 1
    else:
        tail(log)
        context.fail("clang-tidy-19 on the files of the last commit")


STAGES = [
    ("release", 8, release),
    ("tests", 5, tests),
    ("neon", 3, neon),
    ("scripts", 6, scripts),
    ("lint", 2, lint),
    ("asan", 12, asan),
    ("tsan", 6, tsan),
    ("fuzz", 6, fuzz),
]
