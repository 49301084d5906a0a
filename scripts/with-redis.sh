#!/usr/bin/env bash
# Runs a command with LOCKING_REDIS_URL set to a throwaway Redis server: on a free
# loopback port, with a folder of its own, without persistence, gone afterwards.
#
#	scripts/with-redis.sh COMMAND [ARGUMENT…]
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARGUMENT…]" >&2; exit 2; }
dir=$(mktemp -d)
server=
cleanup() {
	[ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
	rm -rf "$dir"
}
trap cleanup EXIT

for _ in $(seq 20); do
	port=$((20000 + RANDOM % 10000))
	redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --appendonly no --logfile "$dir/log" &
	server=$!
	for _ in $(seq 100); do
		kill -0 "$server" 2>/dev/null || break # the port was taken
		if redis-cli -h 127.0.0.1 -p "$port" ping >/dev/null 2>&1; then
			LOCKING_REDIS_URL="redis://127.0.0.1:$port" "$@"
			exit
		fi
		sleep 0.05
	done
	kill "$server" 2>/dev/null || true
done
echo "with-redis: no server came up; its log:" >&2
cat "$dir/log" >&2
exit 1
