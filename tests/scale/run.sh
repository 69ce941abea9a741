#!/usr/bin/env bash
# Services that are scaled by their load on one machine: a load step, to zero and back, fewer replicas under streams, each signal. --long: by the
# default windows, with bounds on time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/scale/run.py "$@"
