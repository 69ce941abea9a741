#!/usr/bin/env bash
# Versions of a service come and go under load, good ones, one that errs and one that is slow: nobody notices. --long: 3 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/upgrade/upgrade.py "$@"
