#!/usr/bin/env bash
# `sluice gateway` before real and scripted servers: balance, failover, reload, splits, relay. --long sends more requests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/balance/run.py "$@"
