//! Input that no honest client sends. Each gets a NOTICE, an OK false or a CLOSED whose text begins with a machine
//! prefix; the connection goes on where it can, neighbours never notice, and memory stays bounded.

use std::time::Duration;

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event};
use mercato_tests::relay::Shared;
use mercato_tests::said::{Said, prefix};
use mercato_tests::{Keys, Relay};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

static RELAY: Shared = Shared::new();

const MIB: u64 = 1 << 20;

/// How a message is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Notice,
    OkFalse,
    Closed,
}

/// Sends one text and checks the very next message: its verb, its machine prefix, and that the connection goes on.
async fn check(client: &mut Client, text: &str, expected: Answer) -> anyhow::Result<()> {
    let shown: String = text.chars().take(120).collect();
    let judge = async {
        client.send_text(text).await?;
        let (answer, said) = match client.next().await? {
            Said::Notice(said) => (Answer::Notice, said),
            Said::Ok { accepted: false, text, .. } => (Answer::OkFalse, text),
            Said::Closed { text, .. } => (Answer::Closed, text),
            other => anyhow::bail!("answered by {other:?}"),
        };
        ensure!(answer == expected, "{expected:?} was expected, not {answer:?} {said:?}");
        ensure!(prefix(&said).is_some(), "no machine prefix: {said:?}");
        ensure!(said.len() < 1_000, "an answer of {} bytes", said.len());
        client.send(json!(["REQ", "fence", {"ids": []}])).await?;
        let fence = client.next().await?;
        ensure!(fence.is_eose("fence"), "answered twice: {fence:?}");
        client.close("fence").await
    };
    judge.await.with_context(|| format!("for {shown}"))
}

/// Two neighbours talk to each other through the relay.
async fn check_neighbours(relay: &Relay) -> anyhow::Result<()> {
    let keys = Keys::generate();
    let (mut one, mut two) = (Client::connect(relay).await?, Client::connect(relay).await?);
    one.subscribe("s", [json!({"authors": [keys.public_key().to_hex()]})]).await?;
    let event = Draft::note("hello").sign(&keys);
    two.store(&event).await?;
    ensure!(one.live("s").await? == event, "a neighbour got something else");
    relay.check_alive()
}

/// Text of an EVENT whose members stand in NIP-01's order, one of them as given.
fn event_text(event: &Event, member: &str, value: &str) -> String {
    let own = event.to_json();
    let members = ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"].map(|name| match name == member {
        true => format!("\"{name}\":{value}"),
        false => format!("\"{name}\":{}", own[name]),
    });
    format!("[\"EVENT\",{{{}}}]", members.join(","))
}

#[tokio::test]
async fn what_is_no_message_gets_a_notice() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let texts = [
        "",
        " ",
        "\u{feff}[]",
        "nonsense",
        "null",
        "true",
        "1",
        "\"EVENT\"",
        "{}",
        "[]",
        "[1]",
        "[null]",
        "[[]]",
        "[\"\"]",
        "[\"EVENT\"]",
        "[\"EVENT\",null]",
        "[\"EVENT\",[]]",
        "[\"EVENT\",\"text\"]",
        "[\"EVENT\",{}]",
        "[\"EVENT\",{\"id\":1}]",
        "[\"REQ\"]",
        "[\"REQ\",1,{}]",
        "[\"REQ\",null,{}]",
        "[\"REQ\",{}]",
        "[\"CLOSE\"]",
        "[\"CLOSE\",1]",
        "[\"CLOSE\",\"a\",\"b\"]",
        "[\"AUTH\"]",
        "[\"AUTH\",\"challenge\"]",
        "[\"event\",{}]",
        "[\"UNKNOWN\",\"x\"]",
        "[\"NOTICE\",\"x\"]",
        "[\"OK\",\"x\",true,\"\"]",
        "[\"CLOSE\",\"a\"",
        "[\"CLOSE\",\"a\"]]",
        "[\"CLOSE\",\"a\"] x",
        "[\"CLOSE\" \"a\"]",
        "[\"CLOSE\",\"a]",
        "['CLOSE','a']",
        "[\"CLOSE\",\"a\u{1}\"]",
        "[\"CLOSE\",\"\\ud800\"]",
        "[\"CLOSE\",\"\\x41\"]",
        "[\"CLOSE\",\"\\u12\"]",
        "[\"\\ud83d\"]",
        "[\"EVENT\",{\"id\":\"\\",
        "[\"CLOSE\",\"\\é\"]",
        "\u{0}",
    ];
    for text in texts {
        check(&mut client, text, Answer::Notice).await?;
    }
    check_neighbours(&relay).await
}

#[tokio::test]
async fn a_message_that_is_spoilt_at_its_end_is_answered_by_what_it_was_about() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("spoilt").sign(&Keys::generate());
    for end in ["", "]]", ",1]", "} x"] {
        check(&mut client, &format!("[\"REQ\",\"a\",{{\"kinds\":[1]}}{end}"), Answer::Closed).await?;
        check(&mut client, &format!("[\"EVENT\",{}{end}", event.to_json()), Answer::OkFalse).await?;
    }
    assert!(client.query([json!({"ids": [event.id]})]).await?.is_empty());
    check_neighbours(&relay).await
}

#[tokio::test]
async fn nesting_without_end_is_refused_and_the_stack_holds() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let deep = 100_000;
    check(&mut client, &"[".repeat(deep), Answer::Notice).await?;
    check(&mut client, &"{\"a\":".repeat(deep / 5), Answer::Notice).await?;
    check(&mut client, &format!("[\"EVENT\",{}", "[".repeat(deep)), Answer::Notice).await?;
    check(
        &mut client,
        &format!("[\"EVENT\",{{\"x\":{}{}}}]", "[".repeat(deep / 3), "]".repeat(deep / 3)),
        Answer::Notice,
    )
    .await?;
    check(&mut client, &format!("[\"REQ\",\"s\",{}", "[".repeat(deep)), Answer::Closed).await?;
    check(&mut client, &format!("[\"REQ\",\"s\",{{\"kinds\":{}", "[".repeat(deep)), Answer::Closed).await?;
    let event = Draft::note("deep").sign(&Keys::generate());
    check(&mut client, &event_text(&event, "tags", &"[".repeat(deep)), Answer::OkFalse).await?;
    check_neighbours(&relay).await
}

#[tokio::test]
async fn an_event_with_a_broken_member_gets_ok_false() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("whole").tag(["t", "x"]).sign(&Keys::generate());
    let (short, upper) = (format!("\"{}\"", &event.pubkey[1..]), format!("\"{}\"", event.pubkey.to_uppercase()));
    let not_a_key = format!("\"{}\"", "f".repeat(64));
    let (zeros, long) = (format!("\"{}\"", "0".repeat(128)), format!("\"{}0\"", event.sig));
    let broken = [
        ("pubkey", &*short),
        ("pubkey", &upper),
        ("pubkey", &not_a_key),
        ("pubkey", "null"),
        ("pubkey", "5"),
        ("created_at", "-1"),
        ("created_at", "1.5"),
        ("created_at", "1e9"),
        ("created_at", "\"1\""),
        ("created_at", "null"),
        ("created_at", "18446744073709551615"),
        ("created_at", "18446744073709551616"),
        ("created_at", "01"),
        ("created_at", ""),
        ("kind", "-1"),
        ("kind", "65536"),
        ("kind", "1.0"),
        ("kind", "\"1\""),
        ("kind", "null"),
        ("kind", "1e0"),
        ("kind", "[1]"),
        ("tags", "null"),
        ("tags", "{}"),
        ("tags", "[1]"),
        ("tags", "[[1]]"),
        ("tags", "[[\"t\",null]]"),
        ("tags", "[[\"t\",[\"x\"]]]"),
        ("tags", "[\"t\"]"),
        ("tags", "[[\"t\",\"\\ud800\"]]"),
        ("tags", "[[\"t\",\"x\"],]"),
        ("content", "null"),
        ("content", "5"),
        ("content", "[]"),
        ("content", "\"\\ud800\""),
        ("content", "\"\\udc00\\ud800\""),
        ("content", "\"\\x\""),
        ("content", "\"\u{1}\""),
        ("content", "\"a\nb\""),
        ("content", "\"other\""),
        ("sig", &zeros),
        ("sig", &long),
        ("sig", "\"\""),
        ("sig", "null"),
    ];
    for (member, value) in broken {
        check(&mut client, &event_text(&event, member, value), Answer::OkFalse).await?;
    }
    check_neighbours(&relay).await?;
    client.store(&event).await
}

#[tokio::test]
async fn an_event_with_a_member_missing_or_twice_gets_ok_false() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let event = Draft::note("whole").sign(&Keys::generate());
    for member in ["pubkey", "created_at", "kind", "tags", "content", "sig"] {
        let mut text = event.to_json();
        text.as_object_mut().context("an object")?.remove(member);
        check(&mut client, &json!(["EVENT", text]).to_string(), Answer::OkFalse).await?;
        let own = &event.to_json()[member];
        let twice = event_text(&event, member, &format!("{own},\"{member}\":{own}"));
        check(&mut client, &twice, Answer::OkFalse).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_gets_closed() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let key = "a".repeat(64);
    let (upper, short) = (key.to_uppercase(), &key[1..]);
    let filters = [
        "null",
        "[]",
        "1",
        "\"x\"",
        "{\"kinds\":1}",
        "{\"kinds\":null}",
        "{\"kinds\":{}}",
        "{\"kinds\":[\"1\"]}",
        "{\"kinds\":[-1]}",
        "{\"kinds\":[1.5]}",
        "{\"kinds\":[1e3]}",
        "{\"kinds\":[65536]}",
        "{\"kinds\":[null]}",
        "{\"kinds\":[[1]]}",
        "{\"kinds\":[1,]}",
        "{\"since\":-1}",
        "{\"since\":1.0}",
        "{\"since\":\"1\"}",
        "{\"since\":null}",
        "{\"until\":1e9}",
        "{\"until\":18446744073709551616}",
        "{\"limit\":-1}",
        "{\"limit\":\"5\"}",
        "{\"limit\":[]}",
        "{\"ids\":\"x\"}",
        "{\"ids\":[\"xyz\"]}",
        "{\"ids\":[1]}",
        &format!("{{\"ids\":[\"{short}\"]}}"),
        &format!("{{\"ids\":[\"{upper}\"]}}"),
        &format!("{{\"authors\":[\"{short}\"]}}"),
        &format!("{{\"authors\":[\"{upper}\"]}}"),
        "{\"#t\":\"a\"}",
        "{\"#t\":[1]}",
        "{\"#t\":[[\"a\"]]}",
        "{\"#t\":[\"\\ud800\"]}",
        "{\"#tt\":[\"a\"]}",
        "{\"#\":[\"a\"]}",
        "{\"#1\":[\"a\"]}",
        "{\"t\":[\"a\"]}",
        "{\"unknown\":1}",
        "{\"\":1}",
        "{\"kinds\":[1]",
        "{\"kinds\":[1],\"kinds\":[1]}",
        "{\"#t\":[\"a\"],\"#t\":[\"b\"]}",
        "{\"#a\":[\"1\"],\"#b\":[\"1\"],\"#c\":[\"1\"],\"#d\":[\"1\"]}",
    ];
    for filter in filters {
        check(&mut client, &format!("[\"REQ\",\"s\",{filter}]"), Answer::Closed).await?;
    }
    check(&mut client, "[\"REQ\",\"s\"]", Answer::Closed).await?;
    check(&mut client, "[\"REQ\",\"s\",]", Answer::Closed).await?;
    check(&mut client, "[\"REQ\",\"s\",{},null]", Answer::Closed).await?;
    check_neighbours(&relay).await
}

#[tokio::test]
async fn more_than_the_limits_of_a_req_gets_closed() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let many_kinds: Vec<u32> = (0..10_000).collect();
    check(&mut client, &json!(["REQ", "s", {"kinds": many_kinds}]).to_string(), Answer::Closed).await?;
    let many_values: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
    check(&mut client, &json!(["REQ", "s", {"#t": many_values}]).to_string(), Answer::Closed).await?;
    let mut many_filters = vec![json!("REQ"), json!("s")];
    many_filters.extend((0..201).map(|kind| json!({"kinds": [kind]})));
    check(&mut client, &json!(many_filters).to_string(), Answer::Closed).await?;
    // Exactly at the limit it is served.
    many_filters.pop();
    client.send(json!(many_filters)).await?;
    client.stored("s").await?;
    check_neighbours(&relay).await
}

#[tokio::test]
async fn a_subscription_id_has_1_to_64_characters() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    check(&mut client, "[\"REQ\",\"\",{}]", Answer::Notice).await?;
    check(&mut client, &json!(["REQ", "x".repeat(65), {}]).to_string(), Answer::Notice).await?;
    check(&mut client, &json!(["REQ", "x".repeat(100_000), {}]).to_string(), Answer::Notice).await?;
    check(&mut client, &json!(["CLOSE", "x".repeat(65)]).to_string(), Answer::Notice).await?;
    for id in ["x".repeat(64), "\u{1F980}".repeat(64), "\" \\ \n \u{0} ]".to_owned()] {
        assert!(client.subscribe(&id, [json!({"ids": []})]).await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn too_many_subscriptions_are_refused_until_one_is_closed() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    for number in 0..200 {
        client.subscribe(&number.to_string(), [json!({"ids": []})]).await?;
    }
    client.request("one more", &[json!({"ids": []})]).await?;
    let text = client.closed("one more").await?;
    assert_eq!(prefix(&text), Some("blocked"), "{text}");
    // One in the place of another is not one more.
    client.subscribe("7", [json!({"ids": []})]).await?;
    client.close("7").await?;
    client.subscribe("one more", [json!({"ids": []})]).await?;
    check_neighbours(&relay).await
}

#[tokio::test]
async fn binary_messages_get_a_notice() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    client.send_frame(Message::binary(b"[\"CLOSE\",\"x\"]".to_vec())).await?;
    let text = client.notice().await?;
    assert_eq!(prefix(&text), Some("invalid"), "{text}");
    check(&mut client, "still here", Answer::Notice).await
}

#[tokio::test]
async fn text_that_is_not_utf8_gets_a_notice_and_ends_the_connection() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    for bytes in [&b"[\"CLOSE\",\"\xff\"]"[..], b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"] {
        let mut client = Client::connect(&relay).await?;
        let frame = Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true);
        client.send_frame(Message::Frame(frame)).await?;
        let text = client.notice().await?;
        assert_eq!(prefix(&text), Some("invalid"), "{text}");
        ensure!(client.is_closed().await?, "the connection goes on");
    }
    check_neighbours(&relay).await
}

#[tokio::test]
async fn a_message_over_the_limit_gets_a_notice_and_ends_the_connection() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    // At the limit it is read.
    check(&mut client, &"x".repeat(131_072), Answer::Notice).await?;
    for length in [131_073, 1_000_000] {
        let mut client = Client::connect(&relay).await?;
        // The relay may end the connection before it has taken all of it.
        let _ = client.send_text("x".repeat(length)).await;
        match client.notice().await {
            Ok(text) => assert_eq!(prefix(&text), Some("invalid"), "{text}"),
            // The rest of the message can make the system drop what the relay said last.
            Err(error) => eprintln!("{length} bytes: {error:#}"),
        }
        ensure!(client.is_closed().await?, "the connection goes on");
    }
    check_neighbours(&relay).await
}

#[tokio::test]
async fn a_frame_that_announces_exabytes_costs_nothing() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let before = relay.rss_bytes()?;
    for length in [1_u64 << 30, 1 << 40, (1 << 63) - 1, u64::MAX] {
        let mut client = Client::connect(&relay).await?;
        let mut head = vec![0x81, 0xff];
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        client.bare().write_all(&head).await?;
        ensure!(client.is_closed().await?, "the connection goes on");
    }
    let grown = relay.rss_bytes()?.saturating_sub(before);
    ensure!(grown < 64 * MIB, "memory grew by {} MiB", grown / MIB);
    check_neighbours(&relay).await
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_the_connection() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    // Reserved bits and opcodes, an unmasked frame, a control frame in pieces, a continuation of nothing.
    let frames: [&[u8]; 6] = [
        &[0xff; 14],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0x81, 0x01, b'x'],
        &[0x09, 0x80, 0, 0, 0, 0],
        &[0x80, 0x80, 0, 0, 0, 0],
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in frames {
        let mut client = Client::connect(&relay).await?;
        client.bare().write_all(bytes).await?;
        ensure!(client.is_closed().await.with_context(|| format!("{bytes:?}"))?, "{bytes:?} is taken");
    }
    check_neighbours(&relay).await
}

#[tokio::test]
async fn http_that_is_none_ends_the_connection() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let endless = vec![b'a'; 1 << 20];
    let upgrade_without_key = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let requests: [&[u8]; 4] = [b"\x16\x03\x01\x02\x00nonsense\r\n\r\n", b"GET\r\n\r\n", &endless, upgrade_without_key];
    for request in requests {
        let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).await?;
        // The relay may hang up before it has read everything.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
        ensure!(read.is_ok(), "a connection is kept for {:?}", &request[..request.len().min(40)]);
        ensure!(!answer.starts_with(b"HTTP/1.1 101"), "upgraded");
    }
    check_neighbours(&relay).await
}

#[tokio::test]
async fn a_flood_of_bad_messages_is_answered_and_memory_stays() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let before = relay.rss_bytes()?;
    let mut client = Client::connect(&relay).await?;
    for round in 0..100 {
        for _ in 0..100 {
            client.send_text("[\"EVENT\",{\"content\":\"\\u0000").await?;
        }
        for _ in 0..100 {
            client.notice().await.with_context(|| format!("in round {round}"))?;
        }
    }
    let grown = relay.rss_bytes()?.saturating_sub(before);
    ensure!(grown < 64 * MIB, "memory grew by {} MiB", grown / MIB);
    check_neighbours(&relay).await
}

/// A relay that keeps little for a client that does not read.
fn impatient() -> anyhow::Result<Relay> {
    Relay::settings()
        .set("limits.max_outbound_bytes", MIB)
        .set("store.block_cache_mib", 8)
        .set("store.body_cache_mib", 8)
        .start()
}

/// Notes that together are far more than sockets and the relay keep for one client.
fn large_notes(keys: &Keys) -> Vec<Event> {
    (0..400).map(|number| Draft::note(format!("{number}{}", "x".repeat(60_000))).sign(keys)).collect()
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_its_neighbours_get_everything() -> anyhow::Result<()> {
    let relay = impatient()?;
    let keys = Keys::generate();
    let filter = json!({"authors": [keys.public_key().to_hex()]});
    let mut slow = Client::connect_narrow(&relay).await?;
    slow.subscribe("s", [filter.clone()]).await?;
    let mut neighbour = Client::connect(&relay).await?;
    neighbour.subscribe("s", [filter]).await?;
    let mut publisher = Client::connect(&relay).await?;
    let before = relay.rss_bytes()?;
    let notes = large_notes(&keys);
    for note in &notes {
        publisher.store(note).await?;
        ensure!(neighbour.live("s").await? == *note, "the neighbour got something else");
    }
    let grown = relay.rss_bytes()?.saturating_sub(before);
    ensure!(grown < 160 * MIB, "memory grew by {} MiB", grown / MIB);
    let mut got = 0;
    while slow.live("s").await.is_ok() {
        got += 1;
    }
    ensure!(got < notes.len(), "a client that read nothing for {} MB was kept", notes.len() * 60 / 1_000);
    check_neighbours(&relay).await
}

#[tokio::test]
async fn stored_events_wait_for_a_slow_reader_without_filling_memory() -> anyhow::Result<()> {
    let relay = impatient()?;
    let keys = Keys::generate();
    let mut publisher = Client::connect(&relay).await?;
    let notes = large_notes(&keys);
    for note in &notes {
        publisher.store(note).await?;
    }
    let before = relay.rss_bytes()?;
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect_narrow(&relay).await?;
        client.request("s", &[json!({"authors": [keys.public_key().to_hex()]})]).await?;
        slow.push(client);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    check_neighbours(&relay).await?;
    let grown = relay.rss_bytes()?.saturating_sub(before);
    ensure!(grown < 96 * MIB, "memory grew by {} MiB", grown / MIB);
    for client in &mut slow[..2] {
        assert_eq!(client.stored("s").await?.len(), notes.len());
    }
    Ok(())
}
