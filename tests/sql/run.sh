#!/usr/bin/env bash
# The example of natural language to SQL, with a scripted model: right SQL, wrong SQL then repaired, injections refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/sql/run.py "$@"
