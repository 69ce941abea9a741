#!/usr/bin/env bash
# The autoscaling rule of src/control/kpa.h against tools/oracles/kpa.py, decision by decision, on seeded traces.
#   tests/autoscaler/run.sh [--long] [--seed N] [--keep FOLDER]
# 200 traces, or 2,000 with --long, and the oracle on the worked examples of docs/autoscaling.md. --seed N runs the one trace N;
# --keep writes the traces that differ into FOLDER.
# The last line is "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

trace=${SLUICE_KPA_TRACE:-build/release/tests/autoscaler/kpa_trace}
if [ ! -x "$trace" ]; then
  cmake --preset release >/dev/null
  cmake --build build/release --target kpa_trace >/dev/null
fi
exec /usr/bin/python3 tests/autoscaler/run.py --program "$trace" "$@"
