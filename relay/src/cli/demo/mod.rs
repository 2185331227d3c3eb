//! `mercato demo`: a relay, three providers and a customer at work in one terminal, over plain Nostr.
//!
//! Two scenes: a provider dies at its work and another one takes over; a stranger's forged result is refused. The
//! demo checks what it shows, and fails when the market did not do as it must.

mod actor;
mod stage;
mod timeline;

use anyhow::Context;

use self::stage::Stage;
use self::timeline::Timeline;
use super::bench::unless_interrupted;
use super::terminal;

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Print without colours, on a terminal too
    #[arg(long)]
    no_color: bool,
}

/// Plays both scenes, which takes about 15 seconds.
///
/// # Errors
/// When the market did not do as it must, or the relay does not run.
pub fn run(args: DemoArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let timeline = Timeline::new(terminal::has_colour() && !args.no_color);
    runtime.block_on(unless_interrupted(play(timeline))).context("the demo failed")
}

async fn play(timeline: Timeline) -> anyhow::Result<()> {
    let mut stage = Stage::open(timeline).await?;
    stage.a_provider_dies().await?;
    stage.a_result_is_forged().await?;
    stage.close()
}
