//! The relay management API (NIP-86): JSON-RPC over HTTP, authorized by NIP-98.

mod call;
mod moderation;
pub mod nip98;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use self::nip98::Wanted;
use crate::relay::Shared;

const MEDIA_TYPE: &str = "application/nostr+json+rpc";
/// Of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What is asked.
#[derive(Debug, Deserialize)]
struct Call {
    method: String,
    #[serde(default)]
    params: Vec<Value>,
}

/// Whether a request is for this API.
pub fn is_call<B>(request: &Request<B>) -> bool {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    request.method() == Method::POST
        && media_type.is_some_and(|value| value.split(';').next().is_some_and(|name| name.trim() == MEDIA_TYPE))
}

/// Carries out one call and says what came of it.
pub async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await.map(|body| body.to_bytes()) else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE, &format!("a request may have {MAX_BODY_BYTES} bytes at most"));
    };
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if shared.tls.is_some() { "https" } else { "http" };
    let url = match shared.now.load().relay.url.as_str() {
        "" => format!("{scheme}://{host}{path}"),
        url => format!("{}{path}", url.strip_suffix('/').unwrap_or(url)),
    };
    let wanted = Wanted { url: &url, method: "POST", body: &body, now: crate::clock::now_s() };
    let signer = match nip98::authorize(text(header::AUTHORIZATION), wanted) {
        Ok(signer) => signer,
        Err(text) => return failure(StatusCode::UNAUTHORIZED, &text),
    };
    if !shared.access.is_admin(&signer) {
        return failure(StatusCode::FORBIDDEN, "this key may not manage the relay");
    }
    let Ok(Call { method, params }) = serde_json::from_slice(&body) else {
        return failure(StatusCode::BAD_REQUEST, "expected {\"method\": ..., \"params\": [...]}");
    };
    tracing::info!(%method, by = %signer, "a management call");
    match call::run(&method, &params, shared).await {
        Ok(result) => respond(StatusCode::OK, &json!({ "result": result })),
        Err(error) => failure(StatusCode::OK, &format!("{error:#}")),
    }
}

fn failure(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, &json!({ "result": null, "error": text }))
}

fn respond(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
