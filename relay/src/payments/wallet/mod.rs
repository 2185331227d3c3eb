//! A wallet that tells whether an invoice is settled (NIP-47, `lookup_invoice`). It is asked for nothing else: a connection that may
//! read is enough, and wallets can make such ones.

mod cipher;
mod connection;
mod session;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

pub use connection::Connection;

/// Questions under way at a time, so that a slow wallet does not gather them.
const UNDER_WAY: usize = 4;
/// Questions a second.
const PACE: NonZeroU32 = NonZeroU32::new(4).expect("four is not zero");
/// How long an answer may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a wallet says of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is paid; with the preimage in hex, which is the proof.
    Settled { preimage: String },
    /// It is known, and not paid.
    Pending,
    /// It is not this wallet's.
    Unknown,
    /// No answer that could be used.
    Nothing,
}

/// One question on its way.
#[derive(Debug)]
struct Question {
    invoice: String,
    answer: oneshot::Sender<Answer>,
}

/// The way to a wallet. Its connection opens with the first question and closes when there are none for a while.
#[derive(Debug)]
pub struct Wallet {
    questions: mpsc::Sender<Question>,
    under_way: Semaphore,
    pace: DefaultDirectRateLimiter,
    _session: AbortOnDrop,
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Wallet {
    /// Needs a runtime.
    pub fn new(connection: Connection) -> Self {
        let (questions, asked) = mpsc::channel(UNDER_WAY);
        let session = AbortOnDrop(tokio::spawn(session::run(connection, asked)));
        Self {
            questions,
            under_way: Semaphore::new(UNDER_WAY),
            pace: RateLimiter::direct(Quota::per_second(PACE)),
            _session: session,
        }
    }

    /// Asks about an invoice.
    pub async fn look_up(&self, invoice: &str) -> Answer {
        let Ok(_place) = self.under_way.acquire().await else { return Answer::Nothing };
        self.pace.until_ready().await;
        let (answer, answered) = oneshot::channel();
        let question = Question { invoice: invoice.to_owned(), answer };
        let asked = async {
            self.questions.send(question).await.ok()?;
            answered.await.ok()
        };
        timeout(PATIENCE, asked).await.ok().flatten().unwrap_or(Answer::Nothing)
    }
}
