"""A provider of kind 5050 that answers in capitals: provider.py wss://relay SECRET-KEY. Needs websockets and coincurve."""
import asyncio, hashlib, json, sys, time
import coincurve, websockets

async def main(url, secret):
    key = coincurve.PrivateKey.from_hex(secret)
    own = key.public_key_xonly.format().hex()
    def sign(kind, tags, content=""):
        event = {"pubkey": own, "created_at": int(time.time()), "kind": kind, "tags": tags, "content": content}
        text = json.dumps([0, *event.values()], separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).digest()
        return {**event, "id": digest.hex(), "sig": key.sign_schnorr(digest).hex()}
    async with websockets.connect(url) as relay:
        say = lambda *message: relay.send(json.dumps(message))
        await say("REQ", "jobs", {"kinds": [5050], "limit": 0})
        await say("EVENT", sign(31990, [["d", "capitals"], ["k", "5050"]], '{"name": "Capitals"}'))
        async for message in relay:
            verb, *rest = json.loads(message)
            if verb == "AUTH":  # whoever proves its key gets the requests that it is leased
                await say("AUTH", sign(22242, [["relay", url], ["challenge", rest[0]]]))
            elif verb == "EVENT":
                job = rest[1]
                about = [["e", job["id"]], ["p", job["pubkey"]]]
                await say("EVENT", sign(7000, [*about, ["status", "processing"]]))
                text = next((tag[1] for tag in job["tags"] if tag[0] == "i"), "")
                await say("EVENT", sign(6050, about, text.upper()))

asyncio.run(main(*sys.argv[1:]))
