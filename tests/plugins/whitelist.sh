#!/bin/sh
# A write-policy plugin in plain shell: refuses what holds the word "spam", hides what holds the word "shadow".
while read -r line; do
    id=${line#*'"id":"'}
    id=${id%%'"'*}
    case $line in
        *spam*) printf '{"id":"%s","action":"reject","msg":"blocked: no spam"}\n' "$id" ;;
        *shadow*) printf '{"id":"%s","action":"shadowReject"}\n' "$id" ;;
        *) printf '{"id":"%s","action":"accept"}\n' "$id" ;;
    esac
done
