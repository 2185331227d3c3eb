//! Bounds on who never gets to speak, and on how much one address may send.

use anyhow::{Context, ensure};
use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::http::document;
use mercato_tests::{Draft, Keys, Relay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn ends(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("the connection stays open")?;
    Ok(())
}

#[tokio::test]
async fn who_does_not_finish_its_handshake_is_closed() -> anyhow::Result<()> {
    let relay = Relay::settings().set("limits.handshake_timeout_s", 1).start()?;
    let mut silent = TcpStream::connect(("127.0.0.1", relay.port())).await?;
    ends(&mut silent).await?;
    let mut slow = TcpStream::connect(("127.0.0.1", relay.port())).await?;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await?;
    ends(&mut slow).await?;
    let mut idle = TcpStream::connect(("127.0.0.1", relay.port())).await?;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    ends(&mut idle).await
}

#[tokio::test]
async fn who_finds_no_room_for_its_handshake_waits_and_is_served() -> anyhow::Result<()> {
    let bounded = Relay::settings().set("limits.max_pending_handshakes", 2);
    let relay = bounded.set("limits.handshake_timeout_s", 2).start()?;
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(TcpStream::connect(("127.0.0.1", relay.port())).await?);
    }
    ensure!(document(&relay).await?["name"].is_string(), "not served");
    Ok(())
}

#[tokio::test]
async fn a_websocket_holds_no_place_for_handshakes() -> anyhow::Result<()> {
    let relay = Relay::settings().set("limits.max_pending_handshakes", 1).start()?;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(&relay).await?);
    }
    clients[0].store(&Draft::note("all are served").sign(&Keys::generate())).await
}
