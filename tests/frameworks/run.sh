#!/usr/bin/env bash
# Runs DVM frameworks that others wrote, unmodified, as providers on this relay, and an unmodified customer against each.
# Usage: run.sh [path of mercato]. Installs them into $WORK (a temporary folder, unless it is set: then they stay there).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mercato=$(realpath "${1:-$here/../../target/release/mercato}")
keep=${WORK:-}
work=${WORK:-$(mktemp -d)}
mkdir -p "$work"
data=$(mktemp -d)
stop() {
  kill $(jobs -p) 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$data"
  [ -n "$keep" ] || rm -rf "$work"
}
trap stop EXIT

[ -x "$work/venv/bin/python" ] || { python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -q nostr-dvm==1.1.8; }
cp "$here"/js/* "$work/"
[ -d "$work/node_modules" ] || npm install --silent --no-audit --no-fund --prefix "$work"

"$mercato" --set relay.port=0 --set store.path="$data" --set market.open_after_s="${OPEN_AFTER:-3}" relay 2>"$data/log" &
for _ in $(seq 100); do
  port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$data/log" | head -1)
  [ -n "$port" ] && break || sleep 0.1
done
url=ws://127.0.0.1:$port
key() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
"$work/venv/bin/python" "$here/python/provider.py" "$url" "$(key)" >"$data/python" 2>&1 &
node "$work/provider.mjs" "$url" "$(key)" >"$data/js" 2>&1 &
sleep "${SETTLE:-6}"

echo "nostr-dvm (authenticated, no advert): a walk-in"
node "$work/customer.mjs" "$url" 5050 "hello from a customer" || { cat "$data/python"; exit 1; }
echo "@welshman/dvm (no authentication, no advert): open after ${OPEN_AFTER:-3} s"
node "$work/customer.mjs" "$url" 5051 "hello from a customer" || { cat "$data/js"; exit 1; }
"$mercato" --set store.path="$data" jobs
