#!/usr/bin/env bash
# Limits that two real gateways share through a real redis-server: budgets under fire, a gateway and the Redis killed in between.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/redis/run.py "$@"
