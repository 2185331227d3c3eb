#!/usr/bin/env bash
# A customer: customer.sh wss://relay "text" prints the result of a job of kind 5050. Needs nak and jq.
relay=$1 nak=${NAK:-nak} secret=$("${NAK:-nak}" key generate)
job=$("$nak" event -q --sec "$secret" -k 5050 -t "i=$2;text" -c '' "$relay" </dev/null | jq -r .id)
while read -r event; do
  case $(jq -r .kind <<<"$event") in
    7000) jq -r '[.tags[] | select(.[0] == "status")][0][1:] | join(": ")' <<<"$event" >&2 ;;
    6050) jq -r .content <<<"$event" && kill $! && exit ;;
  esac
done < <(exec "$nak" req -q --stream -e "$job" "$relay" </dev/null)
