#!/usr/bin/env bash
# `sluice quantize` from the outside: every type, what is refused, and that the result serves.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/quantize/run.py
