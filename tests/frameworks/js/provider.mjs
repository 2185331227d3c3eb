// @welshman/dvm (npm) as it is, as a provider on one relay: provider.mjs ws://relay SECRET-KEY KIND [sign].
// With `sign` it answers the relay's challenge (NIP-42), without it does not authenticate.
import { finalizeEvent } from 'nostr-tools/pure'
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket
const { DVM } = await import('@welshman/dvm')
const { setContext } = await import('@welshman/lib')
const { AuthMode, getDefaultNetContext } = await import('@welshman/net')

const [url, sk, kind, sign] = process.argv.slice(2)
const signEvent = async (event) => finalizeEvent(event, Buffer.from(sk, 'hex'))
setContext({ net: getDefaultNetContext({ authMode: sign ? AuthMode.Implicit : AuthMode.Explicit, signEvent }) })
const now = () => Math.floor(Date.now() / 1000)
const dvm = new DVM({
  sk,
  relays: [url],
  handlers: {
    [kind]: () => ({
      async *handleEvent(request) {
        yield { kind: 7000, content: '', created_at: now(), tags: [['status', 'processing']] }
        const input = request.tags.find(([name]) => name === 'i')?.[1] ?? ''
        yield { kind: Number(kind) + 1000, content: input.toUpperCase(), created_at: now(), tags: [] }
      },
    }),
  },
})
dvm.start()
