#!/usr/bin/env bash
# `sluice up` as users see it: from manifests to answers, through upgrades and kills, by `sluice apply` and its likes and by kubectl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/up/run.py "$@"
