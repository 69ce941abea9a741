#!/usr/bin/env bash
# A real Prometheus with our rules over all that `sluice up` starts: nothing to complain about. --long: for five minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/prometheus/run.py "$@"
