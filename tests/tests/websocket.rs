//! RFC 6455 and RFC 7692 as a client may use or misuse them: what the Autobahn suite asks of a server, over this relay's
//! own messages, for it echoes nothing.

use anyhow::ensure;
use mercato_tests::frames::{Frames, masked};
use mercato_tests::relay::Shared;

static RELAY: Shared = Shared::new();

const REQ: &[u8] = b"[\"REQ\",\"s\",{\"ids\":[]}]";
/// What an EOSE begins with; a hint may follow (NIP-67).
const EOSE: &str = "[\"EOSE\",\"s\"";

async fn connect() -> anyhow::Result<Frames> {
    Frames::connect(&*RELAY.get()?, "").await
}

/// Fails unless the connection still serves.
async fn check_serves(client: &mut Frames) -> anyhow::Result<()> {
    client.send(0x81, REQ).await?;
    ensure!(client.next().await?.text()?.starts_with(EOSE));
    Ok(())
}

#[tokio::test]
async fn every_ping_is_answered_in_order_with_its_own_payload() -> anyhow::Result<()> {
    let _relay = RELAY.get()?;
    let mut client = connect().await?;
    let payloads: Vec<Vec<u8>> = (0..10).map(|number| vec![number; usize::from(number) * 13]).collect();
    let burst: Vec<u8> = payloads.iter().flat_map(|payload| masked(0x89, payload)).collect();
    client.send_bytes(&burst).await?;
    for payload in payloads {
        let pong = client.next().await?;
        ensure!(pong.first == 0x8a && pong.payload == payload, "{pong:?} for {payload:?}");
    }
    // A pong that nobody asked for is fine.
    client.send(0x8a, b"unasked").await?;
    check_serves(&mut client).await
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_control_frames_between_and_byte_by_byte() -> anyhow::Result<()> {
    let _relay = RELAY.get()?;
    let mut client = connect().await?;
    let (first, rest) = REQ.split_at(5);
    let (second, third) = rest.split_at(7);
    client.send(0x01, first).await?;
    client.send(0x89, b"one").await?;
    client.send(0x00, second).await?;
    client.send(0x00, b"").await?;
    client.send(0x89, b"two").await?;
    client.send(0x80, third).await?;
    ensure!(client.next().await?.payload == b"one");
    ensure!(client.next().await?.payload == b"two");
    ensure!(client.next().await?.text()?.starts_with(EOSE));
    for byte in masked(0x81, REQ) {
        client.send_bytes(&[byte]).await?;
    }
    ensure!(client.next().await?.text()?.starts_with(EOSE));
    // Many in one packet.
    client.send_bytes(&masked(0x81, b"[]").repeat(500)).await?;
    for _ in 0..500 {
        ensure!(client.next().await?.text()?.starts_with("[\"NOTICE\","));
    }
    check_serves(&mut client).await
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() -> anyhow::Result<()> {
    let _relay = RELAY.get()?;
    let close = |code: u16, reason: &[u8]| [&code.to_be_bytes(), reason].concat();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut client = connect().await?;
        client.send(0x88, &close(code, "gehört".as_bytes())).await?;
        ensure!(client.next().await?.close_code()? == Some(code), "{code}");
        client.expect_end().await?;
    }
    let mut client = connect().await?;
    client.send(0x88, b"").await?;
    ensure!(client.next().await?.close_code()?.is_none());
    client.expect_end().await
}

#[tokio::test]
async fn what_breaks_the_protocol_is_answered_by_the_code_for_it() -> anyhow::Result<()> {
    let _relay = RELAY.get()?;
    let close = |code: u16| masked(0x88, &code.to_be_bytes());
    let mut cases = vec![
        ("half a code", masked(0x88, &[3]), 1002),
        ("a reason that is not UTF-8", masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
        ("a long ping", masked(0x89, &[0; 126]), 1002),
        ("a ping in fragments", masked(0x09, b"x"), 1002),
        ("RSV1 without compression", masked(0xc1, REQ), 1002),
        ("RSV2", masked(0xa1, REQ), 1002),
        ("RSV3", masked(0x91, REQ), 1002),
        ("RSV1 of a ping", masked(0xc9, b""), 1002),
        ("a continuation of nothing", masked(0x80, REQ), 1002),
        ("a message inside another", [masked(0x01, b"["), masked(0x81, b"]")].concat(), 1002),
        ("no mask", vec![0x81, 0x02, b'[', b']'], 1002),
        ("16 bits for a short length", [vec![0x81, 0xfe, 0, 2], vec![0; 6]].concat(), 1002),
        ("64 bits for a short length", [vec![0x81, 0xff], vec![0; 14]].concat(), 1002),
    ];
    cases.extend([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| ("an opcode", masked(0x80 | opcode, b""), 1002)));
    cases.extend(
        [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000].map(|code| ("a code", close(code), 1002)),
    );
    for (what, bytes, code) in cases {
        let mut client = connect().await?;
        client.send_bytes(&bytes).await?;
        let mut frame = client.next().await?;
        if frame.text().is_ok_and(|text| text.starts_with("[\"NOTICE\",")) {
            frame = client.next().await?;
        }
        ensure!(frame.close_code()? == Some(code), "{what}: {frame:?} for {bytes:?}");
        client.expect_end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_connection_at_its_first_bad_fragment() -> anyhow::Result<()> {
    let _relay = RELAY.get()?;
    let mut client = connect().await?;
    client.send(0x01, b"[\"CLOSE\",\"\xce").await?;
    client.send(0x00, b"\xba\xe1\xbd").await?;
    client.send(0x00, b"\xff").await?;
    ensure!(client.next().await?.text()?.starts_with("[\"NOTICE\",\"invalid: "));
    ensure!(client.next().await?.close_code()? == Some(1007));
    client.expect_end().await
}

#[tokio::test]
async fn who_sends_too_much_still_hears_why() -> anyhow::Result<()> {
    let _relay = RELAY.get()?;
    let mut client = connect().await?;
    // Everything is sent before anything is read, as simple clients do.
    client.send(0x81, &vec![b'x'; 3_000_000]).await?;
    ensure!(client.next().await?.text()?.starts_with("[\"NOTICE\",\"invalid: "));
    ensure!(client.next().await?.close_code()? == Some(1009));
    client.expect_end().await
}

#[tokio::test]
async fn compression_is_agreed_upon_only_when_it_is_offered_well() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let offers = [
        ("", false),
        ("permessage-deflate", true),
        ("permessage-deflate; client_max_window_bits", true),
        ("permessage-deflate; server_max_window_bits=99", false),
        ("permessage-deflate; server_max_window_bits=99, permessage-deflate", true),
    ];
    for (offer, taken) in offers {
        let mut client = Frames::connect(&relay, offer).await?;
        ensure!(client.extensions.is_some() == taken, "{offer}: {:?}", client.extensions);
        check_serves(&mut client).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_may_turn_compression_off() -> anyhow::Result<()> {
    let relay = mercato_tests::Relay::settings().set("relay.compression", false).start()?;
    let mut client = Frames::connect(&relay, "permessage-deflate").await?;
    ensure!(client.extensions.is_none());
    check_serves(&mut client).await
}
