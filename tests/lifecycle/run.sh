#!/usr/bin/env bash
# Start, configuration, drain: what the process does as a whole.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/lifecycle/run.py
