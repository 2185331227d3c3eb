//! Mercato's scheduler: matches job requests to providers, enforces deadlines, reassigns, and says so.
//!
//! A pure core. The time is an argument, draws come from published seeds, numbers are integers, tables are ordered: the same
//! inputs give the same records and effects on every machine. It knows nothing of Nostr's wire, sockets or stores.
//!
//! # The main path
//!
//! ```
//! use mercato_scheduler::*;
//!
//! let mut scheduler = Scheduler::new(Config::default());
//! let (provider, job) = (ProviderId([1; 32]), JobId([2; 32]));
//! let advert = Advert { kinds: vec![Offer { kind: 5050, price_msat: None }], ..Advert::default() };
//! scheduler.step(0, Input::Advertise { provider, advert })?;
//! scheduler.step(0, Input::Online { provider })?;
//! let request = Request::new(5050);
//! let step = scheduler.step(1, Input::Request { job, customer: CustomerId([3; 32]), request })?;
//! assert!(matches!(step.effects.first(), Some(Effect::AnnounceLease { .. })));
//! # Ok::<(), Refusal>(())
//! ```
//!
//! The caller
//! 1. turns each committed message into an [`Input`] and gives it to [`Scheduler::step`] with the time,
//! 2. writes the step's [`Record`]s and the signed [`Effect`]s in one atomic batch, and only then lets anyone see them,
//!    (a batch that cannot be written means: drop the scheduler, it is ahead of its journal, and go to 4),
//! 3. gives [`Input::Tick`] whenever [`Scheduler::next_deadline_ms`] has come,
//! 4. after a crash folds the journal with [`Scheduler::restore`] and gives [`Input::Restarted`],
//! 5. now and then replaces the journal by [`Scheduler::checkpoint`].
//!
//! # Layout
//!
//! | file | noun |
//! |---|---|
//! | `scheduler` | the front: step, restore, checkpoint |
//! | `turn`, `turn/*` | one step; a file for each group of verbs |
//! | `state` | the tables, and `apply`, the only function that changes them |
//! | `table` | rows by id, without an order of their own |
//! | `index` | what makes the next thing to do quick to find |
//! | `matching`, `draw` | who is feasible, and who is chosen: the formula |
//! | `supply`, `list`, `ranked` | providers by kind, price and attribute, for draws without a scan |
//! | `adaptive` | whose single result is believed, and which of those are audited |
//! | `validation` | when two results agree, and which one a quorum stands behind |
//! | `reputation` | what the past of a provider or customer says: decayed, capped, bounded from below |
//! | `money` | what is asked, claimed, confirmed and settled for one job |
//! | `state/standing` | what each outcome says about whom |
//! | `auction` | sealed offers, and which of them a job goes to |
//! | `chain` | which jobs wait for the results of which others |
//! | `quantile` | how long runs take, and what is expected of the next |
//! | `backoff` | how long a job rests after a lease that failed |
//! | `fairness` | whose turn it is in a queue |
//! | `wheel` | when which job is due |
//! | `wake` | which waiting jobs deserve another look |
//! | `tape` | what the scheduler was told, played again |
//! | `check` | the invariants |
//! | `input`, `record`, `effect`, `refusal` | what goes in and comes out |
//! | `job`, `lease`, `provider`, `customer`, `request`, `advert`, `id`, `config` | the nouns |
//!
//! # Invariants
//!
//! A job has at most as many live leases as it wants results, each of another provider. Nobody delivers twice. Where results are
//! compared, none is accepted without a quorum of distinct providers, and each is the word of one who held a lease. A lease number is never used twice, and only grows. A refusal changes nothing. Only
//! `apply` changes the state, and the state does not depend on the configuration. A queued job that somebody could take waits for
//! no more than the next step. Every table, list and text has a bound, and every step does a bounded amount of work
//! (except the two that touch everybody: `Restarted` and a checkpoint).

#![forbid(unsafe_code)]

pub mod adaptive;
mod advert;
mod auction;
mod backoff;
mod chain;
mod check;
mod config;
pub mod credibility;
mod customer;
mod draw;
mod effect;
mod examination;
mod fairness;
mod id;
mod index;
mod input;
mod job;
mod lease;
mod list;
pub mod matching;
mod money;
mod provider;
pub mod quantile;
mod ranked;
mod record;
mod refusal;
mod reputation;
mod request;
mod scheduler;
mod state;
mod supply;
mod table;
pub mod tape;
mod turn;
mod validation;
mod wake;
mod wheel;

pub use advert::{ACCEPTS_MAX, Advert, CAPS_MAX, OFFERS_MAX, Offer, TEXT_MAX, Value, WALK_IN_KINDS_MAX};
pub use auction::{Auction, Bid, Bidding, OFFERS_PER_JOB_MAX, REVISIONS_MAX, Rule};
pub use config::Config;
pub use customer::Customer;
pub use effect::{Effect, End, JobView, Judged, LeaseView, Status};
pub use examination::{Examination, Finding, Panel, VALIDATION_KIND};
pub use fairness::Span;
pub use id::{CustomerId, JobId, ProviderId, ResultId};
pub use input::{Feedback, Input};
pub use job::{Backup, Deadline, Due, Job, Stage, Standing, Terms};
pub use lease::{Attempt, Lease, Phase, REASON_MAX, Reason};
pub use matching::{seed, splitmix64};
pub use money::{Account, Bill, Marks, Money, Payment, Quote, RECEIPTS_MAX, Receipt};
pub use provider::{ESTABLISHED, Presence, Provider};
pub use record::{Fact, Record};
pub use refusal::{Flaw, Refusal};
pub use reputation::{Counterparty, Evidence, HALF_LIFE_MS, OUTCOME, Reputation, SHARE_MAX, Tally, weight};
pub use request::{
    Dispatch, INPUTS_MAX, NAMED_MAX, Op, Order, PARAMS_MAX, RANKS_MAX, REQUIREMENTS_MAX, Rank, Request, Requirement,
    Upstream, VALUES_MAX,
};
pub use scheduler::{RestoreError, Scheduler, Step};
pub use state::State;
pub use table::Table;
pub use validation::{Answer, Group, NUMBER_MAX, NUMBER_PLACES, NUMBERS_MAX, ONE_PPM, Submission, Validation, Verdict};
