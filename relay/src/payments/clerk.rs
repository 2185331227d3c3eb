//! Works through the market's questions, many at a time within bounds, and tells the writer what is proven.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::wallet::{Answer, Wallet};
use super::{Inquiry, Known, Settled, Signers};
use crate::clock::now_s;
use crate::writer::{Command, WriterHandle};

/// Lightning servers that are asked at a time.
const FETCHES_MAX: usize = 8;
/// Invoices that are followed at a time; one too many is not, and the log says so.
const FOLLOWED_MAX: usize = 1_000;
/// When an invoice is asked about again: after this, doubled each time, up to the longest.
const FIRST_REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How long an invoice is followed at most, in seconds, however long it is valid.
const FOLLOWED_S: u64 = 86_400;
/// How long beyond its end: it may have been paid at the last moment.
const AFTER_END_S: u64 = 60;
/// How often a wallet may say that it does not know an invoice before it is believed.
const UNKNOWN_MAX: u32 = 5;

/// Runs until the desk is gone; what it has begun ends with it.
#[derive(Debug)]
pub struct Clerk {
    queue: mpsc::Receiver<Inquiry>,
    signers: Option<Arc<Signers>>,
    wallet: Option<Arc<Wallet>>,
}

impl Clerk {
    pub fn new(queue: mpsc::Receiver<Inquiry>, signers: Option<Arc<Signers>>, wallet: Option<Wallet>) -> Self {
        Self { queue, signers, wallet: wallet.map(Arc::new) }
    }

    pub async fn run(mut self, writer: WriterHandle) {
        let fetches = Arc::new(Semaphore::new(FETCHES_MAX));
        let followed = Followed::default();
        let mut tasks = JoinSet::new();
        while let Some(inquiry) = self.queue.recv().await {
            while tasks.try_join_next().is_some() {}
            match inquiry {
                Inquiry::Signer { .. } => {
                    let Some(signers) = self.signers.clone() else { continue };
                    // Others wait in the queue meanwhile, and then at the desk.
                    let Ok(place) = fetches.clone().acquire_owned().await else { return };
                    let writer = writer.clone();
                    tasks.spawn(async move {
                        look_up(&signers, inquiry, &writer).await;
                        drop(place);
                    });
                }
                Inquiry::Invoice { settled, invoice, until_s } => {
                    let Some(wallet) = self.wallet.clone() else { continue };
                    let payment_hash = settled.payment_hash;
                    if followed.begin(payment_hash) {
                        let (writer, followed) = (writer.clone(), followed.clone());
                        tasks.spawn(async move {
                            follow(&wallet, *settled, &invoice, until_s, &writer).await;
                            followed.end(&payment_hash);
                        });
                    }
                }
            }
        }
    }
}

/// Payment hashes of the invoices that are followed.
#[derive(Clone, Default)]
struct Followed(Arc<Mutex<HashSet<[u8; 32]>>>);

impl Followed {
    /// Whether to follow one: it is not yet, and there is room.
    fn begin(&self, payment_hash: [u8; 32]) -> bool {
        let mut followed = self.0.lock();
        if followed.len() >= FOLLOWED_MAX {
            tracing::warn!("too many invoices to follow: one more stays as it is");
            return false;
        }
        followed.insert(payment_hash)
    }

    fn end(&self, payment_hash: &[u8; 32]) {
        self.0.lock().remove(payment_hash);
    }
}

async fn look_up(signers: &Signers, inquiry: Inquiry, writer: &WriterHandle) {
    let Inquiry::Signer { address, receipt } = inquiry else { return };
    let known = signers.look_up(&address).await;
    let Some((settled, author)) = receipt else { return };
    match known {
        Known::Signer(signer) if signer == author => writer.send(Command::Settled(settled)).await,
        Known::Signer(_) | Known::Nobody => {
            tracing::warn!(job = %settled.job, %author, %address, "a zap receipt was not signed by the lightning server");
        }
        Known::Nothing => {}
    }
}

/// Asks about an invoice until it is paid, or cannot be any more.
async fn follow(wallet: &Wallet, settled: Settled, invoice: &str, until_s: u64, writer: &WriterHandle) {
    let until_s = until_s.saturating_add(AFTER_END_S).min(now_s().saturating_add(FOLLOWED_S));
    let (mut rest, mut unknown) = (FIRST_REST, 0);
    while now_s() <= until_s && unknown < UNKNOWN_MAX {
        sleep(rest).await;
        rest = LONGEST_REST.min(rest * 2);
        match wallet.look_up(invoice).await {
            Answer::Settled { preimage } if settled.is_paid_by(&preimage) => {
                return writer.send(Command::Settled(Box::new(settled))).await;
            }
            Answer::Settled { .. } => {
                tracing::warn!(job = %settled.job, "the wallet says that an invoice is settled, with a wrong preimage");
                return;
            }
            Answer::Unknown => unknown += 1,
            // A wallet that is away comes back.
            Answer::Pending | Answer::Nothing => {}
        }
    }
}
