#!/usr/bin/python3
"""Compares the forward pass with other engines on the same file in the same run. See README.md."""
import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.path.insert(0, HERE)
import machine  # noqa: E402
import outputs  # noqa: E402

OURS = "sluice"
CASES = {
    "prefill-512": dict(kind="prefill", prompt=512),
    "prefill-2048": dict(kind="prefill", prompt=2048),
    "decode-1": dict(kind="decode", tokens=64),
    "decode-8": dict(kind="batch", prompt=64, tokens=32, streams=8),
    "decode-16": dict(kind="batch", prompt=64, tokens=32, streams=16),
    "decode-32": dict(kind="batch", prompt=64, tokens=32, streams=32),
    "same-8": dict(kind="same", prompt=64, tokens=32, streams=8),
    "same-16": dict(kind="same", prompt=64, tokens=32, streams=16),
    "same-32": dict(kind="same", prompt=64, tokens=32, streams=32),
    "long-8k-1": dict(kind="long", depth=8192, tokens=32, streams=1),
    "long-8k-8": dict(kind="long", depth=8192, tokens=16, streams=8),
    "long-16k-1": dict(kind="long", depth=16384, tokens=32, streams=1),
    "long-16k-8": dict(kind="long", depth=16384, tokens=16, streams=8),
}
PROBES = ("memory_read", "int8_avx512_vnni", "int8_avx_vnni", "int8_avx2", "bf16_avx512", "fp32_avx512")


def own_engine(build):
    command = os.path.join(build, "bench", "model_bench") + " {model} threads={threads} output=json "
    return {"name": OURS, "prefill": command + "streams=1 prompt={prompt} tokens=1",
            "decode": command + "streams=1 prompt=16 tokens={tokens} bandwidth=8",
            "batch": command + "streams={streams} prompt={prompt} tokens={tokens}",
            "same": command + "streams={streams} prompt={prompt} tokens={tokens} draw=same",
            "long": command + "streams={streams} depth={depth} prompt=16 tokens={tokens}"}


def run_limits(build, threads):
    command = [os.path.join(build, "bench", "limits", "limits"), "--only", ",".join(PROBES), "--rounds", "3", "--seconds",
               "0.05", "--mib", "512", "--threads", str(threads), "-o", "json"]
    probes = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["probes"]
    return {name: round(probe["threads"][str(threads)]["best"], 1) for name, probe in probes.items()}


def sample(engine, case, values):
    """One run of one engine: tokens a second, and what else happened."""
    command = shlex.split(engine[case["kind"]].format(**values))
    others = machine.Others()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if out.returncode != 0:
        return {"error": "exit status %d: %s" % (out.returncode, out.stderr.strip()[-300:])}
    rows = outputs.parse(out.stdout) or outputs.parse(out.stderr)
    field = "prompt_tok_s" if case["kind"] == "prefill" else "tok_s"
    rates = [r[field] for r in rows if r.get(field) and r["streams"] == values["streams"]]
    if not rates:
        return {"error": "no figure in the output of: " + " ".join(command)}
    beside = {"memory_read": round(r["memory_gb_s"], 1) for r in rows if r.get("memory_gb_s")}
    return {"tok_s": round(rates[-1], 2), **beside, "others": others.share(), "wall_s": round(time.monotonic() - start, 2),
            "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)}


def work_of(sluice, model):
    """What one token reads and multiplies: bytes of weights, parameters without the output head, attention's products."""
    out = subprocess.run([sluice, "inspect", model, "--tensors", "-o", "json"], capture_output=True, text=True, check=True)
    info = json.loads(out.stdout)
    names = {t["name"] for t in info["tensors"]}
    head = "output.weight" if "output.weight" in names else "token_embd.weight"
    used = next((int(v) for k, v in info["metadata"].items() if k.endswith(".expert_used_count")), 0)
    work = {"bytes": 0.0, "parameters": 0.0, "type": None}
    for t in info["tensors"]:
        share = used / info["experts"] if "_exps." in t["name"] and info["experts"] else 1.0
        if t["name"] == "token_embd.weight" and head != t["name"]:
            continue
        work["bytes"] += share * t["bytes"]
        if len(t["shape"]) >= 2 and t["name"] != head:
            count = 1
            for d in t["shape"]:
                count *= d
            work["parameters"] += share * count
        if t["name"] == "blk.0.attn_q.weight":
            work["type"] = t["type"]
    work["attention"] = 4.0 * info["layers"] * info["heads"] * info["head_dim"]  # of each position looked back at
    return work


def measure(a, results):
    engines = [own_engine(a.build)] + (json.load(open(a.peers)) if a.peers else [])
    engines = [e for e in engines if not a.only or e["name"] in a.only.split(",")]
    for model in a.model:
        name = os.path.splitext(os.path.basename(model))[0]
        results["work"][name] = work_of(os.path.join(a.build, "sluice"), model)
        for case_name in a.case.split(","):
            case = CASES[case_name]
            values = dict(prompt=0, tokens=0, streams=1, depth=0, model=model, threads=a.threads)
            values.update({k: v for k, v in case.items() if k != "kind"})
            values["context"] = 512 + values["streams"] * (values["prompt"] + values["depth"] + values["tokens"])
            for number in range(a.rounds):
                quiet = machine.wait_until_quiet(a.max_other, a.patience)
                limits = run_limits(a.build, a.threads)
                turn = engines[number % len(engines):] + engines[:number % len(engines)]
                for engine in turn:
                    if case["kind"] not in engine:
                        continue
                    row = dict(model=name, case=case_name, engine=engine["name"], at=int(time.time()), limits=limits,
                               **sample(engine, case, values))
                    results["samples"].append(row)
                    print("%-22s %-12s %-12s %9s tok/s  others %.2f%s" % (
                        name, case_name, engine["name"], row.get("tok_s", "-"), row.get("others", 0),
                        "" if quiet else "  (not quiet)") + ("  " + row["error"] if "error" in row else ""), flush=True)
                if a.out:
                    with open(a.out + ".new", "w") as f:
                        json.dump(results, f, indent=0)
                    os.replace(a.out + ".new", a.out)


def limit_share(case_name, work, sample):
    """Share of the limit that a rate reaches: of the read bandwidth in decoding, of the arithmetic peak in prefill."""
    case, rate, limits = CASES[case_name], sample["tok_s"], sample["limits"]
    if case["kind"] == "decode":
        return rate * work["bytes"] / 1e9 / sample.get("memory_read", limits["memory_read"])
    if case["kind"] != "prefill":
        return None
    of_floats = work["type"] in ("BF16", "F16", "F32")
    peak = max((limits[p] for p in PROBES if p in limits and p.startswith(("bf16", "fp32") if of_floats else "int8")),
               default=None)
    operations = 2 * work["parameters"] + work["attention"] * case["prompt"] / 2
    return rate * operations / 1e9 / peak if peak else None


def cell(samples, max_other):
    good = [s for s in samples if "tok_s" in s]
    quiet = [s for s in good if s["others"] <= max_other]
    chosen = quiet or good
    if not chosen:
        return None
    return {"tok_s": statistics.median(s["tok_s"] for s in chosen), "samples": len(chosen), "quiet": bool(quiet),
            "chosen": chosen}


def report(results, max_other):
    groups = {}
    for s in results["samples"]:
        groups.setdefault((s["model"], s["case"]), {}).setdefault(s["engine"], []).append(s)
    engines = sorted({s["engine"] for s in results["samples"]}, key=lambda e: (e != OURS, e))
    print("| model | case | %s | ratio to the best peer | share of the limit | samples |" % " | ".join(engines))
    print("|" + " --- |" * (len(engines) + 5))
    for (model, case), by_engine in sorted(groups.items()):
        cells = {e: cell(by_engine.get(e, []), max_other) for e in engines}
        peers = [c["tok_s"] for e, c in cells.items() if e != OURS and c]
        ours = cells.get(OURS)
        ratio = "%.2f" % (ours["tok_s"] / max(peers)) if ours and peers else ""
        quiet = ours["chosen"] if ours and ours["quiet"] else []
        shares = [limit_share(case, results["work"][model], s) for s in quiet]
        share = "%.0f %%" % (100 * statistics.median(shares)) if shares and shares[0] is not None else ""
        print("| %s | %s | %s | %s | %s | %s |" % (
            model, case, " | ".join("%.1f%s" % (c["tok_s"], "" if c["quiet"] else " (noisy)") if c else "" for c in
                                    (cells[e] for e in engines)),
            ratio, share, min((c["samples"] for c in cells.values() if c), default=0)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--peers", help="JSON file with the peers' command lines")
    parser.add_argument("--only", help="names of the engines to run")
    parser.add_argument("--case", default=",".join(c for c in CASES if not c.startswith(("long", "same"))))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build", "release"))
    parser.add_argument("--max-other", type=float, default=0.05)
    parser.add_argument("--patience", type=float, default=10, help="seconds to wait for a quiet machine")
    parser.add_argument("--out", help="results; added to if it exists")
    parser.add_argument("--report", help="print the table of these results and measure nothing")
    a = parser.parse_args()
    unknown = [c for c in a.case.split(",") if c not in CASES]
    if unknown:
        parser.error("unknown case %s; there are %s" % (unknown[0], " ".join(CASES)))
    path = a.report or a.out
    results = json.load(open(path)) if path and os.path.exists(path) else {"samples": [], "work": {}}
    if not a.report:
        measure(a, results)
    report(results, a.max_other)


if __name__ == "__main__":
    main()
