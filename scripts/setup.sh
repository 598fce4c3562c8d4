#!/usr/bin/env bash
# Installs the Debian packages that the tests need and that are not there yet. Names them first.
# Needs root or sudo only when something is missing. Prometheus's promtool, which only one test wants, is
# fetched without installing anything, and left out where it cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

# Takes promtool alone out of Debian's package: the package would start a server.
fetch_promtool() {
  local tools=target/tools folder
  if [ -n "${DAYMARK_TEST_PROMTOOL:-}" ] || [ -x /usr/bin/promtool ] || [ -x "$tools/promtool" ]; then
    return
  fi
  if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    echo "setup: there is no promtool, and no apt to fetch it with: its test is ignored"
    return
  fi
  mkdir -p "$tools"
  folder=$(mktemp -d "$tools/fetched.XXXXXX")
  # apt drops root for its own user, who writes into this folder; the lists may never have been fetched.
  chmod 755 "$folder"
  if { (cd "$folder" && apt-get download -qq prometheus) ||
    { [ "$(id -u)" -eq 0 ] && apt-get update -qq && (cd "$folder" && apt-get download -qq prometheus); }; } \
    >"$folder/log" 2>&1 &&
    dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool; then
    mv "$folder/usr/bin/promtool" "$tools/promtool"
    # Where it is, is looked up when the tests are built.
    touch crates/daymark/build.rs
    echo "setup: promtool is in $tools"
  else
    echo "setup: promtool could not be fetched (Debian's package prometheus): its test is ignored"
  fi
  rm -rf "$folder"
}
fetch_promtool

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
