#!/usr/bin/env bash
# Several models in one process, and payload logs, on the real binary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/shared/shared.py "$@"
