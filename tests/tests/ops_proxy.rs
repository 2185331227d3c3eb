//! Clients behind a proxy: each is held to the limits of its own address.

use anyhow::{Context, ensure};
use mercato_tests::Relay;
use mercato_tests::relay::Settings;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, http::HeaderValue};

/// One connection for each address, nobody exempt.
fn settings() -> Settings {
    Relay::settings().set("limits.exempt", "[]").set("limits.max_connections_per_ip", 1)
}

/// Connects with a header; the status of a refusal instead.
async fn connect(
    relay: &Relay,
    name: &'static str,
    value: &str,
) -> anyhow::Result<Result<WebSocketStream<TcpStream>, u16>> {
    let mut request = relay.url().into_client_request()?;
    request.headers_mut().insert(name, HeaderValue::from_str(value)?);
    let stream = TcpStream::connect(("127.0.0.1", relay.port())).await?;
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Ok(socket)),
        Err(Error::Http(answer)) => Ok(Err(answer.status().as_u16())),
        Err(error) => Err(error).context("connecting"),
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_is_judged_by_its_own_address() -> anyhow::Result<()> {
    for (header, name) in
        [("X-Forwarded-For", "x-forwarded-for"), ("X-Real-IP", "x-real-ip"), ("CF-Connecting-IP", "cf-connecting-ip")]
    {
        let proxied = settings().set("relay.trusted_proxies", "[\"127.0.0.0/8\"]");
        let relay = proxied.set("relay.real_ip_header", format!("\"{header}\"")).start()?;
        let first = connect(&relay, name, "192.0.2.1").await?;
        ensure!(first.is_ok(), "{header}: the first was refused: {:?}", first.err());
        let again = connect(&relay, name, "192.0.2.1").await?;
        ensure!(again.is_err_and(|status| status == 429), "{header}: a second connection from one address");
        let other = connect(&relay, name, "192.0.2.2").await?;
        ensure!(other.is_ok(), "{header}: another address was refused: {:?}", other.err());
    }
    Ok(())
}

#[tokio::test]
async fn a_client_cannot_choose_its_address() -> anyhow::Result<()> {
    // The proxy appends what it saw; what stands before it is the client's own.
    let relay = settings().set("relay.trusted_proxies", "[\"127.0.0.1\"]").start()?;
    let first = connect(&relay, "x-forwarded-for", "198.51.100.1, 192.0.2.1").await?;
    ensure!(first.is_ok(), "the first was refused: {:?}", first.err());
    let again = connect(&relay, "x-forwarded-for", "198.51.100.2, 192.0.2.1").await?;
    ensure!(again.is_err_and(|status| status == 429), "a made-up address was believed");
    // Without trust the header means nothing.
    let relay = settings().start()?;
    let first = connect(&relay, "x-forwarded-for", "192.0.2.1").await?;
    ensure!(first.is_ok(), "the first was refused: {:?}", first.err());
    let again = connect(&relay, "x-forwarded-for", "192.0.2.2").await?;
    ensure!(again.is_err_and(|status| status == 429), "a stranger's header was believed");
    Ok(())
}
