//! `mercato sync`: finds out by NIP-77 what this store and another relay lack of each other, and hands it over.
//!
//! Round by round: a message brings some differences to light, their events go down and up, and only then is the next
//! message asked for. So memory holds one round's differences, whatever there is to hand over.

mod descent;
mod tally;
mod transfer;

use std::time::Duration;

use anyhow::ensure;
use tokio::sync::broadcast::error::RecvError;

use self::descent::Descent;
use self::transfer::Transfer;
use super::output::Output;
use super::range::Range;
use super::writing::Writing;
use super::{storage, stream};
use crate::clock::now_s;
use crate::config::Config;
use crate::negentropy::reconcile::MIN_FRAME_BYTES;
use crate::negentropy::{self, Span};
use crate::nostr::Filter;
use crate::peer::LinkKey;
use crate::peer::comparison::Comparison;
use crate::peer::socket::{self, Peer, Terms};
use crate::policy::Policies;
use crate::store::Scan;
use crate::store::rocks::RocksStore;

/// The subscription that all NEG messages are about.
const SUBSCRIPTION: &str = "N";
/// Longest message that is taken: more than strfry's of negentropy, which have a million digits, for the sake of others.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How long connecting may take when nothing else is said.
const CONNECTING: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct SyncArgs {
    /// The other relay, as wss://relay.example.com.
    #[arg(value_parser = stream::relay_url)]
    url: String,
    /// Which way events go.
    #[arg(long, value_enum)]
    dir: Option<Direction>,
    /// What is compared, as in a REQ. Private events count too where it asks for them: the store is the operator's.
    #[arg(long, default_value = "{}", value_parser = super::parse_filter)]
    filter: Filter,
    /// From how long ago to how long ago: `2h-`, `1Y-6M`, `-1d`; units s m h d w M Y.
    #[arg(long, allow_hyphen_values = true)]
    range: Option<Range>,
    /// Only print what differs: `have,ID` for ours and `need,ID` for theirs.
    #[arg(long)]
    print_missing: bool,
    /// Bytes of one of our negentropy messages, twice that in hex; 0: no limit.
    #[arg(long, value_name = "BYTES", default_value_t = 60_000)]
    frame_size_limit: usize,
    /// Seconds that the other relay may say nothing; 0: for ever.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Direction {
    Both,
    Down,
    Up,
    None,
}

pub fn run(config: &Config, args: SyncArgs) -> anyhow::Result<()> {
    let dir = args.dir.unwrap_or(if args.print_missing { Direction::None } else { Direction::Both });
    ensure!(!args.print_missing || dir == Direction::None, "--print-missing hands nothing over: leave out --dir");
    ensure!(
        args.frame_size_limit == 0 || args.frame_size_limit >= MIN_FRAME_BYTES,
        "--frame-size-limit must be 0, or {MIN_FRAME_BYTES} or more"
    );
    let mut filter = args.filter;
    if let Some(range) = args.range {
        range.restrict(&mut filter, now_s())?;
    }
    let patience = (args.timeout > 0).then(|| Duration::from_secs(args.timeout));
    let usual = Terms::new(LinkKey::configured(&config.router)?, patience.unwrap_or(CONNECTING));
    // Answers have the patience that was asked for; a connection lives while pings are answered, as we may be busy, too.
    let silence = patience.and(usual.silence).max(patience);
    let terms = Terms { silence, max_message_bytes: MAX_MESSAGE_BYTES, ..usual };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = open(config)?;
    let span = gather(store.as_ref(), &filter)?;
    eprintln!("{} events here match", span.len());
    let (peer, driver) = runtime.block_on(socket::connect(&args.url, terms))?;
    let writing =
        matches!(dir, Direction::Both | Direction::Down).then(|| Writing::open_for_import(config)).transpose()?;
    let policies = Policies::default();
    let down = writing.map(|writing| Descent::new(writing, &policies, &filter, &args.url));
    let up = store.as_ref().filter(|_| matches!(dir, Direction::Both | Direction::Up));
    let frame_bytes = if args.frame_size_limit == 0 { usize::MAX } else { args.frame_size_limit };
    let mut output = Output::new();
    let printed = args.print_missing.then_some(&mut output);
    let mut transfer = Transfer::new(&peer, patience, down, up);
    let reconciled = runtime.block_on(async {
        policies.configure(&config.plugins);
        let work = async {
            peer.authenticated().await?;
            let comparison = Comparison::new(&peer, SUBSCRIPTION, &filter, (span, frame_bytes), patience);
            tokio::select! {
                reconciled = reconcile(comparison, &mut transfer, printed) => reconciled,
                never = pass_on_notices(&peer) => never,
            }
        };
        let reconciled = driver.run_for(work).await;
        policies.stop().await;
        reconciled
    });
    // What came down until then stays, however it ended.
    let tally = transfer.finish()?;
    if let Err(error) = reconciled {
        eprintln!("{tally}");
        return Err(error);
    }
    if args.print_missing {
        eprintln!("{tally}");
    } else {
        output.line(tally.to_string())?;
    }
    output.flush()
}

/// `None` where there is no store yet: everything may still come down.
fn open(config: &Config) -> anyhow::Result<Option<RocksStore>> {
    match storage::database(config).join("CURRENT").exists() {
        true => storage::open_to_read(config).map(Some),
        false => Ok(None),
    }
}

/// All of our own events that match and have not expired.
fn gather(store: Option<&RocksStore>, filter: &Filter) -> anyhow::Result<Span> {
    let Some(store) = store else { return Ok(Span::default()) };
    let scan = Scan { now: now_s(), ..Scan::new(filter.clone()) };
    let tree = negentropy::gather(store, scan, |_| true)?;
    Ok(tree.map(Span::from).unwrap_or_default())
}

/// From NEG-OPEN to NEG-CLOSE.
async fn reconcile(
    mut comparison: Comparison<'_>,
    transfer: &mut Transfer<'_>,
    mut printed: Option<&mut Output>,
) -> anyhow::Result<()> {
    while let Some(found) = comparison.step().await? {
        if let Some(output) = &mut printed {
            found.have.iter().try_for_each(|id| output.line(format!("have,{id}")))?;
            found.need.iter().try_for_each(|id| output.line(format!("need,{id}")))?;
        }
        transfer.hand_over(&found, comparison.rounds()).await?;
    }
    Ok(comparison.close().await?)
}

/// What the relay tells people is for whoever sits before the terminal. Never ends well.
async fn pass_on_notices(peer: &Peer) -> anyhow::Result<()> {
    let mut notices = peer.notices();
    loop {
        match notices.recv().await {
            Ok(text) => eprintln!("the relay says: {text}"),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
