//! NIP-13: proof of work.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::Event;
use mercato_tests::http::document;
use mercato_tests::relay::{Settings, Shared};
use mercato_tests::{Draft, Keys, Relay};

const BITS: u32 = 8;

static RELAY: Shared = Shared::new();

fn settings() -> Settings {
    Relay::settings().set("limits.min_pow", BITS).set("limits.min_pow_except", "[20001]")
}

/// Whether the id has at least so many leading zero bits.
fn has_bits(event: &Event, bits: u32) -> bool {
    u32::from_str_radix(&event.id[..8], 16).is_ok_and(|head| head.leading_zeros() >= bits)
}

/// A note whose work fulfils a condition; `target` is what it commits to.
fn mined(target: Option<&str>, wanted: impl Fn(&Event) -> bool) -> Event {
    let keys = Keys::generate();
    let nonces = (0_u32..).map(|nonce| nonce.to_string());
    let mut events = nonces.map(|nonce| match target {
        Some(target) => Draft::note("work").tag(["nonce", &nonce, target]).sign(&keys),
        None => Draft::note("work").tag(["nonce", &nonce]).sign(&keys),
    });
    events.find(wanted).expect("there are nonces enough")
}

#[tokio::test]
async fn an_event_with_the_work_it_commits_to_is_taken() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    client.store(&mined(Some("8"), |event| has_bits(event, BITS))).await?;
    client.store(&mined(Some("9"), |event| has_bits(event, 9))).await
}

#[tokio::test]
async fn too_little_work_is_refused_with_the_difficulty_it_has() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    let event = mined(Some("8"), |event| !has_bits(event, 1));
    assert_eq!(client.refused(&event, "pow").await?, "pow: difficulty 0 is less than 8");
    let event = mined(Some("8"), |event| has_bits(event, 7) && !has_bits(event, 8));
    assert_eq!(client.refused(&event, "pow").await?, "pow: difficulty 7 is less than 8");
    Ok(())
}

#[tokio::test]
async fn luck_is_no_work() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    for target in [Some("7"), Some("0"), Some("x"), Some(""), None] {
        let event = mined(target, |event| has_bits(event, BITS));
        let text = client.refused(&event, "pow").await?;
        ensure!(text.contains("commit"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn kinds_that_the_operator_excepts_need_none_and_nip_11_tells_of_the_rest() -> anyhow::Result<()> {
    let relay = RELAY.get_with(settings)?;
    let mut client = Client::connect(&relay).await?;
    client.store(&Draft::new(20_001).sign(&Keys::generate())).await?;
    let limitation = document(&relay).await?["limitation"].clone();
    assert_eq!(limitation["min_pow_difficulty"], BITS);
    assert_eq!(limitation["restricted_writes"], true);
    Ok(())
}
