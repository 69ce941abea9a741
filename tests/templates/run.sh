#!/usr/bin/env bash
# Chat templates of real models, rendered by Sluice, by python3-jinja2 and by @huggingface/jinja.
#   tests/templates/run.sh [--long] [--templates FOLDER]
# --long adds requests of chance; FOLDER holds further *.jinja files. The npm packages are installed
# under build/npm/templates. The last line is "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")/../.."

random=2
more=()
while [ $# -gt 0 ]; do
  case "$1" in
    --long) random=400 ;;
    --templates) more=(--templates "$2"); shift ;;
    *) echo "usage: tests/templates/run.sh [--long] [--templates FOLDER]" >&2; exit 2 ;;
  esac
  shift
done

render=${SLUICE_RENDER_CASES:-build/release/tests/templates/render_cases}
if [ ! -x "$render" ]; then
  cmake --preset release >/dev/null
  cmake --build build/release --target render_cases >/dev/null
fi
python=/usr/bin/python3
if ! "$python" -c "import jinja2" 2>/dev/null; then
  echo "skipped: python3-jinja2 is not installed (apt-get install python3-jinja2)"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi

# Installed anew when the list of packages changes.
home=build/npm/templates
mkdir -p "$home"
if ! cmp -s tools/templates/packages.json "$home/installed.json"; then
  cp tools/templates/packages.json "$home/package.json"
  if ! (cd "$home" && npm install --no-audit --no-fund --ignore-scripts) >"$home/npm.log" 2>&1; then
    echo "skipped: npm could not install the oracle packages (see $home/npm.log)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
  fi
  cp tools/templates/packages.json "$home/installed.json"
fi

exec "$python" tests/templates/compare.py --render "$render" --modules "$home/node_modules" \
  --random "$random" "${more[@]}"
