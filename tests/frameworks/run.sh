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

cd "$data" # no config.toml lies there
# Starts a relay named $1 with these settings; its address is in $url.
relay() {
  local name=$1 port=
  shift
  "$mercato" --set relay.port=0 --set store.path="$data/$name" "$@" relay 2>"$data/$name.log" &
  for _ in $(seq 100); do
    port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$data/$name.log" | head -1)
    [ -n "$port" ] && break || sleep 0.1
  done
  [ -n "$port" ] || { cat "$data/$name.log"; exit 1; }
  url=ws://127.0.0.1:$port/
}
key() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
relay plain --set market.open_after_s=3 --set access.greet=false
plain=$url
relay usual
"$work/venv/bin/python" "$here/python/provider.py" "$url" "$(key)" >"$data/python" 2>&1 &
node "$work/provider.mjs" "$url" "$(key)" 5051 sign >"$data/js" 2>&1 &
node "$work/provider.mjs" "$plain" "$(key)" 5052 >>"$data/js" 2>&1 &
sleep "${SETTLE:-10}"

echo "nostr-dvm (authenticated, no advert): a walk-in"
node "$work/customer.mjs" "$url" 5050 "hello from a customer" || { cat "$data/python"; exit 1; }
echo "@welshman/dvm (authenticated, no advert): a walk-in"
node "$work/customer.mjs" "$url" 5051 "hello from a customer" || { cat "$data/js"; exit 1; }
echo "@welshman/dvm (no authentication, no advert; the relay does not challenge): open after 3 s"
node "$work/customer.mjs" "$plain" 5052 "hello from a customer" || { cat "$data/js"; exit 1; }
for store in usual plain; do "$mercato" --set store.path="$data/$store" jobs; done
