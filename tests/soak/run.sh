#!/usr/bin/env bash
# 64 concurrent streams with cancellations: no error, flat memory, nothing left behind. 10 s; with --long 10 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/soak/run.py "$@"
