#!/usr/bin/env bash
# The control plane driven by stock kubectl: Debian's 1.20, and the one on PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/control/run.py "$@"
