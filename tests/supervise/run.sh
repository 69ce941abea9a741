#!/usr/bin/env bash
# A supervised gateway: killed, upgraded, misconfigured, under load. --long: ten upgrades and kills under load.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/supervise/run.py "$@"
