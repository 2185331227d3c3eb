//! Policies written for nostr-relay-builder decide for Mercato as they are; the relay runs inside the test.

use std::net::SocketAddr;
use std::sync::Arc;

use mercato::config::Config;
use mercato::policy::Policies;
use mercato::policy::relay_builder::Adapted;
use mercato::relay::Relay;
use mercato::store::memory::MemoryStore;
use mercato_tests::client::Client;
use mercato_tests::{Draft, Keys};
use nostr::util::BoxedFuture;
use nostr_relay_builder::builder::{PolicyResult, QueryPolicy, WritePolicy};
use serde_json::json;

#[derive(Debug)]
struct OnlyNotes;

impl WritePolicy for OnlyNotes {
    fn admit_event<'a>(&'a self, event: &'a nostr::Event, _: &'a SocketAddr) -> BoxedFuture<'a, PolicyResult> {
        let refusal = match event.kind.as_u16() {
            1 => return Box::pin(async { PolicyResult::Accept }),
            2 => "restricted: kind 2 is for members",
            _ => "not a note",
        };
        Box::pin(async move { PolicyResult::Reject(refusal.to_owned()) })
    }
}

#[derive(Debug)]
struct NoTags;

impl QueryPolicy for NoTags {
    fn admit_query<'a>(&'a self, query: &'a nostr::Filter, _: &'a SocketAddr) -> BoxedFuture<'a, PolicyResult> {
        let empty = query.generic_tags.is_empty();
        Box::pin(
            async move { if empty { PolicyResult::Accept } else { PolicyResult::Reject("no tags here".to_owned()) } },
        )
    }
}

async fn relay() -> anyhow::Result<Relay> {
    let mut config = Config::default();
    config.relay.port = 0;
    config.market.enabled = false;
    let policies = Policies::new(vec![Box::new(Adapted(OnlyNotes))], vec![Box::new(Adapted(NoTags))]);
    Relay::start(config, Arc::new(MemoryStore::default()), policies).await
}

#[tokio::test]
async fn a_write_policy_refuses_with_its_own_prefix_or_blocked() -> anyhow::Result<()> {
    let relay = relay().await?;
    let mut client = Client::connect_to(relay.address.port()).await?;
    let keys = Keys::generate();
    client.store(&Draft::note("kept").sign(&keys)).await?;
    assert_eq!(client.refused(&Draft::new(2).sign(&keys), "restricted").await?, "restricted: kind 2 is for members");
    assert_eq!(client.refused(&Draft::new(7).sign(&keys), "blocked").await?, "blocked: not a note");
    assert_eq!(client.query([json!({})]).await?.len(), 1);
    relay.stop().await
}

#[tokio::test]
async fn a_query_policy_closes_the_subscription_and_leaves_the_others() -> anyhow::Result<()> {
    let relay = relay().await?;
    let mut client = Client::connect_to(relay.address.port()).await?;
    client.subscribe("fine", [json!({"kinds": [1]})]).await?;
    client.request("tags", &[json!({"#t": ["x"]})]).await?;
    assert_eq!(client.closed("tags").await?, "blocked: no tags here");
    let note = Draft::note("live").tag(["t", "x"]).sign(&Keys::generate());
    client.store(&note).await?;
    assert_eq!(client.live("fine").await?, note);
    relay.stop().await
}
