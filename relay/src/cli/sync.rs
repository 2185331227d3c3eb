//! `mercato sync`: finds out by NIP-77 what this store and another relay lack of each other, and hands it over.
//!
//! Round by round: a message brings some differences to light, their events go down and up, and only then is the next
//! message asked for. So memory holds one round's differences, whatever there is to hand over.

mod range;
mod tally;
mod transfer;
mod wire;

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{bail, ensure};

use self::range::Range;
use self::transfer::Transfer;
use self::wire::{Said, Wire};
use super::output::Output;
use super::storage;
use super::writing::Writing;
use crate::clock::now_s;
use crate::config::Config;
use crate::negentropy::reconcile::MIN_FRAME_BYTES;
use crate::negentropy::{Client, Item, Span, Tree};
use crate::nostr::{Filter, message};
use crate::policy::Policies;
use crate::store::rocks::RocksStore;
use crate::store::{Head, Progress, Scan, Store};

/// The subscription that all NEG messages are about.
const SUBSCRIPTION: &str = "N";
/// Index entries looked at before the scan is taken up anew.
const SLICE: u32 = 100_000;

#[derive(Debug, clap::Args)]
pub struct SyncArgs {
    /// The other relay: ws:// or wss://
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
    let filter = match args.range {
        Some(range) => range.of(args.filter, now_s())?,
        None => args.filter,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = open(config)?;
    let span = gather(store.as_ref(), &filter)?;
    eprintln!("{} events here match", span.len());
    let patience = (args.timeout > 0).then(|| Duration::from_secs(args.timeout));
    let frame_bytes = if args.frame_size_limit == 0 { usize::MAX } else { args.frame_size_limit };
    let mut output = Output::new();
    let wire = runtime.block_on(Wire::connect(&args.url, patience))?;
    let down =
        matches!(dir, Direction::Both | Direction::Down).then(|| Writing::open_for_import(config)).transpose()?;
    let up = store.as_ref().filter(|_| matches!(dir, Direction::Both | Direction::Up));
    let policies = Policies::default();
    let printed = args.print_missing.then_some(&mut output);
    let mut transfer = Transfer::new(wire, down, up, filter, (policies, args.url));
    let reconciled = runtime.block_on(async {
        transfer.policies.configure(&config.plugins);
        let reconciled = reconcile(&mut transfer, Client::new(span, frame_bytes), printed).await;
        transfer.policies.stop().await;
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
    let mut tree = Tree::default();
    let Some(store) = store else { return Ok(tree.into()) };
    let mut scan = Scan { now: now_s(), ..Scan::new(filter.clone()) };
    let mut found = |head: &Head<'_>| {
        tree.insert(Item::from(head.position));
        ControlFlow::Continue(())
    };
    while store.scan_heads(&mut scan, SLICE, &mut found)? == Progress::More {}
    Ok(tree.into())
}

/// From NEG-OPEN to NEG-CLOSE.
async fn reconcile(
    transfer: &mut Transfer<'_>,
    (mut client, first): (Client, String),
    mut printed: Option<&mut Output>,
) -> anyhow::Result<()> {
    transfer.wire.send(message::neg_open(SUBSCRIPTION, &transfer.filter, &first)).await?;
    loop {
        let answer = match transfer.wire.next().await? {
            Said::NegMsg { subscription, message } if subscription == SUBSCRIPTION => message,
            Said::NegErr { subscription, text } if subscription == SUBSCRIPTION => bail!("the relay says: {text}"),
            Said::Notice(text) if client.rounds() == 0 && is_refusal(&text) => {
                bail!("the relay seems not to support negentropy; it says: {text}")
            }
            other => {
                transfer.wire.mention(&other);
                continue;
            }
        };
        let step = client.on_message(&answer)?;
        if let Some(output) = &mut printed {
            step.found.have.iter().try_for_each(|id| output.line(format!("have,{id}")))?;
            step.found.need.iter().try_for_each(|id| output.line(format!("need,{id}")))?;
        }
        transfer.hand_over(&step.found, client.rounds()).await?;
        match step.next {
            Some(next) => transfer.wire.send(message::neg_msg(SUBSCRIPTION, &next)).await?,
            None => break,
        }
    }
    transfer.wire.send(message::neg_close(SUBSCRIPTION)).await?;
    transfer.wire.close().await;
    Ok(())
}

/// Relays without NIP-77 answer NEG-OPEN with a NOTICE, in words of their own.
fn is_refusal(notice: &str) -> bool {
    let words = ["error", "invalid", "unrecognized", "bad m", "could not parse", "disabled", "unsupported", "unknown"];
    let notice = notice.to_lowercase();
    words.iter().any(|word| notice.contains(word))
}
