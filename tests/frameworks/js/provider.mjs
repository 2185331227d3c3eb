// @welshman/dvm (npm) as it is, as a provider of kind 5051 on one relay: provider.mjs ws://relay SECRET-KEY.
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket
const { DVM } = await import('@welshman/dvm')

const [url, sk] = process.argv.slice(2)
const now = () => Math.floor(Date.now() / 1000)
const dvm = new DVM({
  sk,
  relays: [url],
  handlers: {
    5051: () => ({
      async *handleEvent(request) {
        yield { kind: 7000, content: '', created_at: now(), tags: [['status', 'processing']] }
        const input = request.tags.find(([name]) => name === 'i')?.[1] ?? ''
        yield { kind: 6051, content: input.toUpperCase(), created_at: now(), tags: [] }
      },
    }),
  },
})
dvm.start()
