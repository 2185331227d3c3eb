// Private jobs between nostr-tools and nostr-tools over the relay at argv[2], with real keys, as docs/market.md has them:
// NIP-90's encrypted requests to a provider that is known before, and input that is sent once the lease names one.

import * as nip04 from 'nostr-tools/nip04'
import * as nip44 from 'nostr-tools/nip44'
import * as nip59 from 'nostr-tools/nip59'
import { finalizeEvent, generateSecretKey, getPublicKey } from 'nostr-tools/pure'
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay'
import WebSocket from 'ws'

import { check, promised, step } from './step.mjs'

useWebSocketImplementation(WebSocket)

const url = process.argv[2]
const KIND = 5970
const SECRET = 'nobody else reads "this" \u{1F980}'
const now = () => Math.floor(Date.now() / 1000)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Somebody with a key and an authenticated connection.
async function join() {
  const secret = generateSecretKey()
  const relay = await Relay.connect(url)
  await pause(200) // the challenge comes by itself
  await relay.auth(async (template) => finalizeEvent(template, secret))
  const seen = []
  const sign = (kind, tags, content = '') => finalizeEvent({ kind, tags, content, created_at: now() }, secret)
  return {
    secret,
    relay,
    seen,
    sign,
    pubkey: getPublicKey(secret),
    say: async (...event) => {
      const signed = sign(...event)
      await relay.publish(signed)
      return signed
    },
    listen: (filter) => relay.subscribe([filter], { onevent: (event) => seen.push(event) }),
    async wait(is) {
      for (;;) {
        const found = seen.find(is)
        if (found) return found
        await pause(20)
      }
    },
  }
}

const value = (event, name) => event.tags.find(([first]) => first === name)?.[1]
const status = (word) => (event) => event.kind === 7000 && value(event, 'status') === word
const advert = (provider) => provider.say(31990, [['d', 'work'], ['k', String(KIND)], ['slots', '8']])

const cipher = {
  'NIP-04': {
    seal: (from, to, text) => nip04.encrypt(from, to, text),
    open: (by, from, text) => nip04.decrypt(by, from, text),
  },
  'NIP-44': {
    seal: async (from, to, text) => nip44.encrypt(text, nip44.getConversationKey(from, to)),
    open: async (by, from, text) => nip44.decrypt(text, nip44.getConversationKey(by, from)),
  },
}

const [customer, provider, other] = await step('three connect', () => Promise.all([join(), join(), join()]))
await step('two providers advertise', async () => {
  for (const one of [provider, other]) {
    one.listen({ kinds: [KIND], limit: 0 })
    one.listen({ kinds: [7000], '#p': [one.pubkey], limit: 0 })
    one.listen({ kinds: [1059], '#p': [one.pubkey], limit: 0 })
    await advert(one)
  }
})

for (const [name, { seal, open }] of Object.entries(cipher)) {
  await step(`an encrypted request to a named provider, ${name}`, async () => {
    const params = JSON.stringify([['i', SECRET, 'text'], ['param', 'language', 'en']])
    const content = await seal(customer.secret, provider.pubkey, params)
    const job = customer.sign(KIND, [['p', provider.pubkey], ['encrypted']], content)
    customer.listen({ '#e': [job.id] })
    await customer.relay.publish(job)
    const lease = await provider.wait((event) => status('assigned')(event) && value(event, 'e') === job.id)
    const request = JSON.parse(value(lease, 'request'))
    check(JSON.stringify(request) === JSON.stringify({ ...request, content }), 'the lease carries another content')
    const [[, input]] = JSON.parse(await open(provider.secret, request.pubkey, request.content))
    check(input === SECRET, `the provider read ${input}`)
    const answer = await seal(provider.secret, customer.pubkey, input.toUpperCase())
    await provider.say(KIND + 1000, [['e', job.id], ['p', customer.pubkey], ['encrypted']], answer)
    const result = await customer.wait((event) => event.kind === KIND + 1000 && value(event, 'e') === job.id)
    check(result.content === answer, 'the result came changed')
    check((await open(customer.secret, provider.pubkey, result.content)) === SECRET.toUpperCase(), 'unreadable')
    check(!other.seen.some((event) => event.id === job.id), 'a provider that is not named was given the request')
  })
}

await step('input that is sent after the lease, again after the lease has moved on', async () => {
  const job = customer.sign(KIND, [['encrypted', 'nip44'], ['timeout', 'run', '60']])
  customer.listen({ '#e': [job.id] })
  await customer.relay.publish(job)
  const { open } = cipher['NIP-44']
  const holders = []
  for (const attempt of ['1', '2']) {
    const lease = await customer.wait((event) => status('assigned')(event) && value(event, 'attempt') === attempt)
    const holder = [provider, other].find((one) => one.pubkey === value(lease, 'p'))
    holders.push(holder)
    await holder.say(7000, [['e', job.id], ['p', customer.pubkey], ['status', 'processing', 'waiting for the input']])
    const input = { kind: KIND, tags: [['e', job.id], ['i', SECRET, 'text']], content: '', created_at: now() }
    await customer.relay.publish(nip59.wrapEvent(input, customer.secret, holder.pubkey))
    const wrap = await holder.wait((event) => event.kind === 1059 && reads(holder, event, job))
    const rumor = nip59.unwrapEvent(wrap, holder.secret)
    check(rumor.pubkey === job.pubkey, 'somebody else sent input')
    check(value(rumor, 'i') === SECRET, `the provider read ${value(rumor, 'i')}`)
    if (attempt === '1') {
      await holder.say(7000, [['e', job.id], ['p', customer.pubkey], ['status', 'error', 'out of memory']])
      continue
    }
    const key = nip44.getConversationKey(holder.secret, customer.pubkey)
    const answer = nip44.encrypt(value(rumor, 'i').toUpperCase(), key)
    await holder.say(KIND + 1000, [['e', job.id], ['p', customer.pubkey], ['encrypted', 'nip44']], answer)
    const result = await customer.wait((event) => event.kind === KIND + 1000 && value(event, 'e') === job.id)
    check((await open(customer.secret, holder.pubkey, result.content)) === SECRET.toUpperCase(), 'unreadable')
  }
  check(holders[0] !== holders[1], 'the one that gave up got it again')
  await customer.wait((event) => status('success')(event) && value(event, 'e') === job.id)
})

await step('nothing of it is readable for somebody who looks through the store', async () => {
  const stranger = await join()
  stranger.listen({ kinds: [KIND, KIND + 1000, 1059, 7000] })
  await pause(500)
  check(stranger.seen.some(({ kind }) => kind === KIND + 1000), 'there is nothing to look at')
  check(!stranger.seen.some((event) => JSON.stringify(event).includes('nobody else')), 'the input is in the store')
  check(!stranger.seen.some(({ kind }) => kind === 1059), 'gift wraps are for their recipients')
})

function reads(holder, wrap, job) {
  try {
    return value(nip59.unwrapEvent(wrap, holder.secret), 'e') === job.id
  } catch {
    return false
  }
}

process.exit(0)
