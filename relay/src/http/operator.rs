//! What only the operator and his tools ask for: metrics, and whether the relay lives and is ready.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::{Answer, proxy, text};
use crate::metrics::CONTENT_TYPE;
use crate::relay::Shared;

/// Answers on the relay's own port; `None` when the path is not the operator's.
pub async fn answer<B>(request: &Request<B>, client: SocketAddr, shared: &Arc<Shared>) -> Option<Answer> {
    match request.uri().path() {
        "/metrics" if may_read(request.headers(), client, shared) => Some(metrics(shared).await),
        "/health" => Some(text(StatusCode::OK, "alive\n")),
        "/ready" => Some(ready(shared)),
        _ => None,
    }
}

/// Answers on the port of metrics: who may come there is decided by where it listens.
pub async fn answer_aside<B>(request: &Request<B>, shared: &Arc<Shared>) -> Answer {
    match request.uri().path() {
        "/metrics" => metrics(shared).await,
        "/health" => text(StatusCode::OK, "alive\n"),
        "/ready" => ready(shared),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

fn may_read(headers: &HeaderMap, client: SocketAddr, shared: &Shared) -> bool {
    let now = shared.now.load();
    let allowed = || now.metrics.allow.iter().any(|network| network.contains(client.ip()));
    // Behind a proxy that is not trusted everybody has the proxy's address, which is often allowed.
    let hidden = proxy::is_forwarded(headers) && now.relay.trusted_proxies.is_empty();
    shared.config.metrics.enabled && shared.config.metrics.port == 0 && !hidden && allowed()
}

/// Reads files and asks the store, so not on a thread that serves clients.
async fn metrics(shared: &Arc<Shared>) -> Answer {
    let read = {
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || shared.metrics.write(&shared))
    };
    match read.await {
        Ok(Ok(written)) => {
            let mut answer = Response::new(written.into());
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
            answer
        }
        _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be read\n"),
    }
}

fn ready(shared: &Shared) -> Answer {
    match shared.ready() {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
