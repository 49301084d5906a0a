#!/usr/bin/env bash
# Installs Medusa's packages for the tests beside it, where Node.js and npm can. It ends
# with an error, and one line that says why, where they cannot.
set -euo pipefail
cd "$(dirname "$0")/../interop/medusa/store"

cannot() {
	echo "$*" >&2
	exit 1
}

command -v node >/dev/null || cannot "there is no node on PATH (Node.js 20 or later is needed)"
command -v npm >/dev/null || cannot "there is no npm on PATH"
version=$(node --version)
major=${version#v}
[ "${major%%.*}" -ge 20 ] || cannot "node is $version (Node.js 20 or later is needed)"

# What is installed is kept until the lockfile changes.
mark=node_modules/.installed-from
cmp -s package-lock.json "$mark" && exit 0

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# npm asks for each package before it tells that there is no network: so what is there
# already is tried first, and then whether one package can be had.
reason() { grep -E '^npm (error|ERR!) ' "$log" | head -n 3 | cut -c 1-200 | paste -s -d ' '; }
echo "setup: installing Medusa's packages (once, about a minute)"
if ! npm ci --offline >"$log" 2>&1; then
	npm view @medusajs/locking-redis version --fetch-retries=0 --fetch-timeout=20000 --prefer-online >"$log" 2>&1 || cannot "npm reaches no registry: $(reason)"
	npm ci --prefer-offline >"$log" 2>&1 || cannot "npm ci failed: $(reason)"
fi
cp package-lock.json "$mark"
