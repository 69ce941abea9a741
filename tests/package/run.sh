#!/usr/bin/env bash
# The Debian package: what is in it, and that it serves from where it was unpacked. --long installs it into a bare Debian root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/package/run.py "$@"
