#!/usr/bin/env bash
# Runs a command with DAYMARK_TEST_S3 set: the caller's own, or the address of a private S3 server (moto)
# on a free loopback port, which is installed and started for this run and stopped after it. DAYMARK_TEST_MOTO
# is the program, for tests that start a server of their own.
set -euo pipefail

version=5.2.5
venv="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/moto-$version"
if [ ! -x "$venv/bin/moto_server" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "moto[server]==$version"
fi
DAYMARK_TEST_MOTO=$(cd "$venv/bin" && pwd)/moto_server
export DAYMARK_TEST_MOTO

if [ -n "${DAYMARK_TEST_S3:-}" ]; then
  exec "$@"
fi

log=$(mktemp)
server=
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -f "$log"
}
trap stop EXIT

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$log" 2>&1 &
server=$!
for _ in $(seq 100); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    ready=1
    break
  fi
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [ -z "${ready:-}" ]; then
  cat "$log" >&2
  exit 1
fi

export DAYMARK_TEST_S3="http://127.0.0.1:$port"
# What the standard chain of credentials finds first; the server takes any.
export AWS_ACCESS_KEY_ID=AKIATEST AWS_SECRET_ACCESS_KEY=test-secret AWS_REGION=us-east-1
echo "with-s3: moto $version on port $port"
"$@"
