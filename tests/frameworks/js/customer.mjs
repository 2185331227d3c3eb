// A customer of @welshman/dvm (npm) as it is: customer.mjs ws://relay KIND TEXT prints the result of one job.
import WebSocket from 'ws'
import { finalizeEvent, generateSecretKey } from 'nostr-tools/pure'

globalThis.WebSocket ??= WebSocket
const { makeDvmRequest } = await import('@welshman/dvm')
const { setContext } = await import('@welshman/lib')
const { getDefaultNetContext } = await import('@welshman/net')

setContext({ net: getDefaultNetContext() })

const [url, kind, text] = process.argv.slice(2)
const began = Date.now()
const template = { kind: Number(kind), created_at: Math.floor(began / 1000), tags: [['i', text, 'text']], content: '' }
const event = finalizeEvent(template, generateSecretKey())
const { emitter } = makeDvmRequest({ event, relays: [url], timeout: 30_000 })
const status = ({ tags }) => tags.find(([name]) => name === 'status')?.slice(1).filter(Boolean).join(': ')
const say = (words) => console.log(`  ${((Date.now() - began) / 1000).toFixed(1)} s  ${words}`)
emitter.on('progress', (_, event) => say(`status ${status(event)}`))
emitter.on('result', (_, event) => {
  say(`result ${event.content}`)
  process.exit(event.content === text.toUpperCase() ? 0 : 1)
})
setTimeout(() => {
  console.error('no result came')
  process.exit(1)
}, 30_000)
