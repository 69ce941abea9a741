#!/usr/bin/env bash
# Graphs, transformers and explanations on the real gateway and runtime: the examples of docs/gateway.md, and services in Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec /usr/bin/python3 tests/graph/graph.py "$@"
