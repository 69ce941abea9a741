#!/usr/bin/env bash
# Prometheus rules pass promtool's checks and tests; rules and dashboards name metrics and labels that there are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/dashboards/run.py
