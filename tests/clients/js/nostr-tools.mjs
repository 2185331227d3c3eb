// nostr-tools against the relay at argv[2]: publish, query, subscribe live, authenticate.

import { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } from 'nostr-tools/pure'
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay'
import WebSocket from 'ws'

import { check, promised, step } from './step.mjs'

useWebSocketImplementation(WebSocket)

const url = process.argv[2]
const secret = generateSecretKey()
const author = getPublicKey(secret)
const note = (content, tags = []) =>
  finalizeEvent({ kind: 1, created_at: Math.floor(Date.now() / 1000), tags, content }, secret)

function query(relay, filter) {
  const { promise, resolve } = promised()
  const events = []
  const subscription = relay.subscribe([filter], {
    onevent: (event) => events.push(event),
    oneose: () => {
      subscription.close()
      resolve(events)
    },
  })
  return promise
}

const relay = await step('connect', () => Relay.connect(url))

const first = note('quotes " and crabs \u{1F980}\n', [['t', 'node']])
await step('publish', () => relay.publish(first))

await step('query', async () => {
  const events = await query(relay, { authors: [author], '#t': ['node'] })
  check(events.length === 1 && events[0].id === first.id, `got ${JSON.stringify(events)}`)
  check(verifyEvent({ ...events[0] }), 'what came back is not valid')
})

await step('subscribe live', async () => {
  const came = promised()
  const open = promised()
  const subscription = relay.subscribe([{ authors: [author], limit: 0 }], {
    onevent: came.resolve,
    oneose: open.resolve,
  })
  await open.promise
  const live = note('live')
  await relay.publish(live)
  check((await came.promise).id === live.id, 'another event came')
  subscription.close()
})

await step('a forged event is refused', async () => {
  const forged = { ...note('true'), content: 'false' }
  const refusal = await relay.publish(forged).then(
    () => null,
    (error) => String(error.message ?? error),
  )
  check(refusal?.startsWith('invalid: '), `the refusal was ${refusal}`)
})

const guarded = note('for me to publish only', [['-']])
await step('a protected event needs authentication', async () => {
  const refusal = await relay.publish(guarded).then(
    () => null,
    (error) => String(error.message ?? error),
  )
  check(refusal?.startsWith('auth-required: '), `the refusal was ${refusal}`)
})

await step('authenticate', () => relay.auth(async (template) => finalizeEvent(template, secret)))
await step('a protected event after authentication', () => relay.publish(guarded))

relay.close()
process.exit(0)
