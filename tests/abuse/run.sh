#!/usr/bin/env bash
# The gateway under hostile clients and broken upstreams, a steady client beside them: docs/abuse.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/abuse/abuse.py "$@"
