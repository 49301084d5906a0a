#!/usr/bin/env bash
# Shows what the lock is worth: without it, with it in one process, and with it in
# three processes that share a Redis.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
unset LOCKING_REDIS_URL

missing=$(scripts/setup.sh 2>&1) && missing= || missing=${missing:-redis-server is missing}
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
"$GO" build -o "$bin/guarded-stock" ./examples/guarded-stock

echo "== 1. Without a lock: read, yield, write =="
status=0
"$bin/guarded-stock" -unguarded || status=$?
case $status in
0) echo "(this time no two orders met; usually they do)" ;;
1) echo "-> more was sold than there was" ;;
*) exit "$status" ;;
esac
echo
echo "== 2. Each order locks its product, in memory =="
"$bin/guarded-stock"
echo
if [ -n "$missing" ]; then
	echo "== 3. On Redis, with three processes: not shown =="
	echo "$missing"
	exit 0
fi
echo "== 3. Three processes share the stock, and the locks, through a throwaway Redis =="
scripts/with-redis.sh "$bin/guarded-stock" -processes 3
