#!/usr/bin/env bash
# Requests that wait for a replica through the real gateway: the wake, the plan that is renamed into place, a thousand services.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/hold/hold.py "$@"
