#!/usr/bin/env bash
# A provider of kind 5050 that answers in capitals: provider.sh wss://relay SECRET-KEY. Needs nak, jq and curl.
set -u
relay=$1 secret=$2 nak=${NAK:-nak}
own=$("$nak" key public "$secret")
boss=$(curl -s -H "Accept: application/nostr+json" "${relay/ws/http}" | jq -r .self) # leases are signed by the relay
say() { "$nak" event -q --sec "$secret" "$@" "$relay" </dev/null; }
of() { jq -r --arg name "$2" '[.tags[] | select(.[0] == $name)][0][1] // empty' <<<"$1"; }

say -k 31990 -d capitals -t k=5050 -c '{"name": "Capitals"}'
while sleep 600; do say -k 11998 -c ''; done & # a sign of life: this provider does not authenticate
trap 'kill $!' EXIT
"$nak" req -q --stream --since "$(($(date +%s) - 1))" -k 7000 -a "$boss" -t p="$own" "$relay" </dev/null |
  while read -r lease; do
    [ "$(of "$lease" status)" = assigned ] || continue
    request=$(of "$lease" request)
    job=$(of "$lease" e) customer=$(jq -r .pubkey <<<"$request") input=$(of "$request" i)
    say -k 7000 -e "$job" -p "$customer" -t status=processing -c ''
    say -k 6050 -e "$job" -p "$customer" -c "${input^^}"
  done
