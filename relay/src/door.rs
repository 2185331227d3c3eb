//! The way in: from a socket's queue to HTTP, with bounds on those who never get that far.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::MetricsConfig;
use crate::connections::Arrived;
use crate::http;
use crate::http::proxy;
use crate::listener::{self, Listeners};
use crate::metrics::TurnedAway;
use crate::relay::Shared;

/// Connections at once to the port of metrics; more wait in the system's queue.
const ASIDE: usize = 64;

/// Handshakes of one address beyond the connections that it may have, so that it is told when those are too many.
const SPARE: usize = 16;

/// What a connection holds until it is a WebSocket or gone.
struct Handshake {
    _place: OwnedSemaphorePermit,
    _arrived: Option<Arrived>,
}

/// Opens the port of metrics, when there is one.
pub fn open_aside(config: &MetricsConfig) -> anyhow::Result<Option<TcpListener>> {
    if !config.enabled || config.port == 0 {
        return Ok(None);
    }
    let address = SocketAddr::new(config.bind, config.port);
    let socket = listener::bind(address, false).with_context(|| format!("listening on {address} for metrics"))?;
    Ok(Some(socket))
}

/// Takes connections until the relay drains; then those that came before, and no more.
pub fn open(listeners: Listeners, aside: Option<TcpListener>, shared: &Arc<Shared>) -> JoinSet<()> {
    let places = Arc::new(Semaphore::new(shared.config.limits.max_pending_handshakes));
    let mut accepting = JoinSet::new();
    for socket in listeners.sockets {
        accepting.spawn(accept(socket, listeners.inherited, places.clone(), shared.clone()));
    }
    if let Some(socket) = aside {
        accepting.spawn(accept_aside(socket, shared.clone()));
    }
    accepting
}

async fn accept(socket: TcpListener, inherited: bool, places: Arc<Semaphore>, shared: Arc<Shared>) {
    let mut draining = shared.when_draining();
    while let Some((stream, address, place)) = next(&socket, &places, &mut draining).await {
        greet(stream, address, place, &shared);
    }
    if inherited {
        // Who waits in its queue is served by the next process.
        return;
    }
    // Its queue goes with the socket: serve who is in it, though only to be told to come back.
    while let Ok(Ok((stream, address))) = timeout(Duration::ZERO, socket.accept()).await
        && let Ok(place) = places.clone().try_acquire_owned()
    {
        greet(stream, address, place, &shared);
    }
}

/// The next connection, once there is room for its handshake; `None` when no more are taken.
async fn next(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
    draining: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((socket.accept().await, place))
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted?,
            _ = draining.wait_for(|draining| *draining) => return None,
        };
        match accepted {
            Ok((stream, address)) => return Some((stream, address, place)),
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn greet(stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit, shared: &Arc<Shared>) {
    let rules = shared.rules();
    // All of a proxy's clients come from one address; what they are held to is known after the handshake.
    let known = rules.rates.is_exempt(address.ip())
        || proxy::is_trusted(&shared.now.load().relay.trusted_proxies, address.ip());
    let arrived = match known {
        true => None,
        false => match shared.connections.arrive(address.ip(), rules.limits.max_connections_per_ip + SPARE) {
            Some(arrived) => Some(arrived),
            // Too many from there are in their handshake already: closed without a word.
            None => return shared.metrics.clients.turned_away(TurnedAway::Handshake),
        },
    };
    let handshake = Handshake { _place: place, _arrived: arrived };
    // Answers are small and awaited: never hold one back to fill a packet.
    let _ = stream.set_nodelay(true);
    let served = {
        let shared = shared.clone();
        move |stream| serve(stream, address, handshake, shared)
    };
    if let Err(error) = shared.serving.spawn(stream, served) {
        tracing::warn!(%error, "a connection could not be handed over");
    }
}

/// Serves one connection up to its end or its upgrade.
async fn serve(stream: TcpStream, address: SocketAddr, handshake: Handshake, shared: Arc<Shared>) {
    let Some(tls) = &shared.tls else { return http::serve(stream, address, handshake, shared).await };
    let patience = Duration::from_secs(shared.rules().limits.handshake_timeout_s);
    match timeout(patience, tls.acceptor().accept(stream)).await {
        // Larger than what it wraps, and there may be thousands: on the heap, not in this future.
        Ok(Ok(stream)) => http::serve(Box::new(stream), address, handshake, shared.clone()).await,
        Ok(Err(error)) => {
            shared.metrics.clients.turned_away(TurnedAway::Handshake);
            tracing::debug!(%error, %address, "a TLS handshake failed");
        }
        Err(_) => shared.metrics.clients.turned_away(TurnedAway::Handshake),
    }
}

async fn accept_aside(socket: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(ASIDE));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, address)) => {
                tokio::spawn(http::serve_aside(stream, address, place, shared.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
