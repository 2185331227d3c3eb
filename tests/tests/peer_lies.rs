//! Peers that lie, flood, stall and break off: nothing bad is stored, memory stays bounded, and the relay lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mercato_tests::client::Client;
use mercato_tests::link::{
    Peer, RECOVERY, Router, Socket, hear, hear_live_req, links_of, say, stream, wait_for_all, wait_in_sync,
};
use mercato_tests::relay::Settings;
use mercato_tests::{Draft, Event, Keys, Relay};
use serde_json::json;

/// Memory that a relay may take on beside what it had, whatever its peers send.
const ROOM_BYTES: u64 = 200 << 20;

fn linked(direction: &str, url: String) -> anyhow::Result<(Relay, Router)> {
    let router = Router::linking(direction, &[url])?;
    Ok((Settings::default().set("router.file", router.path().display()).start()?, router))
}

fn good() -> Event {
    Draft::note("good").sign(&Keys::generate())
}

/// Waits until the link says so of itself.
async fn wait_for_state(relay: &Relay, text: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let links = links_of(&Relay::store_in(relay.folder()))?;
        if links[0]["state"].to_string().contains(text) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < RECOVERY, "{text} was expected of {links:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_forged_or_was_not_asked_for_is_not_stored() -> anyhow::Result<()> {
    let last = good();
    let (bad, fine) = (bad_events(), last.clone());
    let sent = bad.clone();
    let peer = Peer::new(move |mut socket: Socket| {
        let (sent, fine) = (sent.clone(), fine.clone());
        async move {
            let live = hear_live_req(&mut socket).await?;
            for event in &sent {
                say(&mut socket, json!(["EVENT", live, event.to_json()])).await?;
            }
            for nonsense in [json!(["EVENT", live]), json!(["EVENT", live, 7]), json!({}), json!(["OK", "x", true])] {
                say(&mut socket, nonsense).await?;
            }
            say(&mut socket, json!(["EVENT", live, fine.to_json()])).await?;
            while hear(&mut socket).await.is_ok() {}
            Ok(())
        }
    })
    .await?;
    let router = Router::new(&stream("down", &[peer.url()]).replace("dir =", "filter = { kinds = [1] }\n dir ="))?;
    let relay = Settings::default().set("router.file", router.path().display()).start()?;
    let mut client = Client::connect(&relay).await?;
    wait_for_all(&mut client, std::slice::from_ref(&last), RECOVERY).await?;
    assert_eq!(client.query([json!({})]).await?, [last]);
    let link = &links_of(&Relay::store_in(relay.folder()))?[0];
    assert_eq!(link["down"]["stored"], 1, "{link}");
    assert!(link["down"]["bad"].as_u64() >= Some(4), "{link}");
    Ok(())
}

/// Events that no relay may take of a link for notes, whose signatures it can check.
fn bad_events() -> Vec<Event> {
    let keys = Keys::generate();
    let (one, other) = (Draft::note("one").sign(&keys), Draft::note("other").sign(&keys));
    let wrong_signature = Event { sig: other.sig.clone(), ..one.clone() };
    let wrong_id = Event { id: other.id.clone(), ..one.clone() };
    let changed = Event { content: "changed".to_owned(), ..one };
    let unasked = Draft::new(7).sign(&keys);
    let future = Draft::note("future").at(mercato_tests::now_s() + 100_000).sign(&keys);
    let large = Draft::note("x".repeat(100_000)).sign(&keys);
    let protected = Draft::note("protected").tag(["-"]).sign(&keys);
    vec![wrong_signature, wrong_id, changed, unasked, future, large, protected]
}

#[tokio::test]
async fn a_peer_that_forges_without_end_is_left() -> anyhow::Result<()> {
    let forged = Event { sig: "00".repeat(64), ..good() };
    let peer = Peer::new(move |mut socket: Socket| {
        let forged = forged.clone();
        async move {
            let live = hear_live_req(&mut socket).await?;
            loop {
                say(&mut socket, json!(["EVENT", live, forged.to_json()])).await?;
            }
        }
    })
    .await?;
    let (relay, _router) = linked("down", peer.url())?;
    wait_for_state(&relay, "not valid").await?;
    let mut client = Client::connect(&relay).await?;
    assert_eq!(client.query([json!({})]).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_flood_and_huge_messages_take_no_memory() -> anyhow::Result<()> {
    let peer = Peer::new(|mut socket: Socket| async move {
        let live = hear_live_req(&mut socket).await?;
        let keys = Keys::generate();
        // Just what may be stored, as fast as the link reads; nobody ever asked for this much.
        for n in 0..4_000 {
            let event = Draft::new(20_000).content(format!("{n}{}", "x".repeat(60_000))).sign(&keys);
            say(&mut socket, json!(["EVENT", live, event.to_json()])).await?;
        }
        say(&mut socket, json!(["EVENT", live, "x".repeat(3 << 20)])).await?;
        while hear(&mut socket).await.is_ok() {}
        Ok(())
    })
    .await?;
    let (relay, _router) = linked("down", peer.url())?;
    let before = relay.rss_bytes()?;
    let begun = Instant::now();
    let mut most = before;
    // A message that is too long ends the connection, and the link comes back.
    while links_of(&Relay::store_in(relay.folder()))?[0]["connections"].as_u64() < Some(2) {
        most = most.max(relay.rss_bytes()?);
        anyhow::ensure!(begun.elapsed() < 3 * RECOVERY, "the connection was not given up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(most - before < ROOM_BYTES, "{} MiB more", (most - before) >> 20);
    relay.check_alive()
}

#[tokio::test]
async fn a_link_comes_back_to_a_peer_that_closes_in_the_middle() -> anyhow::Result<()> {
    let (first, second) = (good(), good());
    let events = Arc::new([first.clone(), second.clone()]);
    let connections = Arc::new(AtomicUsize::new(0));
    let peer = Peer::new(move |mut socket: Socket| {
        let (events, connections) = (events.clone(), connections.clone());
        async move {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            let live = hear_live_req(&mut socket).await?;
            say(&mut socket, json!(["EVENT", live, events[0].to_json()])).await?;
            if number > 0 {
                say(&mut socket, json!(["EVENT", live, events[1].to_json()])).await?;
                while hear(&mut socket).await.is_ok() {}
            }
            // The first connection ends here, without a good-bye; it may take the event with it.
            Ok(())
        }
    })
    .await?;
    let (relay, _router) = linked("down", peer.url())?;
    wait_for_all(&mut Client::connect(&relay).await?, &[first, second], RECOVERY).await
}

#[tokio::test]
async fn a_peer_that_never_says_eose_still_gives_what_is_new() -> anyhow::Result<()> {
    let event = good();
    let sent = event.clone();
    let peer = Peer::new(move |mut socket: Socket| {
        let sent = sent.clone();
        async move {
            let request = hear(&mut socket).await?;
            say(&mut socket, json!(["EVENT", request[1], sent.to_json()])).await?;
            while hear(&mut socket).await.is_ok() {}
            Ok(())
        }
    })
    .await?;
    let (relay, _router) = linked("down", peer.url())?;
    wait_for_all(&mut Client::connect(&relay).await?, &[event], RECOVERY).await
}

#[tokio::test]
async fn what_a_peer_refuses_for_now_is_offered_again_and_what_it_refuses_for_good_is_not() -> anyhow::Result<()> {
    let offers = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let seen = offers.clone();
    let peer = Peer::new(move |mut socket: Socket| {
        let seen = seen.clone();
        async move {
            loop {
                let message = hear(&mut socket).await?;
                if message[0] != "EVENT" {
                    continue;
                }
                let content = message[1]["content"].as_str().unwrap_or_default().to_owned();
                let before = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(content.clone());
                    seen.iter().filter(|one| **one == content).count()
                };
                let (accepted, text) = match content.as_str() {
                    "fast" if before < 3 => (false, "rate-limited: slow down"),
                    "never" => (false, "blocked: no"),
                    _ => (true, ""),
                };
                say(&mut socket, json!(["OK", message[1]["id"], accepted, text])).await?;
            }
        }
    })
    .await?;
    let (relay, _router) = linked("up", peer.url())?;
    wait_in_sync(&Relay::store_in(relay.folder()), 1).await?;
    let (mut client, keys) = (Client::connect(&relay).await?, Keys::generate());
    for content in ["fast", "never", "last"] {
        client.store(&Draft::note(content).sign(&keys)).await?;
    }
    let begun = Instant::now();
    loop {
        let up = links_of(&Relay::store_in(relay.folder()))?[0]["up"].clone();
        if up["accepted"] == 2 && up["refused"] == 1 {
            break;
        }
        anyhow::ensure!(begun.elapsed() < RECOVERY, "{up}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let offers = offers.lock().unwrap();
    let count = |content: &str| offers.iter().filter(|one| *one == content).count();
    assert_eq!((count("fast"), count("never"), count("last")), (3, 1, 1));
    Ok(())
}

#[tokio::test]
async fn a_link_with_a_key_authenticates_where_it_is_asked_to() -> anyhow::Result<()> {
    let event = good();
    let sent = event.clone();
    let keys = Keys::generate();
    let expected = keys.public_key().to_hex();
    let peer = Peer::new(move |mut socket: Socket| {
        let (sent, expected) = (sent.clone(), expected.clone());
        async move {
            say(&mut socket, json!(["AUTH", "the challenge"])).await?;
            let auth = hear(&mut socket).await?;
            anyhow::ensure!(auth[0] == "AUTH", "{auth} came before AUTH");
            let event = Event::from_json(&auth[1])?;
            let right = event.kind == 22_242
                && event.pubkey == expected
                && event.value("challenge") == Some("the challenge")
                && event.value("relay").is_some_and(|url| url.starts_with("ws://127.0.0.1:"));
            event.check_id()?;
            say(&mut socket, json!(["OK", event.id, right, ""])).await?;
            let live = hear_live_req(&mut socket).await?;
            say(&mut socket, json!(["EVENT", live, sent.to_json()])).await?;
            while hear(&mut socket).await.is_ok() {}
            Ok(())
        }
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("link.key");
    std::fs::write(&key, keys.secret_key().to_secret_hex())?;
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let router = Router::linking("down", &[peer.url()])?;
    let settings = Settings::default().set("router.file", router.path().display());
    let relay = settings.set("router.key_file", key.display()).start()?;
    wait_for_all(&mut Client::connect(&relay).await?, &[event], RECOVERY).await
}
