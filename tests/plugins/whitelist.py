#!/usr/bin/env python3
"""The same policy in Python."""
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    if request["type"] != "new":
        print("unexpected request type", file=sys.stderr, flush=True)
        continue
    event = request["event"]
    answer = {"id": event["id"], "action": "accept"}
    if "spam" in event["content"]:
        answer = {"id": event["id"], "action": "reject", "msg": "blocked: no spam"}
    elif "shadow" in event["content"]:
        answer = {"id": event["id"], "action": "shadowReject"}
    print(json.dumps(answer), flush=True)
