#!/usr/bin/env bash
# Replicas die, hang, slow down and half-close, and the gateway is reloaded and upgraded, under load: nothing is lost. --long: 15 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/chaos/chaos.py "$@"
