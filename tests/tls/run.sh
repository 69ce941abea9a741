#!/usr/bin/env bash
# HTTPS on real processes: certificates, client certificates, new files under a running server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/tls/run.py "$@"
