#!/usr/bin/env bash
# Requests written as data (*.test) against the real binary serving the bundled model.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/http/run.py
