//! The relay as a whole: opens the store, starts the threads, listens, and stops in good order.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::access::{Access, Refresher};
use crate::config::{Config, Network};
use crate::connection::{Connection, Traffic};
use crate::control::Peer;
use crate::live::Live;
use crate::market::{Audiences, Market, MarketKeys};
use crate::negentropy::{self, Exchanges, Trees};
use crate::nostr::{Pubkey, Verifier};
use crate::outbox::Closing;
use crate::peer::router::{self, Router};
use crate::peer::{Home, Stock};
use crate::policy::rate::{self, Rates};
use crate::policy::{Policies, Readers};
use crate::query::{Library, QueryPool};
use crate::serving::Serving;
use crate::session::{Rules, Session};
use crate::store::Store;
use crate::sweep::Sweeper;
use crate::websocket::deflate::Agreed;
use crate::writer::{self, MarketSeat, Upkeep, WriterHandle};
use crate::{http, websocket};

/// How long a stop waits for clients to take what is queued for them.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often reconciliations are looked through for clients that have gone quiet.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// What every connection has to do with.
pub struct Shared {
    pub config: Config,
    /// The key that signs leases and job states; `None` when the market is off.
    pub own: Option<Pubkey>,
    pub store: Arc<dyn Store>,
    pub policies: Policies,
    pub live: Arc<Live>,
    pub queries: Arc<QueryPool>,
    pub writer: WriterHandle,
    pub access: Arc<Access>,
    /// Of all connections since the start.
    pub traffic: Traffic,
    /// Our side of every link to another relay.
    pub home: Arc<Home>,
    pub exchanges: Arc<Exchanges>,
    rules: Arc<Rules>,
    connections: Connections,
    serving: Serving,
}

/// What a client and the relay agreed upon when the connection became a WebSocket.
pub struct Upgrade {
    /// Host that the client asked for.
    pub host: String,
    /// Compression, if any.
    pub agreed: Option<Agreed>,
}

/// A running relay.
pub struct Relay {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    writer: JoinHandle<()>,
    accepting: tokio::task::JoinHandle<()>,
    /// Works until it is dropped.
    _members: Option<Refresher>,
    /// The links that the configuration asks for.
    router: Option<tokio::task::JoinHandle<()>>,
}

impl Relay {
    /// Starts on an open store. `policies` come after the relay's own rules.
    pub async fn start(config: Config, store: Arc<dyn Store>, policies: Policies) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((config.relay.bind, config.relay.port))
            .await
            .with_context(|| format!("listening on {}:{}", config.relay.bind, config.relay.port))?;
        let address = listener.local_addr()?;
        let audiences = Arc::new(Audiences::default());
        let (seat, own) = open_market(&config, &store, &audiences)?;
        let live = Arc::new(Live::new(store.last_sequence()));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let readers = Arc::new(Readers::new(audiences));
        let (max_limit, max_count) = (config.limits.max_limit, config.limits.max_count);
        let library = Library { store: store.clone(), readers: readers.clone(), max_limit, max_count };
        let queries = QueryPool::start(library, threads)?;
        let exchanges = open_negentropy(&config)?;
        let trees = exchanges.trees.clone();
        let sweeper = Some(Sweeper::new(config.retention.clone()));
        let upkeep = Upkeep { max_pending: config.limits.max_pending_events, sweeper, trees: trees.clone() };
        let (writer, writer_thread) = writer::start(store.clone(), seat, readers.clone(), live.clone(), upkeep)?;
        trees.build(store.clone())?;
        let access = Arc::new(Access::open(&config)?);
        let stock = Stock {
            store: store.clone(),
            readers,
            live: live.clone(),
            writer: writer.clone(),
            limits: config.limits.clone(),
            access: access.clone(),
        };
        let home = Arc::new(Home::open(stock, &config)?);
        let router = open_router(&config, &home)?;
        let members = Refresher::start(&access, store.clone())?;
        let rules = Rules {
            limits: config.limits.clone(),
            auth: config.access.clone(),
            rates: Rates::new(&config.limits),
            access: access.clone(),
            url: config.relay.url.clone(),
            verifier: Verifier::default(),
            store: Some(store.clone()),
        };
        policies.configure(&config.plugins);
        let shared = Arc::new(Shared {
            connections: Connections::default(),
            traffic: Traffic::default(),
            rules: Arc::new(rules),
            serving: Serving::start(config.relay.threads).context("starting the threads that serve connections")?,
            config,
            own,
            store,
            policies,
            live,
            queries,
            writer,
            access,
            home,
            exchanges,
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, writer: writer_thread, accepting, router, _members: members })
    }

    /// Takes no more connections, lets what was accepted reach the disk, and says good-bye.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.accepting.abort();
        if let Some(router) = self.router {
            router.abort();
            // Aborted, which is how it ends; by then its links have, too.
            let _ = router.await;
        }
        self.shared.connections.close_all();
        let farewell = async {
            while self.shared.connections.count() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Who does not take its leave in time is cut off.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        self.shared.serving.stop();
        self.shared.queries.stop();
        self.shared.exchanges.trees.stop();
        self.shared.policies.stop().await;
        self.shared.writer.stop().await;
        let writer = self.writer;
        let joined = tokio::task::spawn_blocking(move || writer.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the writer did not end well"))
    }
}

fn open_market(
    config: &Config,
    store: &Arc<dyn Store>,
    audiences: &Arc<Audiences>,
) -> anyhow::Result<(Option<MarketSeat>, Option<Pubkey>)> {
    if !config.market.enabled {
        return Ok((None, None));
    }
    let keys = MarketKeys::load_or_create(&config.store.path)?;
    let own = keys.public();
    let (market, store, audiences) = (config.market.clone(), store.clone(), audiences.clone());
    let restore = move || {
        let journal = store.journal()?.into_iter();
        let now = crate::clock::now_ms();
        Ok(Market::restore(&market, keys.clone(), audiences.clone(), journal, now, store.clone())?)
    };
    Ok((Some(MarketSeat::new(Box::new(restore))?), Some(own)))
}

/// Starts the links that the configuration asks for.
fn open_router(config: &Config, home: &Arc<Home>) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    if config.router.file.as_os_str().is_empty() {
        return Ok(None);
    }
    let file = router::read(&config.router.file)?;
    let (files, changes) = mpsc::channel(1);
    let watching = router::watch(config.router.file.clone(), file.clone(), files);
    let mut router = Router::new(home.clone(), home.marks.clone());
    Ok(Some(tokio::spawn(async move {
        router.apply(&file);
        tokio::join!(watching, router.run(changes));
    })))
}

/// What reconciliations share, and who ends those whose clients have gone quiet.
fn open_negentropy(config: &Config) -> anyhow::Result<Arc<Exchanges>> {
    let (own, limits) = (&config.negentropy, &config.limits);
    let filters = if own.enabled { negentropy::filters::all(config)? } else { Vec::new() };
    let trees = Arc::new(Trees::new(filters, own.max_tree_mib.saturating_mul(1 << 20)));
    let exchanges = Arc::new(Exchanges::new(own.clone(), limits.max_sync_events, limits.max_message_bytes, trees));
    let swept = Arc::downgrade(&exchanges);
    tokio::spawn(async move {
        while let Some(exchanges) = swept.upgrade() {
            exchanges.sweep(crate::clock::now_ms());
            drop(exchanges);
            tokio::time::sleep(SWEEP_PERIOD).await;
        }
    });
    Ok(exchanges)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are small and awaited: never hold one back to fill a packet.
                let _ = stream.set_nodelay(true);
                let served = {
                    let shared = shared.clone();
                    move |stream| http::serve(stream, address, shared)
                };
                if let Err(error) = shared.serving.spawn(stream, served) {
                    tracing::warn!(%error, %address, "a connection could not be handed over");
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Shared {
    /// How long a client may take to send a request's head.
    pub fn http_patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Clients connected now.
    pub fn clients(&self) -> usize {
        self.connections.count()
    }

    /// Ends the connections of clients from `network`.
    pub fn close_from(&self, network: Network) {
        self.connections.close_from(network);
    }

    /// Who is connected, in the order they came.
    pub fn peers(&self) -> Vec<Peer> {
        let present: Vec<_> = self.connections.lock().values().filter_map(Weak::upgrade).collect();
        let mut peers: Vec<_> = present.iter().map(|connection| connection.peer()).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    /// Reserves a place for one more client.
    pub fn admit(self: &Arc<Self>, address: SocketAddr) -> Result<Admitted, StatusCode> {
        let limits = &self.config.limits;
        let exempt = self.rules.rates.is_exempt(address.ip());
        let per_ip = if exempt { usize::MAX } else { limits.max_connections_per_ip };
        self.connections.admit(address, limits.max_connections, per_ip)?;
        Ok(Admitted { shared: self.clone(), address })
    }

    /// How long a client that has sent so many bytes is not read; `None`: not at all.
    pub fn pause_after(&self, ip: IpAddr, bytes: u32) -> Option<Duration> {
        self.rules.rates.pause_after(ip, bytes)
    }

    /// One client's whole conversation.
    pub async fn converse<S>(self: &Arc<Self>, stream: S, early: Vec<u8>, upgrade: Upgrade, admitted: Admitted)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Ok(challenge) = challenge() else { return };
        let address = admitted.address;
        let session = Session::new(self.rules.clone(), address.ip(), upgrade.host, challenge);
        let id = self.connections.next_id();
        let connection = Connection::new(id, address, self.config.limits.max_outbound_bytes);
        let connection = Arc::new(connection.compressing(upgrade.agreed.is_some()));
        self.connections.enter(&connection);
        websocket::serve(stream, early, upgrade.agreed, session, connection, self.clone()).await;
        self.connections.leave(id);
    }
}

fn challenge() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(const_hex::encode(random))
}

/// A place among the clients, given back when dropped.
pub struct Admitted {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.connections.release(self.address);
    }
}

/// Who is connected.
#[derive(Default)]
struct Connections {
    total: AtomicUsize,
    last_id: AtomicU64,
    by_client: Mutex<HashMap<IpAddr, usize>>,
    present: Mutex<HashMap<u64, Weak<Connection>>>,
}

impl Connections {
    fn admit(&self, address: SocketAddr, max: usize, max_per_ip: usize) -> Result<(), StatusCode> {
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if self.total.load(Ordering::Relaxed) >= max {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let mine = by_client.entry(rate::client(address.ip())).or_default();
        if *mine >= max_per_ip {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        *mine += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, address: SocketAddr) {
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let client = rate::client(address.ip());
        if let Some(mine) = by_client.get_mut(&client) {
            *mine -= 1;
            if *mine == 0 {
                by_client.remove(&client);
            }
        }
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    fn enter(&self, connection: &Arc<Connection>) {
        self.lock().insert(connection.id, Arc::downgrade(connection));
    }

    fn leave(&self, id: u64) {
        self.lock().remove(&id);
    }

    fn count(&self) -> usize {
        self.lock().len()
    }

    fn close_from(&self, network: Network) {
        for connection in self.lock().values().filter_map(Weak::upgrade) {
            if network.contains(connection.address.ip()) {
                connection.outbox.close(Closing::Blocked);
            }
        }
    }

    fn close_all(&self) {
        for connection in self.lock().values().filter_map(Weak::upgrade) {
            connection.outbox.close(Closing::Shutdown);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Weak<Connection>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
