"""Feeds seeded traces to the core (kpa_trace) and to the oracle (tools/oracles/kpa.py) and compares every decision. The replicas of a
trace follow what the core decides; a trace is right when the oracle, given the same lines, says the same at each tick. Then it is
shown that the comparison sees a difference: the same with a changed option must fail."""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

import traces

HERE = os.path.dirname(os.path.abspath(__file__))
ORACLE = os.path.join(HERE, "..", "..", "tools", "oracles", "kpa.py")


class Core:
    """The program under test, asked line by line; a line of options begins a new service."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def begin(self, line):
        self.process.stdin.write(line + "\n")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("kpa_trace ended with status %s at: %s" % (self.process.wait(), line))
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def run_core(core, seed):
    """The lines of the trace and the core's decisions."""
    trace = traces.Trace(seed)
    lines, decisions = [trace.first_line()], []
    core.begin(lines[0])
    for _ in range(trace.ticks):
        lines.append(trace.next())
        decisions.append(core.ask(lines[-1]))
        trace.told(decisions[-1]["desired"])
    return lines, decisions


def run_oracle(lines):
    with tempfile.TemporaryFile("w+") as trace:
        trace.write("\n".join(lines) + "\n")
        trace.seek(0)
        done = subprocess.run([sys.executable, ORACLE], stdin=trace, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        return None, done.stderr.strip().splitlines()[-1:]
    return [json.loads(line) for line in done.stdout.splitlines()], None


def first_difference(lines, ours, theirs):
    for number, (line, a, b) in enumerate(zip(lines[1:], ours, theirs), 1):
        if a != b:
            return "tick %d of %d: core %s, oracle %s, at %s, options %s" % (number, len(ours), a, b, line, lines[0])
    if len(ours) != len(theirs):
        return "%d decisions, the oracle made %d" % (len(ours), len(theirs))
    return None


def count_happenings(seen, lines, decisions):
    """What the traces reached, so that a generator that stopped reaching it is noticed."""
    has_number = json.loads(lines[0])["options"]["burst_target"] > 0
    before = None
    for now in decisions:
        seen["ticks"] += 1
        seen["ticks without an average"] += now["spare"] is None and has_number
        if before is not None:
            seen["panics begun"] += now["panic"] and not before["panic"]
            seen["panics ended"] += before["panic"] and not now["panic"]
            seen["falls"] += now["desired"] < before["desired"]
            seen["falls to zero"] += now["desired"] == 0 < before["desired"]
            seen["wakes from zero"] += before["desired"] == 0 < now["desired"]
            seen["rises"] += now["desired"] > before["desired"]
        before = now


def changed(lines, name, value):
    options = json.loads(lines[0])
    options["options"][name] = value(options["options"][name])
    return [json.dumps(options)] + lines[1:]


# Each rule, moved a little: the oracle of the moved rule must differ from the core somewhere.
MOVES = {
    "target": lambda x: x * 1.01,
    "stable_window": lambda x: x + 1,
    "panic_window": lambda x: x + 1 if x == 1 else x - 1,
    "panic_threshold": lambda x: x + 1,
    "max_scale_up_rate": lambda x: 1.3 if x != 1.3 else 2.0,
    "max_scale_down_rate": lambda x: x + 1,
    "scale_to_zero_grace": lambda x: x + 1,
    "scale_down_delay": lambda x: x + 3,
    "min_scale": lambda x: x + 1,
    "max_scale": lambda x: 4,
    "initial_scale": lambda x: x + 1,
    "burst_target": lambda x: 100.0 if x == 211.0 else 211.0,
}


def check_moves(kept, keep_going=25):
    """The names of options whose change no trace shows."""
    unseen = []
    for name, value in MOVES.items():
        for lines, ours in kept[:keep_going]:
            theirs, error = run_oracle(changed(lines, name, value))
            if error is None and first_difference(lines, ours, theirs):
                break
        else:
            unseen.append(name)
    return unseen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--keep", metavar="FOLDER")
    args = parser.parse_args()
    seeds = [args.seed] if args.seed is not None else range(1, 2001 if args.long else 201)
    core = Core(args.program)
    examples = subprocess.run([sys.executable, ORACLE, "--examples"], capture_output=True, text=True, timeout=60)
    passed, failed = int(examples.returncode == 0), int(examples.returncode != 0)
    if failed:
        print("failed: worked examples of the oracle:\n" + examples.stdout + examples.stderr)
    seen = collections.Counter()
    kept = []
    for seed in seeds:
        lines, ours = run_core(core, seed)
        theirs, error = run_oracle(lines)
        problem = "the oracle failed: %s" % error if error is not None else first_difference(lines, ours, theirs)
        count_happenings(seen, lines, ours)
        if problem is None:
            passed += 1
            kept.append((lines, ours))
            continue
        failed += 1
        if failed <= 10:
            print("failed: seed %d: %s" % (seed, problem))
        if args.keep:
            os.makedirs(args.keep, exist_ok=True)
            with open(os.path.join(args.keep, "%d.jsonl" % seed), "w", encoding="utf-8") as f:
                f.write("\n".join(lines) + "\n")
    if core.close() != 0:
        print("failed: kpa_trace ended with an error")
        failed += 1
    print("reached: " + ", ".join("%d %s" % (seen[name], name) for name in sorted(seen)))
    if args.seed is None and failed == 0:
        missing = [name for name in ("ticks without an average", "panics begun", "panics ended", "falls to zero",
                                     "wakes from zero", "rises", "falls") if seen[name] < len(seeds) // 10]
        unseen = check_moves(kept)
        for name in missing:
            print("failed: the traces hardly reach: %s" % name)
        for name in unseen:
            print("failed: no trace shows a change of %s" % name)
        passed += len(MOVES) - len(unseen)
        failed += len(missing) + len(unseen)
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
