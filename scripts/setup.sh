#!/usr/bin/env bash
# Installs the Debian packages that the tests need and that are not there yet. Names them first.
# Needs root or sudo only when something is missing.
set -euo pipefail

missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
command -v "${CHROMIUM:-chromium}" >/dev/null 2>&1 || missing+=(chromium)

if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: nothing to install"
  exit 0
fi

echo "setup: these Debian packages are missing and will be installed: ${missing[*]}"
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null 2>&1; then
  as_root=(sudo)
else
  echo "setup: install them as root, then run this again: apt-get install ${missing[*]}" >&2
  exit 1
fi

# Debian's package makes and starts a server of its own on port 5432 unless told not to; the tests
# bring theirs. Whoever wants that server later gets it: the word is taken back after the installation.
told=/etc/postgresql-common/createcluster.conf
if [ ! -e "$told" ]; then
  "${as_root[@]}" mkdir -p "$(dirname "$told")"
  echo "create_main_cluster = false" | "${as_root[@]}" tee "$told" >/dev/null
  trap '"${as_root[@]}" rm -f "$told"' EXIT
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  -o Dpkg::Options::=--force-confold "${missing[@]}"
