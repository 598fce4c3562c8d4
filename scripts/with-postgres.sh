#!/usr/bin/env bash
# Runs a command with DAYMARK_TEST_POSTGRES_URL set: the caller's own, or that of a private PostgreSQL
# on a free loopback port, which is made for this run and stopped and removed after it.
set -euo pipefail

if [ -n "${DAYMARK_TEST_POSTGRES_URL:-}" ]; then
  exec "$@"
fi

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
if [ -z "$bin" ]; then
  echo "with-postgres: no PostgreSQL in /usr/lib/postgresql; run scripts/setup.sh" >&2
  exit 1
fi
home=$(mktemp -d)
chmod 755 "$home"
# PostgreSQL refuses to run as root, so root lends the folder to the package's own user.
as_server=()
if [ "$(id -u)" -eq 0 ]; then
  chown postgres: "$home"
  as_server=(runuser -u postgres --)
fi

stop() {
  "${as_server[@]}" "$bin/pg_ctl" -D "$home/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$home"
}
trap stop EXIT

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
(cd "$home" && "${as_server[@]}" "$bin/initdb" -D "$home/data" -U daymark --auth=trust --encoding=UTF8 --no-sync >"$home/initdb.log") \
  || { cat "$home/initdb.log" >&2; exit 1; }
# Members of this role are asked for their password, which a test of a wrong one needs.
hba=$(cat "$home/data/pg_hba.conf")
printf 'host all +daymark_by_password 127.0.0.1/32 scram-sha-256\n%s\n' "$hba" >"$home/data/pg_hba.conf"
# Nothing here outlives the run, so nothing waits for the disk.
(cd "$home" && "${as_server[@]}" "$bin/pg_ctl" -D "$home/data" -l "$home/data/server.log" -w \
  -o "-c listen_addresses=127.0.0.1 -p $port -c unix_socket_directories= -c fsync=off -c max_connections=200" start >/dev/null) \
  || { cat "$home/data/server.log" >&2; exit 1; }

export DAYMARK_TEST_POSTGRES_URL="postgres://daymark@127.0.0.1:$port/postgres"
echo "with-postgres: $("$bin/postgres" --version) on port $port"
"$@"
