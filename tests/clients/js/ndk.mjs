// NDK against the relay at argv[2]: publish, query, subscribe live, authenticate.

import NDK, { NDKEvent, NDKPrivateKeySigner, NDKRelayAuthPolicies, NDKSubscriptionCacheUsage } from '@nostr-dev-kit/ndk'
import WebSocket from 'ws'

import { check, promised, step } from './step.mjs'

// Node 20 has none of its own, and NDK uses the global one.
globalThis.WebSocket ??= WebSocket

const signer = NDKPrivateKeySigner.generate()
const author = (await signer.user()).pubkey
const ndk = new NDK({ explicitRelayUrls: [process.argv[2]], signer, enableOutboxModel: false })
ndk.relayAuthDefaultPolicy = NDKRelayAuthPolicies.signIn({ ndk })

const note = (content, tags = []) => new NDKEvent(ndk, { kind: 1, content, tags })
const fromRelay = { cacheUsage: NDKSubscriptionCacheUsage.ONLY_RELAY }

await step('connect', () => ndk.connect(5_000))

const first = note('quotes " and crabs \u{1F980}\n', [['t', 'ndk']])
await step('publish', async () => {
  const relays = await first.publish()
  check(relays.size === 1, `published to ${relays.size} relays`)
})

await step('query', async () => {
  const events = [...(await ndk.fetchEvents({ kinds: [1], authors: [author], '#t': ['ndk'] }, fromRelay))]
  check(events.length === 1 && events[0].id === first.id, `got ${events.map((event) => event.id)}`)
})

await step('subscribe live', async () => {
  const came = promised()
  const open = promised()
  const subscription = ndk.subscribe({ authors: [author], '#t': ['live'] }, { closeOnEose: false, ...fromRelay })
  subscription.on('event', came.resolve)
  subscription.on('eose', open.resolve)
  await open.promise
  // Of another NDK, so that the event cannot come from here without the relay.
  const other = new NDK({ explicitRelayUrls: [process.argv[2]], signer, enableOutboxModel: false })
  await other.connect(5_000)
  const live = new NDKEvent(other, { kind: 1, content: 'live', tags: [['t', 'live']] })
  await live.publish()
  check((await came.promise).id === live.id, 'another event came')
  subscription.stop()
})

// NDK answers the relay's challenge by itself. Its own event for that is not always raised; that the relay takes what it
// takes from the authenticated author only is the better proof.
await step('a protected event after authentication', async () => {
  const relays = await note('for me to publish only', [['-']]).publish()
  check(relays.size === 1, `published to ${relays.size} relays`)
})

process.exit(0)
