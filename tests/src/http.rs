//! Plain HTTP, by hand: one request, one answer, the connection closed behind it.

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::relay::Relay;

/// An answer in text: status line, then header lines, then the body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value, names compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Sends `METHOD path` with more header lines.
pub async fn ask(relay: &Relay, method: &str, path: &str, headers: &[&str]) -> anyhow::Result<Answer> {
    ask_with(relay, method, path, headers, "").await
}

/// The same with a body, whose length the headers must name.
pub async fn ask_with(relay: &Relay, method: &str, path: &str, headers: &[&str], body: &str) -> anyhow::Result<Answer> {
    talk(relay.port(), method, path, headers, body).await
}

/// The same without a body, of whatever listens on this port.
pub async fn ask_port(port: u16, method: &str, path: &str, headers: &[&str]) -> anyhow::Result<Answer> {
    talk(port, method, path, headers, "").await
}

async fn talk(port: u16, method: &str, path: &str, headers: &[&str], body: &str) -> anyhow::Result<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(PATIENCE, talk).await.context("no HTTP answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without an end of its head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP status")?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The relay's description of itself (NIP-11).
pub async fn document(relay: &Relay) -> anyhow::Result<Value> {
    let answer = ask(relay, "GET", "/", &["Accept: application/nostr+json"]).await?;
    serde_json::from_str(&answer.body).with_context(|| format!("not a NIP-11 document: {}", answer.body))
}

/// The key that signs leases.
pub async fn relay_key(relay: &Relay) -> anyhow::Result<String> {
    let document = document(relay).await?;
    document["self"].as_str().map(str::to_owned).context("NIP-11 without self")
}
