#!/usr/bin/env bash
# Notices that a machine or a replica is taken back, by every way there is, under load: nothing fails. --long: 30 s of notice for each way.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/spot/run.py "$@"
