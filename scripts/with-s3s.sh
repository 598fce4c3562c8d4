#!/usr/bin/env bash
# Runs a command with DAYMARK_TEST_S3_STRICT set: the address of a private S3 server (s3s-fs) on a free loopback
# port that checks every signature and checksum, which is installed below target (a build of five minutes, once)
# and started for this run and stopped after it.
set -euo pipefail

version=0.14.1
root="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/s3s-$version"
if [ ! -x "$root/bin/s3s-fs" ]; then
  CARGO_TARGET_DIR="$root/build" cargo install s3s-fs --version "$version" --features binary --locked -j1 --root "$root"
  rm -rf "$root/build"
fi

# What the standard chain of credentials finds first.
export AWS_ACCESS_KEY_ID=AKIATEST AWS_SECRET_ACCESS_KEY=test-secret AWS_REGION=us-east-1

folder=$(mktemp -d)
log=$(mktemp)
server=
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder" "$log"
}
trap stop EXIT

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
"$root/bin/s3s-fs" --host 127.0.0.1 --port "$port" --access-key "$AWS_ACCESS_KEY_ID" \
  --secret-key "$AWS_SECRET_ACCESS_KEY" "$folder" >"$log" 2>&1 &
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

export DAYMARK_TEST_S3_STRICT="http://127.0.0.1:$port"
echo "with-s3s: s3s-fs $version on port $port"
"$@"
