#!/usr/bin/env bash
# Limits of tenants on real processes: budgets that no 64 clients at once and no SIGKILL of the gateway push over.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/limits/limits.py "$@"
