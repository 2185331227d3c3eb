//! One small document over HTTPS, from a server that a stranger named: bounded in time, size, redirects, and in where it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::reach::Reach;

/// For all of it: names, connections, redirects, the document.
const PATIENCE: Duration = Duration::from_secs(8);
/// The longest document that is read.
const BODY_MAX: usize = 64 * 1024;
/// The longest head of an answer.
const HEAD_MAX: usize = 16 * 1024;
const REDIRECTS_MAX: usize = 2;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 3;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{0} is no address of a web server")]
    Address(String),
    #[error("{0} leads to no address that this relay may speak with")]
    Forbidden(String),
    #[error("it took longer than {PATIENCE:?}")]
    Late,
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("too many redirects")]
    Redirects,
    #[error("the document is longer than {BODY_MAX} bytes, or broke off")]
    Body,
    #[error("connection: {0}")]
    Connection(#[from] std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

/// Whom to trust, and where to go.
#[derive(Debug, Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    reach: Reach,
}

/// Where a request goes.
struct Place {
    host: String,
    port: u16,
    is_encrypted: bool,
}

impl Fetcher {
    /// Trusts the web's usual authorities.
    ///
    /// # Errors
    /// When the library of TLS does not know its own protocol versions.
    pub fn new(reach: Reach) -> anyhow::Result<Self> {
        Self::trusting(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, reach)
    }

    /// Trusts these.
    ///
    /// # Errors
    /// As for `new`.
    pub fn trusting(roots: RootCertStore, reach: Reach) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let tls = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), reach })
    }

    /// The document at `uri`.
    ///
    /// # Errors
    /// When there is none within the bounds.
    pub async fn get(&self, uri: Uri) -> Result<Bytes, FetchError> {
        timeout(PATIENCE, self.follow(uri)).await.map_err(|_| FetchError::Late)?
    }

    async fn follow(&self, mut uri: Uri) -> Result<Bytes, FetchError> {
        for _ in 0..=REDIRECTS_MAX {
            match self.ask(&uri).await? {
                Answer::Document(document) => return Ok(document),
                Answer::Elsewhere(next) => uri = next,
            }
        }
        Err(FetchError::Redirects)
    }

    async fn ask(&self, uri: &Uri) -> Result<Answer, FetchError> {
        let place = Place::of(uri)?;
        let stream = self.connect(&place).await?;
        if !place.is_encrypted {
            return converse(stream, uri).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(|_| FetchError::Address(uri.to_string()))?;
        converse(TlsConnector::from(self.tls.clone()).connect(name, stream).await?, uri).await
    }

    /// Looks the name up once, and connects to what it found and nothing else.
    async fn connect(&self, place: &Place) -> Result<TcpStream, FetchError> {
        let found = lookup_host((place.host.as_str(), place.port)).await?;
        let allowed = found.filter(|address| self.reach.allows(address.ip(), place.is_encrypted));
        let allowed: Vec<SocketAddr> = allowed.take(ADDRESSES_MAX).collect();
        if allowed.is_empty() {
            return Err(FetchError::Forbidden(place.host.clone()));
        }
        Ok(TcpStream::connect(allowed.as_slice()).await?)
    }
}

enum Answer {
    Document(Bytes),
    Elsewhere(Uri),
}

impl Place {
    fn of(uri: &Uri) -> Result<Self, FetchError> {
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(FetchError::Address(uri.to_string())),
        };
        // An address of IPv6 stands in brackets, which are not part of it.
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(FetchError::Address(uri.to_string()));
        }
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        Ok(Self { host: host.to_owned(), port, is_encrypted })
    }
}

/// One question on a connection of its own.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, uri: &Uri) -> Result<Answer, FetchError> {
    let handshake = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake?;
    let question = async {
        let answer = sender.send_request(request(uri)?).await?;
        read(answer, uri).await
    };
    let (mut question, mut connection) = (std::pin::pin!(question), std::pin::pin!(connection));
    tokio::select! {
        biased;
        answer = &mut question => answer,
        // An answer that came whole before the connection ended still counts.
        ended = &mut connection => match ended {
            Ok(()) => question.await,
            Err(error) => Err(error.into()),
        },
    }
}

fn request(uri: &Uri) -> Result<Request<Empty<Bytes>>, FetchError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // Names and passwords before the host are nobody's business here.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let request = Request::get(path).header(HOST, host).header(USER_AGENT, "mercato");
    let request = request.header(ACCEPT, "application/json").header(CONNECTION, "close");
    request.body(Empty::new()).map_err(|_| FetchError::Address(uri.to_string()))
}

async fn read(answer: Response<Incoming>, uri: &Uri) -> Result<Answer, FetchError> {
    let status = answer.status();
    if status.is_redirection() {
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        return elsewhere(uri, location).map(Answer::Elsewhere);
    }
    if status != StatusCode::OK {
        return Err(FetchError::Status(status));
    }
    let body = Limited::new(answer.into_body(), BODY_MAX).collect().await.map_err(|_| FetchError::Body)?;
    Ok(Answer::Document(body.to_bytes()))
}

/// Where a redirect leads: an address of its own, or a path on the same server.
fn elsewhere(from: &Uri, location: &str) -> Result<Uri, FetchError> {
    let wrong = || FetchError::Address(location.to_owned());
    let to: Uri = location.parse().map_err(|_| wrong())?;
    if to.scheme().is_some() {
        // Who began encrypted does not go on in the clear.
        let is_downgrade = from.scheme_str() == Some("https") && to.scheme_str() != Some("https");
        return if is_downgrade { Err(wrong()) } else { Ok(to) };
    }
    if !location.starts_with('/') || location.starts_with("//") {
        return Err(wrong());
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = to.into_parts().path_and_query;
    Uri::from_parts(parts).map_err(|_| wrong())
}
