// A provider of kind 5050 that answers in capitals: node provider.mjs wss://relay SECRET-KEY. Needs nostr-tools and ws.
import { finalizeEvent, getPublicKey } from 'nostr-tools/pure'
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay'
import { hexToBytes } from 'nostr-tools/utils'
import WebSocket from 'ws'

useWebSocketImplementation(WebSocket)
const [url, secret] = [process.argv[2], hexToBytes(process.argv[3])]
const sign = (template) => finalizeEvent(template, secret)
const say = (kind, tags, content = '') =>
  relay.publish(sign({ kind, tags, content, created_at: Math.floor(Date.now() / 1000) }))
const relay = await Relay.connect(url)
await new Promise((resolve) => setTimeout(resolve, 200)) // the relay's challenge comes by itself
await relay.auth(sign)

relay.subscribe([{ kinds: [5050], limit: 0 }], {
  async onevent({ id, pubkey, tags }) {
    const about = [['e', id], ['p', pubkey]]
    await say(7000, [...about, ['status', 'processing']])
    const input = tags.find(([name]) => name === 'i')?.[1] ?? ''
    await say(6050, about, input.toUpperCase())
  },
})
await say(31990, [['d', 'capitals'], ['k', '5050']], JSON.stringify({ name: 'Capitals' }))
console.log('ready', getPublicKey(secret))
