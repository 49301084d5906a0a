#!/usr/bin/env bash
# Installs what the tests and the demo need and the machine lacks: redis-server.
# The tests start servers of their own; a running one is not needed, nor used.
set -euo pipefail

command -v redis-server >/dev/null && exit 0

as_root() {
	if [ "$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive "$@"; else sudo -n DEBIAN_FRONTEND=noninteractive "$@"; fi
}

if command -v apt-get >/dev/null; then
	echo "setup: installing redis-server"
	# A machine may come with package lists that are old, or with none.
	if { as_root apt-get install -y -q redis-server || { as_root apt-get update -q && as_root apt-get install -y -q redis-server; }; } >/tmp/lockstep-setup.$$.log 2>&1 &&
		command -v redis-server >/dev/null; then
		rm -f "/tmp/lockstep-setup.$$.log"
		exit 0
	fi
	tail -n 5 "/tmp/lockstep-setup.$$.log" >&2
	rm -f "/tmp/lockstep-setup.$$.log"
fi
cat >&2 <<'TXT'
setup: redis-server (7.0 or later) is needed and could not be installed here. One of these installs it:
  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install redis-server
  Fedora:          sudo dnf install redis
  Alpine:          sudo apk add redis
  macOS:           brew install redis
TXT
exit 1
