#!/usr/bin/env bash
# Runs the examples of the documents, and compares generated pages with what the binary says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/docs/run.py
