#!/usr/bin/env bash
# The SDKs that people use, unmodified, against the real server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
npm ci --ignore-scripts --no-audit --no-fund --silent >/dev/null
cd ../..
exec /usr/bin/python3 tests/clients/run.py
