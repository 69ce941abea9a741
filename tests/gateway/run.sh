#!/usr/bin/env bash
# Real replicas behind a gateway, killed, stopped and drained in mid stream. --long kills behind each of the tokens 1 to 64.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/gateway/unbroken.py "$@"
