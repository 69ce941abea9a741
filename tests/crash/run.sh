#!/usr/bin/env bash
# `sluice up` whose controller is killed at random moments, whose disk is full, whose files are damaged. --long: over 200 kills, 8 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/crash/run.py "$@"
