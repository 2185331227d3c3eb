//! What systemd is told (sd_notify): nothing at all when it did not start the relay.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::relay::Shared;

/// Added to what a wait may take: opening and closing the store.
const SLACK: Duration = Duration::from_secs(30);

/// The start may take this long, and some more.
pub fn starting(patience: Duration) {
    tell(&[NotifyState::Status("opening the store"), extension(patience)]);
}

/// Clients are served.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being read again; `ready` says that this is over.
pub fn reloading() {
    if let Ok(since) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, since]);
    }
}

/// The end has begun and may take this long, and some more.
pub fn stopping(patience: Duration) {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping"), extension(patience)]);
}

/// Says regularly that the relay is alive, for as long as its writer gets on. Without `WatchdogSec` it has nothing to do.
pub async fn guard(shared: Arc<Shared>) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(period / 3);
    loop {
        ticks.tick().await;
        let busy = shared.writer.meters().busy_for();
        match busy < period {
            true => tell(&[NotifyState::Watchdog]),
            false => tracing::error!(
                "the writer has been at one commit for {} s: systemd is not told to wait",
                busy.as_secs()
            ),
        }
    }
}

fn extension(patience: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from((patience + SLACK).as_micros()).unwrap_or(u32::MAX))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
