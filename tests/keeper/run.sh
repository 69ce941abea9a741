#!/usr/bin/env bash
# `sluice keep`: replicas of the bundled model that outlive whoever started them, drain, and leave nothing behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/keeper/run.py "$@"
