#!/usr/bin/env bash
# Installs the Debian packages that Sluice is built with (packages.txt), and with the argument "test" also those that
# its tests need (packages-test.txt), where they are missing. Says what it will install; uses sudo when not root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

lists=("$here/packages.txt")
[[ ${1:-} == test ]] && lists+=("$here/packages-test.txt")

missing=()
while read -r package; do
  [[ -z $package || $package == \#* ]] && continue
  # Cross libraries of 64-bit ARM; there, the system's own serve.
  [[ $package == *-arm64-cross && $(uname -m) == aarch64 ]] && continue
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done < <(cat "${lists[@]}")

# A Node of 20 or newer that did not come from Debian serves as well.
if command -v node >/dev/null && command -v npm >/dev/null; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | grep -vxE 'nodejs|npm|')
fi

if [[ ${#missing[@]} -gt 0 ]]; then
  if ! command -v apt-get >/dev/null; then
    echo "These packages are missing, and this is no Debian system: ${missing[*]}" >&2
    exit 1
  fi
  as_root=()
  [[ $(id -u) -eq 0 ]] || as_root=(sudo)
  echo "Installing: ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

# The clients that the tests run want Node 20 or newer; where the system's is older, npm brings one into build/node.
if [[ ${1:-} == test && $(node --version | sed -E 's/^v([0-9]+).*/\1/') -lt 20 && ! -d $here/../../build/node ]]; then
  case $(uname -m) in
    aarch64) arch=arm64 ;;
    *) arch=x64 ;;
  esac
  echo "Installing: node 22 from npm, into build/node"
  mkdir -p "$here/../../build/node"
  npm install --prefix "$here/../../build/node" --no-save --no-audit --no-fund --ignore-scripts "node-linux-$arch@22"
fi
