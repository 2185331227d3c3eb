// permessage-deflate as the package ws and Node's own WebSocket speak it, against the relay at argv[2].

import { finalizeEvent, generateSecretKey, getPublicKey } from 'nostr-tools/pure'
import WebSocket from 'ws'

import { check, promised, step } from './step.mjs'

const url = process.argv[2]
const secret = generateSecretKey()
const author = getPublicKey(secret)
const now = Math.floor(Date.now() / 1000)
const words = 'the quick brown fox jumps over the lazy dog \u{1F98A} '
const note = (number) =>
  finalizeEvent({ kind: 1, created_at: now - number, tags: [['t', `n${number}`]], content: words.repeat(number * 5) }, secret)
const notes = Array.from({ length: 40 }, (_, number) => note(number))

function open(options) {
  const socket = new WebSocket(url, options)
  const waiting = []
  const heard = []
  socket.on('message', (data) => {
    const message = JSON.parse(data.toString())
    if (message[0] === 'AUTH') return
    const next = waiting.shift()
    next ? next(message) : heard.push(message)
  })
  socket.next = () => (heard.length ? Promise.resolve(heard.shift()) : new Promise((resolve) => waiting.push(resolve)))
  const opened = promised()
  socket.on('open', () => opened.resolve(socket))
  return opened.promise
}

async function ask(socket) {
  const before = socket._socket.bytesRead
  socket.send(JSON.stringify(['REQ', 'all of it', { authors: [author], kinds: [1] }]))
  const events = []
  for (;;) {
    const [verb, , event] = await socket.next()
    if (verb === 'EOSE') break
    events.push(event)
  }
  socket.send(JSON.stringify(['CLOSE', 'all of it']))
  events.sort((a, b) => b.created_at - a.created_at)
  check(events.length === notes.length, `${events.length} events came`)
  const same = (a, b) => ['id', 'content', 'sig'].every((name) => a[name] === b[name])
  notes.forEach((note, at) => check(same(note, events[at]), `note ${at} came otherwise`))
  return socket._socket.bytesRead - before
}

const plain = await step('connect without compression', () => open({ perMessageDeflate: false }))
check(plain.extensions === '', `unasked: ${plain.extensions}`)
const plainBytes = await step('publish and query without', async () => {
  for (const note of notes) {
    plain.send(JSON.stringify(['EVENT', note]))
    const [verb, id, accepted] = await plain.next()
    check(verb === 'OK' && id === note.id && accepted, `${verb} ${id} ${accepted}`)
  }
  return ask(plain)
})

const offers = [
  {},
  { threshold: 0 },
  { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true },
  { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
  { threshold: 0, serverMaxWindowBits: 12, clientMaxWindowBits: true },
]
for (const offer of offers) {
  const name = JSON.stringify(offer)
  const socket = await step(`connect with ${name}`, () => open({ perMessageDeflate: offer }))
  check(socket.extensions.includes('permessage-deflate'), `not agreed: ${socket.extensions}`)
  const bytes = await step(`query with ${name}`, () => ask(socket))
  // With a small window only small events are compressed.
  const most = { 9: 1, 12: 0.9 }[offer.serverMaxWindowBits] ?? 0.5
  check(bytes < plainBytes * most, `${bytes} bytes, ${plainBytes} without compression`)
  await step(`live with ${name}`, async () => {
    socket.send(JSON.stringify(['REQ', 'live', { authors: [author], kinds: [1], limit: 0 }]))
    check((await socket.next())[0] === 'EOSE', 'no EOSE')
    const live = finalizeEvent({ kind: 1, created_at: now + 1, tags: [], content: name + words.repeat(9) }, secret)
    // Compressed by the client too, above its threshold.
    socket.send(JSON.stringify(['EVENT', live]))
    const came = [await socket.next(), await socket.next()]
    check(came.some(([verb, , ok]) => verb === 'OK' && ok), 'not taken')
    check(came.some(([verb, , event]) => verb === 'EVENT' && event.content === live.content), 'not delivered')
    // Not to be counted by who asks next.
    const gone = finalizeEvent({ kind: 5, created_at: now + 2, tags: [['e', live.id]], content: '' }, secret)
    socket.send(JSON.stringify(['EVENT', gone]))
    check((await socket.next())[0] === 'OK', 'not deleted')
  })
  socket.close()
}

await step("Node's own WebSocket", async () => {
  if (!globalThis.WebSocket) return
  const socket = new globalThis.WebSocket(url)
  const ended = promised()
  let events = 0
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data)
    if (message[0] === 'AUTH') socket.send(JSON.stringify(['REQ', 'own', { authors: [author], kinds: [1] }]))
    if (message[0] === 'EVENT') events += 1
    if (message[0] === 'EOSE') ended.resolve()
  }
  await ended.promise
  check(events === notes.length, `${events} events came`)
  socket.close()
})

await step('a message that inflates without end is refused', async () => {
  const socket = await open({ perMessageDeflate: { threshold: 0 } })
  const closed = promised()
  socket.on('close', (code) => closed.resolve(code))
  socket.send('x'.repeat(50_000_000))
  const [verb, text] = await socket.next()
  check(verb === 'NOTICE' && text.startsWith('invalid: '), `${verb} ${text}`)
  check((await closed.promise) === 1009, 'closed otherwise')
})

process.exit(0)
