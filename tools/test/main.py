"""Builds and runs Sluice's tests, stage by stage, within a printed budget.

Every test program ends with a line "N passed, N failed, N skipped"; GoogleTest binaries are counted from
their XML. A skip without a reason fails. The last line of the whole run has the same form.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stages  # noqa: E402


def main():
    names = [name for name, _, _ in stages.STAGES]
    parser = argparse.ArgumentParser(description="Builds and tests Sluice.")
    parser.add_argument("--long", action="store_true",
                        help="also the soaks, long simulations, full parity, and 30 minutes of each fuzz target")
    parser.add_argument("--only", metavar="STAGE", action="append", choices=names,
                        help="run only this stage (repeatable): " + ", ".join(names))
    args = parser.parse_args()

    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    os.makedirs("build/test", exist_ok=True)
    context = stages.Context(long=args.long)
    rows = []
    for name, budget_minutes, run in stages.STAGES:
        if args.only and name not in args.only:
            continue
        print("== %s (budget %g min)" % (name, budget_minutes), flush=True)
        began = time.monotonic()
        run(context)
        minutes = (time.monotonic() - began) / 60
        rows.append((name, minutes, budget_minutes))
        if context.broken:
            break

    print("\nstage            minutes  budget")
    for name, minutes, budget in rows:
        print("%-16s %7.1f  %6.1f%s" % (name, minutes, budget, "  over" if minutes > budget else ""))
    for failure in context.failures:
        print("FAILED: " + failure)
    print("%d passed, %d failed, %d skipped" %
          (context.passed, len(context.failures), len(context.skips)))
    return 1 if context.failures else 0


if __name__ == "__main__":
    sys.exit(main())
