//! Fills a relay's store before the clock starts.

use std::time::Duration;

use anyhow::bail;
use futures_util::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::{Client, RelayUrl, event_frame};
use super::message::{Incoming, read};
use crate::nostr::Event;

const CONNECTIONS: usize = 4;
/// Events that one connection sends before it reads an answer.
const WINDOW: usize = 64;

/// Publishes all events as fast as the relay takes them.
///
/// # Errors
/// When the connection ends or the relay refuses most of them, as one with rate limits would.
pub async fn fill(url: &RelayUrl, events: &[Event]) -> anyhow::Result<()> {
    let bar = bar(events.len() as u64, "filling the store");
    let share = events.len().div_ceil(CONNECTIONS).max(1);
    let refused: u64 = try_join_all(events.chunks(share).map(|part| publish(url, part, &bar))).await?.iter().sum();
    bar.finish_and_clear();
    if refused * 2 > events.len() as u64 {
        bail!("the relay refused {refused} of {} events", events.len());
    }
    Ok(())
}

/// Publishes events in windows; how many were refused.
async fn publish(url: &RelayUrl, events: &[Event], bar: &ProgressBar) -> anyhow::Result<u64> {
    let mut client = Client::connect(url).await?;
    let mut refused = 0;
    for window in events.chunks(WINDOW) {
        for event in window {
            client.feed(event_frame(event)).await?;
        }
        client.flush().await?;
        let mut answers = 0;
        while answers < window.len() {
            if let Incoming::Ok { accepted, .. } = read(&client.next().await?) {
                answers += 1;
                refused += u64::from(!accepted);
            }
        }
        bar.inc(window.len() as u64);
    }
    Ok(refused)
}

/// A progress bar on a terminal, nothing elsewhere.
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
