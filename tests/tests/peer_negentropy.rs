//! What a link has missed is found by negentropy (NIP-77), and page by page where the peer does not speak it, or lies.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::link::{
    Peer, RECOVERY, Router, Socket, Wire, hear, hear_live_req, links_of, say, wait_for_all, wait_in_sync,
};
use mercato_tests::relay::Settings;
use mercato_tests::{Draft, Event, Keys, Relay, claim};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Memory that a relay may take on beside what it had, whatever its peers say.
const ROOM_BYTES: u64 = 200 << 20;

fn linked(direction: &str, url: String) -> anyhow::Result<(Relay, Router)> {
    let router = Router::linking(direction, &[url])?;
    Ok((Settings::default().set("router.file", router.path().display()).start()?, router))
}

fn link(relay: &Relay) -> anyhow::Result<Value> {
    Ok(links_of(&Relay::store_in(relay.folder()))?[0].clone())
}

async fn synced(relay: &Relay) -> anyhow::Result<()> {
    wait_in_sync(&Relay::store_in(relay.folder()), 1).await
}

/// Waits for a line of the log that holds every word.
async fn logged(relay: &Relay, words: &[&str]) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !relay.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
        ensure!(begun.elapsed() < 2 * RECOVERY, "no line says {words:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn notes(count: usize) -> Vec<Event> {
    let keys = Keys::generate();
    (0..count).map(|n| Draft::note(format!("{n}")).sign(&keys)).collect()
}

async fn store(client: &mut Client, events: &[Event]) -> anyhow::Result<()> {
    for event in events {
        client.store(event).await?;
    }
    Ok(())
}

/// Cuts a link that has brought events, and mends it when there are more; how many it has received then.
async fn received_after_a_cut(peer: Settings) -> anyhow::Result<(Relay, u64)> {
    let them = peer.start()?;
    let wire = Wire::to(them.port()).await?;
    let (us, _router) = linked("down", wire.url())?;
    synced(&us).await?;
    let (mut here, mut there) = (Client::connect(&us).await?, Client::connect(&them).await?);
    let (before, missed) = (notes(150), notes(120));
    store(&mut there, &before).await?;
    wait_for_all(&mut here, &before, RECOVERY).await?;
    wire.cut();
    store(&mut there, &missed).await?;
    wire.mend();
    wait_for_all(&mut here, &missed, RECOVERY).await?;
    synced(&us).await?;
    let received = link(&us)?["down"]["received"].as_u64().unwrap_or(0);
    Ok((us, received))
}

#[tokio::test]
async fn only_what_was_missed_comes_after_a_cut() -> anyhow::Result<()> {
    let (us, received) = received_after_a_cut(Settings::default()).await?;
    assert_eq!(received, 270, "what is here already must not come again");
    logged(&us, &["found by negentropy", "here=150", "needed=120", "missing=0"]).await
}

#[tokio::test]
async fn a_relay_that_does_not_sync_is_asked_page_by_page() -> anyhow::Result<()> {
    let (us, received) = received_after_a_cut(Settings::default().set("negentropy.enabled", false)).await?;
    assert_eq!(received, 420, "pages bring what is here already, too");
    logged(&us, &["page by page", "this relay does not sync"]).await
}

#[tokio::test]
async fn a_relay_that_shows_little_at_once_hands_over_everything() -> anyhow::Result<()> {
    let (us, received) = received_after_a_cut(Settings::default().set("limits.max_limit", 30)).await?;
    assert_eq!(received, 270);
    logged(&us, &["found by negentropy", "needed=120", "missing=0"]).await
}

#[tokio::test]
async fn a_relay_that_may_not_sync_so_much_is_asked_page_by_page() -> anyhow::Result<()> {
    let peer = Settings::default().set("negentropy.filters", "[]").set("limits.max_sync_events", 100);
    let (us, received) = received_after_a_cut(peer).await?;
    assert_eq!(received, 420);
    logged(&us, &["page by page", "too many query results"]).await
}

/// A peer whose first connection is honest and lasts until it is told to break off. Every later one has `serve` say what
/// it says to each message after the live subscription, beside a page that holds one event.
struct Turncoat {
    peer: Peer,
    turn: Arc<Notify>,
    /// What pages bring, and nothing else does.
    paged: Event,
    /// What the link has said since.
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Turncoat {
    /// `answers` gets a message and says what comes back; `None` ends the connection.
    async fn new(
        answers: impl Fn(&Value) -> Option<Vec<Value>> + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let (turn, connections) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let paged = notes(1).remove(0);
        let (turned, told, page) = (turn.clone(), heard.clone(), paged.clone());
        let peer = Peer::new(move |mut socket: Socket| {
            let (turned, told, page, answers) = (turned.clone(), told.clone(), page.clone(), answers.clone());
            let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if is_first {
                    hear_live_req(&mut socket).await?;
                    turned.notified().await;
                    return Ok(());
                }
                loop {
                    let message = hear(&mut socket).await?;
                    told.lock().unwrap().push(message.clone());
                    let is_req = message[0] == "REQ";
                    let first_page = message[2]["until"].is_null() && message[2]["limit"] != 0;
                    if is_req && message[2]["ids"].is_null() && first_page {
                        say(&mut socket, json!(["EVENT", message[1], page.to_json()])).await?;
                    }
                    let Some(answers) = answers(&message) else { return Ok(()) };
                    for answer in answers {
                        say(&mut socket, answer).await?;
                    }
                    if is_req {
                        say(&mut socket, json!(["EOSE", message[1]])).await?;
                    }
                }
            }
        })
        .await?;
        Ok(Self { peer, turn, paged, heard })
    }

    /// A relay that was in sync with the peer before it turned.
    async fn betray(&self) -> anyhow::Result<(Relay, Router)> {
        let (relay, router) = linked("down", self.peer.url())?;
        synced(&relay).await?;
        self.turn.notify_one();
        Ok((relay, router))
    }

    fn heard(&self, verb: &str) -> Vec<Value> {
        self.heard.lock().unwrap().iter().filter(|message| message[0] == verb).cloned().collect()
    }

    /// The event of the pages comes, and the log says why it was them.
    async fn is_paged(&self, relay: &Relay, why: &str) -> anyhow::Result<()> {
        let mut client = Client::connect(relay).await?;
        wait_for_all(&mut client, std::slice::from_ref(&self.paged), 2 * RECOVERY).await?;
        logged(relay, &["page by page", why]).await?;
        synced(relay).await
    }
}

/// Pages after this answer to NEG-OPEN, its subscription being `$`.
async fn falls_back(answer: Value, why: &str) -> anyhow::Result<()> {
    let verb = answer[0].as_str().unwrap_or_default().to_owned();
    let peer = Turncoat::new(move |message| {
        let answer = answer.to_string().replace('$', message[1].as_str().unwrap_or_default());
        Some(if message[0] == "NEG-OPEN" { vec![serde_json::from_str(&answer).unwrap()] } else { Vec::new() })
    })
    .await?;
    let (relay, _router) = peer.betray().await?;
    peer.is_paged(&relay, why).await?;
    assert_eq!(peer.heard("NEG-OPEN").len(), 1, "a peer that does not sync is asked once");
    let knows_nothing_of_it = ["NOTICE", "CLOSED", "NEG-ERR"].contains(&verb.as_str());
    assert_eq!(peer.heard("NEG-CLOSE").len(), usize::from(!knows_nothing_of_it), "{verb}");
    Ok(())
}

#[tokio::test]
async fn a_peer_that_knows_no_negentropy_says_so_in_a_notice() -> anyhow::Result<()> {
    falls_back(json!(["NOTICE", "ERROR: bad msg: unknown cmd"]), "not to support negentropy").await
}

#[tokio::test]
async fn a_peer_that_closes_or_refuses_the_comparison_is_asked_page_by_page() -> anyhow::Result<()> {
    falls_back(json!(["CLOSED", "$", "unsupported: what is this"]), "what is this").await?;
    falls_back(json!(["NEG-ERR", "$", "blocked: too many query results", 5]), "too many query results").await
}

#[tokio::test]
async fn a_peer_that_says_garbage_is_asked_page_by_page() -> anyhow::Result<()> {
    falls_back(json!(["NEG-MSG", "$", "zz"]), "no negentropy version").await?;
    // An id that breaks off.
    falls_back(json!(["NEG-MSG", "$", "6100000201ffff"]), "ends too early").await?;
    falls_back(json!(["NEG-MSG", "$", "62"]), "version 1").await
}

#[tokio::test]
async fn a_peer_that_says_nothing_to_it_is_asked_page_by_page() -> anyhow::Result<()> {
    falls_back(json!(["EOSE", "$"]), "did nothing").await
}

#[tokio::test]
async fn a_peer_that_breaks_off_when_it_is_asked_is_not_asked_again_at_once() -> anyhow::Result<()> {
    let peer = Turncoat::new(|message| (message[0] != "NEG-OPEN").then(Vec::new)).await?;
    let (relay, _router) = peer.betray().await?;
    let mut client = Client::connect(&relay).await?;
    wait_for_all(&mut client, std::slice::from_ref(&peer.paged), 2 * RECOVERY).await?;
    synced(&relay).await?;
    assert_eq!(peer.heard("NEG-OPEN").len(), 1);
    Ok(())
}

#[tokio::test]
async fn ids_that_a_peer_never_hands_over_are_asked_for_once() -> anyhow::Result<()> {
    let unasked = Draft::note("unasked").sign(&Keys::generate());
    let other = unasked.clone();
    let peer = Turncoat::new(move |message| {
        Some(match message[0].as_str() {
            Some("NEG-OPEN") => {
                let ids = (0..250).map(|n: u8| [n; 32]);
                vec![json!(["NEG-MSG", message[1], claim::ids(ids)])]
            }
            Some("REQ") if message[2]["ids"].is_array() => vec![json!(["EVENT", message[1], other.to_json()])],
            _ => Vec::new(),
        })
    })
    .await?;
    let (relay, _router) = peer.betray().await?;
    logged(&relay, &["found by negentropy", "needed=250", "missing=250"]).await?;
    synced(&relay).await?;
    let asked: Vec<usize> =
        (peer.heard("REQ").iter()).filter_map(|message| message[2]["ids"].as_array().map(Vec::len)).collect();
    assert_eq!(asked, [100, 100, 50]);
    assert_eq!(Client::connect(&relay).await?.query([json!({})]).await?, []);
    assert_eq!(link(&relay)?["down"]["bad"], 3, "what was not asked for");
    Ok(())
}

#[tokio::test]
async fn a_comparison_without_end_is_given_up() -> anyhow::Result<()> {
    let peer = Turncoat::new(|message| {
        let goes_on = message[0] == "NEG-OPEN" || message[0] == "NEG-MSG";
        Some(goes_on.then(|| json!(["NEG-MSG", message[1], claim::different()])).into_iter().collect())
    })
    .await?;
    let (relay, _router) = peer.betray().await?;
    peer.is_paged(&relay, "more than 2000 messages").await?;
    assert_eq!(peer.heard("NEG-CLOSE").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_peer_that_claims_ever_more_ids_takes_no_memory() -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let peer = Turncoat::new(move |message| {
        let goes_on = message[0] == "NEG-OPEN" || message[0] == "NEG-MSG";
        let claim = || {
            let first = next.fetch_add(10_000, Ordering::SeqCst);
            let id = |n: u64| {
                let mut id = [0xcc; 32];
                id[..8].copy_from_slice(&n.to_be_bytes());
                id
            };
            json!(["NEG-MSG", message[1], claim::ids_until(first, (first..first + 10_000).map(id))])
        };
        Some(goes_on.then(claim).into_iter().collect())
    })
    .await?;
    let (relay, router) = linked("down", peer.peer.url())?;
    synced(&relay).await?;
    let before = relay.rss_bytes()?;
    peer.turn.notify_one();
    peer.is_paged(&relay, "more than 100000 events").await?;
    let more = relay.rss_bytes()?.saturating_sub(before);
    assert!(more < ROOM_BYTES, "{} MiB more", more >> 20);
    let asked = peer.heard("REQ").iter().filter(|message| message[2]["ids"].is_array()).count();
    assert_eq!(asked, 0, "none of them is worth asking for");
    drop(router);
    Ok(())
}

#[tokio::test]
async fn a_link_of_both_ways_is_in_sync_when_both_have_caught_up() -> anyhow::Result<()> {
    let (answering, connections) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (turn, paged) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (answered, turned, down) = (answering.clone(), turn.clone(), paged.clone());
    let peer = Peer::new(move |mut socket: Socket| {
        let (answered, turned, down) = (answered.clone(), turned.clone(), down.clone());
        let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                hear_live_req(&mut socket).await?;
                turned.notified().await;
                return Ok(());
            }
            let (mut offered, mut answers) = (Vec::new(), false);
            loop {
                let message = tokio::select! {
                    message = hear(&mut socket) => message?,
                    () = answered.notified() => {
                        answers = true;
                        json!([])
                    }
                };
                if message[0] == "EVENT" {
                    offered.push(message[1]["id"].clone());
                }
                if answers {
                    for id in std::mem::take(&mut offered) {
                        say(&mut socket, json!(["OK", id, true, ""])).await?;
                    }
                }
                match message[0].as_str() {
                    Some("REQ") => say(&mut socket, json!(["EOSE", message[1]])).await?,
                    Some("NEG-OPEN") => say(&mut socket, json!(["NEG-MSG", message[1], claim::ids([])])).await?,
                    Some("NEG-CLOSE") => down.notify_one(),
                    _ => {}
                }
            }
        }
    })
    .await?;
    let (relay, _router) = linked("both", peer.url())?;
    synced(&relay).await?;
    let mut client = Client::connect(&relay).await?;
    // Nobody answers them, not before the peer turns and not at once afterwards.
    store(&mut client, &notes(5)).await?;
    turn.notify_one();
    paged.notified().await;
    // What it would take to say so too early is far less.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(link(&relay)?["state"], "catching-up", "the way up is not answered");
    answering.notify_one();
    synced(&relay).await?;
    assert_eq!(link(&relay)?["up"]["accepted"], 5);
    Ok(())
}
