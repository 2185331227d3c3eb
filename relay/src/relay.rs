//! The relay as a whole: opens the store, starts the threads, listens, and stops in good order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::access::{Access, Refresher};
use crate::config::{Config, Network};
use crate::connection::{Connection, Traffic};
use crate::connections::{Admitted, Connections};
use crate::control::Peer;
use crate::listener::Listeners;
use crate::live::Live;
use crate::market::{Audiences, Market, MarketKeys, PublicKeys};
use crate::metrics::{Metrics, TurnedAway};
use crate::negentropy::{self, Exchanges, Trees};
use crate::nostr::Verifier;
use crate::payments::{self, Desk};
use crate::peer::router::{self, Router};
use crate::peer::{Home, Stock};
use crate::policy::rate::Rates;
use crate::policy::{Policies, Readers};
use crate::query::{Finder, Library, QueryPool};
#[cfg(feature = "search")]
use crate::search::Search;
use crate::serving::Serving;
use crate::session::{Rules, Session};
use crate::store::{Follower, Store};
use crate::sweep::Sweeper;
use crate::tls::Tls;
use crate::websocket::deflate::Agreed;
use crate::writer::{self, MarketSeat, Upkeep, WriterHandle};
use crate::{door, websocket};

/// How long a stop waits for clients to take what is queued for them.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often reconciliations are looked through for clients that have gone quiet.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// What every connection has to do with.
pub struct Shared {
    /// As it was at the start.
    pub config: Config,
    /// As it is now; what may change while the relay runs is read here (`reload`).
    pub now: Arc<ArcSwap<Config>>,
    pub metrics: Metrics,
    pub connections: Arc<Connections>,
    pub tls: Option<Tls>,
    /// The keys that sign leases and job states, and assertions; `None` when the market is off.
    pub own: Option<PublicKeys>,
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
    pub serving: Serving,
    rules: ArcSwap<Rules>,
    draining: watch::Sender<bool>,
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
    accepting: JoinSet<()>,
    /// Works until it is dropped.
    _members: Option<Refresher>,
    finder: Option<Arc<dyn Finder>>,
    /// The links that the configuration asks for.
    router: Option<tokio::task::JoinHandle<()>>,
    /// Who asks others about payments.
    clerk: Option<AbortHandle>,
}

impl Relay {
    /// Starts on an open store. `policies` come after the relay's own rules.
    pub async fn start(config: Config, store: Arc<dyn Store>, policies: Policies) -> anyhow::Result<Self> {
        let listeners = Listeners::open(&config.relay)?;
        Self::start_on(listeners, config, store, policies).await
    }

    /// The same on sockets that are open already.
    pub async fn start_on(
        listeners: Listeners,
        config: Config,
        store: Arc<dyn Store>,
        policies: Policies,
    ) -> anyhow::Result<Self> {
        let address = listeners.address()?;
        let tls = Tls::load(&config.tls)?;
        let aside = door::open_aside(&config.metrics)?;
        let audiences = Arc::new(Audiences::default());
        let payments = if config.market.enabled { payments::open(&config.payments)? } else { None };
        let (desk, clerk) = payments.unzip();
        let (seat, own) = open_market(&config, &store, &audiences, desk)?;
        let live = Arc::new(Live::new(store.last_sequence()));
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let readers = Arc::new(Readers::new(audiences));
        let (max_limit, max_count) = (config.limits.max_limit, config.limits.max_count);
        let exchanges = open_negentropy(&config)?;
        let trees = exchanges.trees.clone();
        let mut followers: Vec<Arc<dyn Follower>> = vec![trees.clone()];
        let finder = open_search(&config, &store, &mut followers)?;
        let library =
            Library { store: store.clone(), readers: readers.clone(), max_limit, max_count, finder: finder.clone() };
        let queries = QueryPool::start(library, threads)?;
        let sweeper = Some(Sweeper::new(config.retention.clone()));
        let upkeep = Upkeep { max_pending: config.limits.max_pending_events, sweeper, followers };
        let market_meters = seat.as_ref().map(|seat| seat.meters().clone());
        let (writer, writer_thread) = writer::start(store.clone(), seat, readers.clone(), live.clone(), upkeep)?;
        let clerk = clerk.map(|clerk| tokio::spawn(clerk.run(writer.clone())).abort_handle());
        trees.build(store.clone())?;
        let access = Arc::new(Access::open(&config)?);
        let now = Arc::new(ArcSwap::from_pointee(config.clone()));
        let stock = Stock {
            store: store.clone(),
            readers,
            live: live.clone(),
            writer: writer.clone(),
            access: access.clone(),
            config: now.clone(),
        };
        let home = Arc::new(Home::open(stock)?);
        let router = open_router(&config, &home)?;
        let members = Refresher::start(&access, store.clone())?;
        let rules = rules(&config, &access, &store);
        policies.configure(&config.plugins);
        let shared = Arc::new(Shared {
            traffic: Traffic::default(),
            serving: Serving::start(config.relay.threads).context("starting the threads that serve connections")?,
            metrics: Metrics::new(writer.meters(), &queries.meters, market_meters.as_ref()),
            connections: Arc::default(),
            tls,
            rules: ArcSwap::from_pointee(rules),
            draining: watch::Sender::new(false),
            now,
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
        let accepting = door::open(listeners, aside, &shared);
        Ok(Self { address, shared, writer: writer_thread, accepting, router, clerk, finder, _members: members })
    }

    /// Takes no more clients, and waits until the last has left or `patience` is over. `stop` comes after it.
    pub async fn drain(&self, patience: Duration) {
        self.shared.draining.send_replace(true);
        let empty = async {
            while self.shared.clients() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Who stays is sent away by `stop`.
        let _ = tokio::time::timeout(patience, empty).await;
    }

    /// Takes no more connections, lets what was accepted reach the disk, and says good-bye.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.shared.draining.send_replace(true);
        self.accepting.shutdown().await;
        self.clerk.iter().for_each(AbortHandle::abort);
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
        let shared = self.shared.clone();
        // What they hold of the store is let go here, and not while the process ends.
        tokio::task::spawn_blocking(move || shared.serving.join()).await?;
        self.shared.queries.stop();
        self.shared.exchanges.trees.stop();
        self.shared.policies.stop().await;
        self.shared.writer.stop().await;
        let (writer, finder) = (self.writer, self.finder.take());
        let joined = tokio::task::spawn_blocking(move || {
            let joined = writer.join();
            finder.inspect(|finder| finder.stop());
            joined
        })
        .await?;
        joined.map_err(|_| anyhow::anyhow!("the writer did not end well"))
    }
}

/// What clients are held to under a configuration.
fn rules(config: &Config, access: &Arc<Access>, store: &Arc<dyn Store>) -> Rules {
    Rules {
        limits: config.limits.clone(),
        rates: Rates::new(&config.limits),
        access: access.clone(),
        auth: config.access.clone(),
        url: config.relay.url.clone(),
        searches: config.search.enabled,
        verifier: Verifier::default(),
        store: Some(store.clone()),
    }
}

fn open_market(
    config: &Config,
    store: &Arc<dyn Store>,
    audiences: &Arc<Audiences>,
    desk: Option<Arc<Desk>>,
) -> anyhow::Result<(Option<MarketSeat>, Option<PublicKeys>)> {
    if !config.market.enabled {
        return Ok((None, None));
    }
    let keys = MarketKeys::load_or_create(&config.store.path)?;
    let own = keys.all_public();
    let (market, store, audiences) = (config.market.clone(), store.clone(), audiences.clone());
    let consulted = desk.clone();
    let restore = move |now| {
        let journal = store.journal()?.into_iter();
        let restored = Market::restore(&market, keys.clone(), audiences.clone(), journal, now, store.clone())?;
        let (mut market, mut output) = restored;
        if let Some(desk) = &consulted {
            market.consult(desk.clone());
            output.inquiries = market.open_inquiries(now);
        }
        Ok((market, output))
    };
    Ok((Some(MarketSeat::new(Box::new(restore))?.asking(desk)), Some(own)))
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

/// The index for searches, which follows the writer and ends with it.
#[cfg(feature = "search")]
fn open_search(
    config: &Config,
    store: &Arc<dyn Store>,
    followers: &mut Vec<Arc<dyn Follower>>,
) -> anyhow::Result<Option<Arc<dyn Finder>>> {
    if !config.search.enabled {
        return Ok(None);
    }
    let search = Arc::new(Search::open(&config.search, &config.store.path.join("search"), store.clone())?);
    followers.push(search.clone());
    Ok(Some(search))
}

/// A program built without it has none; `config` refuses to be asked for it.
#[cfg(not(feature = "search"))]
fn open_search(
    _: &Config,
    _: &Arc<dyn Store>,
    _: &mut Vec<Arc<dyn Follower>>,
) -> anyhow::Result<Option<Arc<dyn Finder>>> {
    Ok(None)
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
            exchanges.sweep(crate::clock::steady_ms());
            drop(exchanges);
            tokio::time::sleep(SWEEP_PERIOD).await;
        }
    });
    Ok(exchanges)
}

impl Shared {
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
        self.connections.peers()
    }

    /// Reserves a place for one more client.
    pub fn admit(&self, address: SocketAddr) -> Result<Admitted, TurnedAway> {
        if self.is_draining() {
            return Err(TurnedAway::Draining);
        }
        let rules = self.rules.load();
        let admitted = self.connections.admit(address, &rules.limits, rules.rates.is_exempt(address.ip()))?;
        self.metrics.clients.opened();
        Ok(admitted)
    }

    /// What clients are held to, as it is now.
    pub fn rules(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Holds clients to this configuration from now on, those that are connected with their next message. Everybody's
    /// rates start afresh.
    pub fn set_rules(&self, config: &Config) {
        // The index is opened at the start only.
        let searches = self.config.search.enabled;
        self.rules.store(Arc::new(Rules { searches, ..rules(config, &self.access, &self.store) }));
    }

    /// Tells when no more clients are taken.
    pub fn when_draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Whether no more clients are taken.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// How long a client that has sent so many bytes is not read; `None`: not at all.
    pub fn pause_after(&self, ip: IpAddr, bytes: u32) -> Option<Duration> {
        self.rules.load().rates.pause_after(ip, bytes)
    }

    /// One client's whole conversation.
    pub async fn converse<S>(self: &Arc<Self>, stream: S, early: Vec<u8>, upgrade: Upgrade, admitted: Admitted)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Ok(challenge) = challenge() else { return };
        let address = admitted.address;
        let rules = self.rules.load_full();
        let (greets, max_outbound_bytes) = (rules.auth.greet, rules.limits.max_outbound_bytes);
        let session = Session::new(rules, address.ip(), upgrade.host, challenge.clone());
        let id = self.connections.next_id();
        let connection = Connection::new(id, address, max_outbound_bytes).compressing(upgrade.agreed.is_some());
        let connection = Arc::new(if greets { connection } else { connection.unchallenged(challenge) });
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
