#!/usr/bin/env python3
"""An oracle of the autoscaling rule, written from docs/autoscaling.md ("the page").

  kpa.py < trace    the first line is {"options": {...}} (what is left out has the page's default), each further line a tick,
                    {"now": 2, "samples": {"0": 3.0}, "ready": 1}; prints {"desired": 1, "panic": false, "spare": -113} for each
  kpa.py --examples checks the page's worked examples; exits 1 when one does not hold
"""
import json
import math
import sys

# The page's table of constants. `target` is the target value times the utilization.
DEFAULTS = {"target": 100 * 0.7, "stable_window": 60, "panic_window": 6, "panic_threshold": 2.0, "tick": 2,
            "max_scale_up_rate": 1000.0, "max_scale_down_rate": 2.0, "scale_to_zero_grace": 30, "scale_down_delay": 0,
            "min_scale": 0, "max_scale": 0, "initial_scale": 1, "capacity": 100.0, "burst_target": 211.0}


class Service:
    def __init__(self, options):
        unknown = set(options) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"unknown options: {sorted(unknown)}")
        self.o = {**DEFAULTS, **options}
        self.samples = {}                # second -> value; a second sent twice has its last value
        self.initial = max(self.o["initial_scale"], self.o["min_scale"])
        self.desired = self.initial      # what the tick before gave
        self.panicking = False           # step 6
        self.panic_since = 0             # step 6
        self.most = 0                    # steps 6 and 7
        self.step7 = []                  # step 8: (now, desired of step 7)
        self.reached_initial = False     # step 10
        self.zero_start = None           # step 11: the first tick of an unbroken run of zeros

    def average(self, now, width):
        """The signal: the average of the window `now - width … now - 1`, or None without a sample in it."""
        window = range(now - width, now)
        present = [self.samples[s] for s in window if s in self.samples]
        if not present:
            return None
        total = 0.0
        for value in present:            # one by one: sum() of later Pythons compensates for rounding
            total += value
        first = min(self.samples)        # the service's first sample: the earliest second that has one
        return total / sum(1 for s in window if s >= first)

    def tick(self, now, samples, ready):
        o = self.o
        for text, value in samples.items():  # the signal: what comes too late or too early, or is no load, is ignored
            second = int(text)
            if now - o["stable_window"] <= second < now and 0 <= value <= 10**12:
                self.samples[second] = float(value)
        self.reached_initial = self.reached_initial or ready >= o["initial_scale"]  # step 10, "has once had"
        stable = self.average(now, o["stable_window"])
        panic = self.average(now, o["panic_window"])
        if stable is None or panic is None:  # the signal: nothing is decided, the desired count stays
            return {"desired": self.desired, "panic": self.panicking, "spare": None}

        base = max(1, ready)                                # step 1
        up = math.ceil(o["max_scale_up_rate"] * base)       # step 2
        down = math.floor(base / o["max_scale_down_rate"])
        want_stable = math.ceil(stable / o["target"])       # step 3
        want_panic = math.ceil(panic / o["target"])
        over = want_panic / base >= o["panic_threshold"]    # step 4: before the bounds of step 5
        want_stable = max(down, min(up, want_stable))       # step 5
        want_panic = max(down, min(up, want_panic))

        if over:                                            # step 6
            if not self.panicking:
                self.panicking, self.most = True, 0
            self.panic_since = now
        elif self.panicking and now - self.panic_since >= o["stable_window"]:
            self.panicking = False

        desired = want_stable                               # step 7
        if self.panicking:
            self.most = desired = max(self.most, want_stable, want_panic)

        if o["scale_down_delay"] > 0:                       # step 8
            self.step7.append((now, desired))
            self.step7 = [(x, count) for x, count in self.step7 if now - x < o["scale_down_delay"]]
            desired = max(count for _, count in self.step7)

        desired = max(desired, o["min_scale"])              # step 9; where min_scale > max_scale, max_scale holds
        if o["max_scale"] > 0:
            desired = min(desired, o["max_scale"])

        if not self.reached_initial:                        # step 10: after step 9, so it may pass max_scale
            desired = max(desired, self.initial)

        if desired != 0:                                    # step 11: another count ends the time
            self.zero_start = None
        else:
            if self.zero_start is None:
                self.zero_start = now
            has_zero = ready == 0 and self.desired == 0     # "stays at 0"; self.desired is still that of the tick before
            if not has_zero and now - self.zero_start < o["scale_to_zero_grace"]:
                desired = 1
        self.desired = desired

        spare = None                                        # spare burst capacity: a number only with a burst target above 0
        if o["burst_target"] > 0:
            spare = math.floor(base * o["capacity"] - o["burst_target"] - panic)
        return {"desired": desired, "panic": self.panicking, "spare": spare}


def examples():
    """The page's worked examples, in its order; returns the number that do not hold."""
    failed = 0

    def check(name, got, want):
        nonlocal failed
        holds = got == want
        failed += not holds
        print(f"{'holds' if holds else 'FAILS'}: {name}" + ("" if holds else f"\n  got  {got}\n  want {want}"))

    def step(service, now, load, ready, seconds=2):
        """One tick after `seconds` of `load`: (desired, panic)."""
        out = service.tick(now, {str(s): load for s in range(now - seconds, now)}, ready)
        return out["desired"], out["panic"]

    check("35 at a target of 10 wants 4", step(Service({"target": 10 * 1.0}), 60, 35.0, 3, 60), (4, False))

    burst = Service({})
    step(burst, 60, 10.0, 1, 60)
    check("a burst to 400 panics at 6", step(burst, 66, 400.0, 1, 6), (6, True))

    idle, ready, got = Service({}), 10, []
    for now in range(2, 44, 2):          # each tick finds ready what the tick before desired
        ready = step(idle, now, 0.0, ready)[0]
        got.append(ready)                # the first 0 of step 10 is at 8 s, so the service goes to 0 at 38 s
    check("10 idle replicas go 5, 2, 1, and 0 after the grace", got, [5, 2, 1] + [1] * 15 + [0] * 3)

    got = [step(burst, now, 0.0, 6) for now in range(68, 128, 2)]   # the last tick over the threshold was at 66 s
    check("a panic holds 6 for 60 s after its load", got, [(6, True)] * 29 + [(3, False)])  # 3: down = floor(6 / 2)
    return failed


def main():
    if sys.argv[1:] == ["--examples"]:
        return 1 if examples() else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    service = None
    for line in filter(str.strip, sys.stdin):
        entry = json.loads(line)
        if service is None:
            service = Service(entry["options"])
        else:
            print(json.dumps(service.tick(entry["now"], entry["samples"], entry["ready"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
