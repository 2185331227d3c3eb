//! TLS by the relay itself, with a certificate that may be renewed while it runs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::config::TlsConfig;

/// The certificate that new connections get.
pub struct Tls {
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

struct Current(ArcSwap<CertifiedKey>);

impl Tls {
    /// Reads the certificate; `None` when the configuration names none.
    pub fn load(config: &TlsConfig) -> anyhow::Result<Option<Self>> {
        if !config.is_on() {
            return Ok(None);
        }
        let current = Arc::new(Current(ArcSwap::from_pointee(read(config)?)));
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        // WebSocket is an upgrade of HTTP/1.1; HTTP/2 has another way, which few clients know.
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { current, acceptor: Arc::new(server).into() }))
    }

    /// Reads the certificate anew, for connections from now on. When it cannot be read, the old one stays.
    pub fn reload(&self, config: &TlsConfig) -> anyhow::Result<()> {
        self.current.0.store(Arc::new(read(config)?));
        Ok(())
    }

    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

fn read(config: &TlsConfig) -> anyhow::Result<CertifiedKey> {
    let naming = |path: &Path| format!("reading {}", path.display());
    let chain = CertificateDer::pem_file_iter(&config.cert).with_context(|| naming(&config.cert))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().with_context(|| naming(&config.cert))?;
    anyhow::ensure!(!chain.is_empty(), "{} holds no certificate", config.cert.display());
    let key = PrivateKeyDer::from_pem_file(&config.key).with_context(|| naming(&config.key))?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    // A renewal in two steps passes through a moment when they do not.
    certified.context("the certificate and its key do not go together")
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
