//! TLS by the relay itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use mercato_tests::Relay;
use mercato_tests::client::PATIENCE;
use mercato_tests::http::ask;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;

/// A self-signed certificate for localhost, made for these tests.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tls").join(name)
}

/// A folder with the certificate `name`, as an operator would have it.
fn install(folder: &Path, name: &str) -> anyhow::Result<()> {
    for (end, to) in [("key", "key.pem"), ("crt", "cert.pem")] {
        std::fs::copy(data(&format!("{name}.{end}")), folder.join(to))?;
    }
    Ok(())
}

fn start(folder: &Path) -> anyhow::Result<Relay> {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    Relay::settings().set("tls.cert", cert.display()).set("tls.key", key.display()).start()
}

/// Connects, trusting the certificate `name` only.
async fn connect(relay: &Relay, name: &str) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data(&format!("{name}.crt")))?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", relay.port())).await?;
    let connecting = TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, stream);
    timeout(PATIENCE, connecting).await.context("no TLS")?.context("connecting")
}

#[tokio::test]
async fn websockets_run_over_tls_and_nothing_else_does() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    install(folder.path(), "old")?;
    let relay = start(folder.path())?;
    let stream = connect(&relay, "old").await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/", stream).await?;
    socket.send(Message::text(r#"["REQ","x",{"kinds":[1]}]"#)).await?;
    let mut said = Vec::new();
    while !said.iter().any(|text: &String| text.starts_with("[\"EOSE\"")) {
        let message = timeout(PATIENCE, socket.next()).await?.context("closed")??;
        said.push(message.into_text()?.to_string());
    }
    ensure!(ask(&relay, "GET", "/health", &[]).await.is_err(), "plain HTTP is answered on the port of TLS");
    Ok(())
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_without_a_restart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    install(folder.path(), "old")?;
    let relay = start(folder.path())?;
    connect(&relay, "old").await?;
    ensure!(connect(&relay, "new").await.is_err(), "the client trusts anything");
    // Half a renewal, then no certificate at all: the old one stays.
    std::fs::copy(data("new.crt"), folder.path().join("cert.pem"))?;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    connect(&relay, "old").await?;
    install(folder.path(), "new")?;
    let renewed = Instant::now();
    while connect(&relay, "new").await.is_err() {
        ensure!(renewed.elapsed() < PATIENCE, "the new certificate is not taken");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}
