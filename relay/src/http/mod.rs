//! One port: WebSocket upgrades, the information document, what operators ask, and a word for browsers.

mod operator;
pub mod proxy;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::metrics::TurnedAway;
use crate::relay::{Shared, Upgrade};
use crate::websocket::deflate::Agreed;
use crate::{admin, info};

type Answer = Response<Full<Bytes>>;

/// Serves one TCP connection: any number of plain requests, or one upgrade.
///
/// `handshake` is kept until then.
pub async fn serve<S, T>(stream: S, address: SocketAddr, handshake: T, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let shared = shared.clone();
        service_fn(move |request| {
            let shared = shared.clone();
            async move {
                Ok::<_, Infallible>(match admin::is_call(&request) {
                    true => with_cors(admin::answer(request, &shared).await),
                    false => answer::<S>(request, address, &shared).await,
                })
            }
        })
    };
    let served = builder(&shared).serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    drop(handshake);
    if let Err(error) = served {
        tracing::debug!(%error, %address, "a connection ended badly");
    }
}

/// The same on the port of metrics.
pub async fn serve_aside<T>(stream: TcpStream, address: SocketAddr, place: T, shared: Arc<Shared>) {
    let service = {
        let shared = shared.clone();
        service_fn(move |request: Request<Incoming>| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(operator::answer_aside(&request, &shared).await) }
        })
    };
    let served = builder(&shared).serve_connection(TokioIo::new(stream), service).await;
    drop(place);
    if let Err(error) = served {
        tracing::debug!(%error, %address, "a connection for metrics ended badly");
    }
}

fn builder(shared: &Shared) -> http1::Builder {
    let patience = Duration::from_secs(shared.rules().limits.handshake_timeout_s);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(16 * 1024);
    builder
}

async fn answer<S>(request: Request<Incoming>, peer: SocketAddr, shared: &Arc<Shared>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = proxy::client(peer, request.headers(), &shared.now.load().relay);
    if request.method() == Method::OPTIONS {
        return with_cors(text(StatusCode::NO_CONTENT, ""));
    }
    if is_upgrade(request.headers()) {
        return upgrade::<S>(request, address, shared);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
    }
    let wants_document = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/nostr+json"));
    if !wants_document && let Some(answer) = operator::answer(&request, address, shared).await {
        return answer;
    }
    match (request.uri().path(), wants_document) {
        (_, true) => with_cors(document(shared)),
        ("/", false) => text(StatusCode::OK, "This is a Nostr relay. Use a Nostr client to connect.\n"),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

fn document(shared: &Shared) -> Answer {
    let body = info::document(&shared.now.load(), &shared.access.lists(), shared.own).to_string();
    let mut answer = Response::new(Full::from(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/nostr+json"));
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// NIP-11 wants the document readable from any page.
fn with_cors(mut answer: Answer) -> Answer {
    for name in ["access-control-allow-origin", "access-control-allow-headers", "access-control-allow-methods"] {
        answer.headers_mut().insert(name, HeaderValue::from_static("*"));
    }
    answer
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let says = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    says(header::CONNECTION, "upgrade") && says(header::UPGRADE, "websocket")
}

fn refusal(why: TurnedAway) -> Answer {
    match why {
        TurnedAway::PerAddress => text(StatusCode::TOO_MANY_REQUESTS, "too many connections from your address\n"),
        TurnedAway::Full => text(StatusCode::SERVICE_UNAVAILABLE, "too many connections, try again later\n"),
        TurnedAway::Draining | TurnedAway::Handshake => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the relay is about to stop, come back in a moment\n")
        }
    }
}

/// RFC 6455's handshake; the conversation goes on in a task of its own.
fn upgrade<S>(mut request: Request<Incoming>, address: SocketAddr, shared: &Arc<Shared>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let headers = request.headers();
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| version == Some(b"13")) else {
        let mut answer = text(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here\n");
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return answer;
    };
    let accept = derive_accept_key(key.as_bytes());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("").to_owned();
    let admitted = match shared.admit(address) {
        Ok(admitted) => admitted,
        Err(why) => {
            shared.metrics.clients.turned_away(why);
            return refusal(why);
        }
    };
    if shared.access.blocks(address.ip()) {
        return text(StatusCode::FORBIDDEN, "your address is blocked here\n");
    }
    let extensions = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    let agreed = shared.config.relay.compression.then(|| Agreed::to_offers(extensions)).flatten();
    let shared = shared.clone();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let upgrade = Upgrade { host, agreed };
        // hyper's wrapper is left behind: an idle connection then costs its socket and its session.
        let Ok(parts) = upgraded.downcast::<TokioIo<S>>() else { return };
        let (stream, early) = (parts.io.into_inner(), parts.read_buf.to_vec());
        // A view of hyper's whole buffer: kept, it would cost more than all else of an idle connection.
        drop(parts.read_buf);
        shared.converse(stream, early, upgrade, admitted).await;
    });
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(extensions) = agreed.and_then(|agreed| HeaderValue::from_str(&agreed.answer()).ok()) {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extensions);
    }
    answer
}
