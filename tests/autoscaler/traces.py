"""Seeded traces for the autoscaling rule: options, a load, and replicas that follow the desired count.

Loads have at most three decimals: readers of JSON agree on those to the last bit."""
import json
import random

SHAPES = ("steps", "ramps", "bursts", "noise", "gaps", "zero", "waves")


def make_options(rng):
    stable = rng.choice((6, 10, 20, 30, 60, 60, 60, 120, 180))
    initial = rng.choice((0, 1, 1, 1, 2, 3, 7))
    low = rng.choice((0, 0, 0, 1, 2, 5))
    most = rng.choice((0, 0, 0, max(low, initial, 1), max(low, initial) + rng.randint(1, 40)))
    return {
        "target": rng.choice((70.0, 140.0, 10.0, 1.0, 0.7, 3.5, 0.333, round(rng.uniform(0.1, 300), 3))),
        "stable_window": stable,
        "panic_window": rng.choice((max(1, stable // 10), max(1, stable // 10), 1, rng.randint(1, stable), stable)),
        "panic_threshold": rng.choice((2.0, 2.0, 1.1, 1.5, 4.0, 10.0)),
        "tick": rng.choice((2, 2, 2, 1, 3, 5)),
        "max_scale_up_rate": rng.choice((1000.0, 1000.0, 1.1, 1.5, 2.0, 10.0)),
        "max_scale_down_rate": rng.choice((2.0, 2.0, 1.1, 1.5, 3.0, 100.0)),
        "scale_to_zero_grace": rng.choice((30, 30, 0, 1, 7, 60)),
        "scale_down_delay": rng.choice((0, 0, 0, 1, 5, 30, 61, 300)),
        "min_scale": low,
        "max_scale": most,
        "initial_scale": initial,
        "capacity": rng.choice((100.0, 100.0, 1.0, 10.5)),
        "burst_target": rng.choice((211.0, 211.0, 0.0, -1.0, 0.5, 1000.0)),
    }


class Load:
    """The load of each second: one shape, replaced by another after a while."""

    def __init__(self, rng, target):
        self.rng = rng
        self.target = target
        self.left = 0
        self.level = 0.0

    def turn(self):
        rng = self.rng
        self.shape = rng.choice(SHAPES)
        self.left = rng.choice((3, 10, 30, 70, 150, 300))
        self.before = self.level
        self.height = self.target * rng.choice((0.01, 0.5, 1, 1, 2, 3, 8, 30, 400)) * rng.choice((1, 1, rng.random()))
        self.at = 0
        self.length = self.left

    def next(self):
        """The load of one second; None: no sample."""
        if self.left == 0:
            self.turn()
        rng = self.rng
        self.left -= 1
        self.at += 1
        gap = rng.random() < (0.01 if self.shape != "gaps" else 0.5 if self.length < 30 else 0.97)
        if self.shape == "ramps":
            self.level = self.before + (self.height - self.before) * self.at / self.length
        elif self.shape == "bursts":
            self.level = self.height * (rng.choice((3, 10)) if self.at % 20 < 4 else 0.2)
        elif self.shape == "noise":
            self.level = self.height * rng.expovariate(1.0)
        elif self.shape == "waves":
            self.level = self.height if self.at // 7 % 2 else 0.0
        elif self.shape == "zero":
            self.level = 0.0
        else:
            self.level = self.height
        return None if gap else round(self.level, self.digits)


class Replicas:
    """Ready replicas: each change of the desired count takes effect late, and some fail."""

    def __init__(self, rng):
        self.rng = rng
        self.ready = 0
        self.delay = rng.choice((0, 0, 1, 4, 15, 40))
        self.failing = rng.choice((0.0, 0.0, 0.02, 0.2))
        self.coming = []

    def follow(self, now, desired):
        if self.coming and self.coming[-1][1] == desired:
            pass
        elif self.coming or desired != self.ready:
            self.coming.append((now + self.rng.randint(0, self.delay), desired))
        while self.coming and self.coming[0][0] <= now:
            self.ready = self.coming.pop(0)[1]
        if self.ready and self.rng.random() < self.failing:
            self.ready -= self.rng.randint(1, min(self.ready, 3))


def make_samples(rng, load, since, now, late):
    """What is new at the tick `now`: the seconds since the tick before, and now and then one that the rule must not take."""
    samples = {}
    for second in range(since, now):
        value = load.next()
        if value is None:
            continue
        if late and rng.random() < 0.1:
            load.held.append((now + rng.choice((1, 5, 30, 300)), second, value))
        else:
            samples[second] = value
    for item in [item for item in load.held if item[0] <= now]:
        load.held.remove(item)
        samples[item[1]] = item[2]
    if late and rng.random() < 0.03:
        samples[now + rng.choice((0, 0, 1, 7))] = round(load.target * 50, load.digits)
    if late and rng.random() < 0.03:
        samples[now - rng.randint(1, 200)] = rng.choice((0.0, -1.0, round(load.target * 5, load.digits), 2e12))
    return {str(second): value for second, value in samples.items()}


class Trace:
    """One service. Every tick's replicas depend on the decision before it, so that a program makes the trace as it runs:
    next() gives a line, told() takes the decision."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.options = make_options(self.rng)
        self.replicas = Replicas(self.rng)
        self.load = Load(self.rng, self.options["target"])
        self.load.digits = self.rng.choice((0, 0, 1, 3))
        self.load.held = []
        self.late = self.rng.random() < 0.3
        self.ticks = self.rng.randint(100, 600)
        self.now = self.rng.choice((0, 0, 1, 1700000000))
        self.since = self.now - self.rng.choice((0, 0, 2, 100))
        if self.since < self.now:
            self.replicas.ready = self.rng.choice((0, 1, 5, 40))

    def first_line(self):
        return json.dumps({"options": self.options})

    def next(self):
        """A tick may come late, as those of a busy machine do."""
        self.now += self.options["tick"] * (1 if self.rng.random() < 0.98 else self.rng.randint(2, 40))
        samples = make_samples(self.rng, self.load, self.since, self.now, self.late)
        self.since = self.now
        return json.dumps({"now": self.now, "samples": samples, "ready": self.replicas.ready})

    def told(self, desired):
        self.replicas.follow(self.now, desired)
