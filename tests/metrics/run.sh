#!/usr/bin/env bash
# The native view passes promtool; both views hold the values of the requests made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/metrics/run.py
