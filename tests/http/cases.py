"""Runs a program's cases, functions that raise when something does not hold, and counts them as ./test reads it."""
import sys
import time


class Skipped(Exception):
    """Raised by a case that this machine cannot run; the reason."""


def run(cases, *given):
    """Those that the command line names, or all, each with what is given; returns the exit status."""
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    cases = [case for case in cases if not wanted or case.__name__ in wanted]
    failed = skipped = 0
    for case in cases:
        began = time.monotonic()
        try:
            case(*given)
            print("%s: %.1f s" % (case.__name__, time.monotonic() - began), flush=True)
        except Skipped as e:
            skipped += 1
            print("skipped: %s: %s" % (case.__name__, e), flush=True)
        except Exception as e:  # noqa: BLE001
            failed += 1
            print("failed: %s: %r" % (case.__name__, e), flush=True)
    print("%d passed, %d failed, %d skipped" % (len(cases) - failed - skipped, failed, skipped))
    return 1 if failed else 0
