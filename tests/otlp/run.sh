#!/usr/bin/env bash
# Traces of real processes, decoded by OpenTelemetry's own definitions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
npm ci --ignore-scripts --no-audit --no-fund --silent >/dev/null
cd ../..
exec /usr/bin/python3 tests/otlp/run.py
