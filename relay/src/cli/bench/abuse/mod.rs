//! `bench abuse`: what a well-behaved client feels, and what the relay holds, while others misbehave.
//!
//! The relay is started without rate limits for this machine, as ever: what protects the neighbour here is how the relay
//! is built, not that the abuser was told to slow down.

mod attack;
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use self::attack::Attack;
use super::Common;
use super::hostile;
use super::report::{Report, Row};
use super::target::Target;

/// How often the relay's memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long an attack goes on before the neighbour is measured.
const LEAD: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Attacks to try; all of them when none is named
    #[arg(value_enum)]
    attacks: Vec<Attack>,
    /// Abusive connections at once; `idle` opens a hundred times as many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Events a second of the well-behaved client
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Events of each row
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
}

/// What an attack shares with who watches it.
#[derive(Debug, Default)]
pub struct Progress {
    stopped: AtomicBool,
    /// Messages, connections or bytes, as the attack counts.
    units: AtomicU64,
}

impl Progress {
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn add(&self, units: u64) {
        self.units.fetch_add(units, Ordering::Relaxed);
    }
}

/// Measures the neighbour alone, then beside each attack.
///
/// # Errors
/// When the relay cannot be reached, or lets the well-behaved client down.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let target = Target::open(common).await?;
    let mut report = Report::new("abuse", format!("{} events/s by one client, heard by one other", args.rate));
    let load = hostile::Load { rate: args.rate, events: args.events };
    report.push(beside(&target, None, args, load, common.seed).await?);
    let attacks = if args.attacks.is_empty() { Attack::ALL.to_vec() } else { args.attacks.clone() };
    for (number, attack) in attacks.into_iter().enumerate() {
        let seed = common.seed.wrapping_add(number as u64 + 1);
        report.push(beside(&target, Some(attack), args, load, seed).await?);
    }
    report.note("units are what the attackers sent; peak_mib is the relay's anonymous memory".to_owned());
    Ok(report)
}

/// Measures the neighbour while the attackers are at work.
async fn beside(
    target: &Target,
    attack: Option<Attack>,
    args: &Args,
    load: hostile::Load,
    seed: u64,
) -> anyhow::Result<Row> {
    let progress = Arc::new(Progress::default());
    let mut attackers = JoinSet::new();
    for (number, attack) in
        attack.iter().flat_map(|attack| (0..attack.tasks(args.connections)).map(|number| (number, *attack)))
    {
        let (url, progress) = (target.url.clone(), progress.clone());
        attackers.spawn(async move {
            // An attacker that is thrown out comes back.
            while !progress.is_stopped() {
                if attack.strike(&url, number, seed, &progress).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    tokio::time::sleep(LEAD).await;
    let name = attack.map_or("alone".to_owned(), |attack| format!("{} ({})", attack.name(), attack.unit()));
    let mut peak = 0.0_f64;
    let measured = {
        let measuring = hostile::measure(target, load, seed, &name);
        tokio::pin!(measuring);
        loop {
            tokio::select! {
                row = &mut measuring => break row,
                () = tokio::time::sleep(LOOK) => peak = peak.max(target.anonymous_mib().unwrap_or_default()),
            }
        }
    };
    progress.stopped.store(true, Ordering::Relaxed);
    attackers.shutdown().await;
    let row = measured?.with("units", progress.units.load(Ordering::Relaxed));
    Ok(match target.pid() {
        Some(_) => row.with("peak_mib", peak),
        None => row,
    })
}
