//! What the market asks others about money: a provider's lightning server, who signs its receipts (`signers`); a wallet, whether
//! an invoice is settled (`wallet`).
//!
//! The market itself never waits. It leaves its [`Inquiry`]s at the [`Desk`] when their commit is done; the [`Clerk`] works
//! through them and hands what is proven back to the writer, like any other command. A clerk that is
//! late, or a queue that is full, leaves a claim what it was: claimed.

pub mod address;
mod clerk;
mod desk;
pub mod fetch;
pub mod reach;
pub mod signers;
pub mod wallet;

pub use address::Address;
pub use clerk::Clerk;
pub use desk::Desk;
pub use signers::{Known, Signers};

pub use crate::market::{Inquiry, Settled};

use std::sync::Arc;

use crate::config::PaymentsConfig;
use fetch::Fetcher;
use reach::Reach;
use wallet::{Connection, Wallet};

/// Questions that may wait; a further one is not asked, and the log says so.
const WAITING_MAX: usize = 1_024;

/// What the operator wants asked; `None`: nothing.
///
/// # Errors
/// When the wallet's file cannot be used.
pub fn open(config: &PaymentsConfig) -> anyhow::Result<Option<(Arc<Desk>, Clerk)>> {
    let signers = match config.lnurl {
        true => Some(Arc::new(Signers::new(Fetcher::new(Reach { own: config.lnurl_networks.clone() })?))),
        false => None,
    };
    let wallet = match config.wallet_file.as_os_str().is_empty() {
        true => None,
        false => Some(Wallet::new(Connection::load(&config.wallet_file)?)),
    };
    if signers.is_none() && wallet.is_none() {
        return Ok(None);
    }
    let (sender, queue) = tokio::sync::mpsc::channel(WAITING_MAX);
    let providers = if wallet.is_some() { config.wallet_providers() } else { Vec::new() };
    let desk = Desk::new(signers.clone(), providers, sender);
    Ok(Some((Arc::new(desk), Clerk::new(queue, signers, wallet))))
}
