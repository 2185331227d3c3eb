//! `bench jobs`: how long a request waits for its lease, and for its result.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Common;
use super::client::{Client, Receiver, Sender, event_frame};
use super::data::{keypair, parallel};
use super::latency::Latencies;
use super::message::{Incoming, read, tag_value};
use super::pace::Pace;
use super::provider::{Provider, Worked};
use super::report::{Report, Row};
use super::target::{Spent, Target};
use crate::clock;
use crate::nostr::Event;

/// NIP-90's text generation; any job kind would do.
pub const JOB_KIND: u16 = 5050;
/// How long results may still come after the last request.
const TAIL: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Requests a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds of requests
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Providers, each on a connection of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    providers: u16,
    /// Slots of each provider
    #[arg(long, default_value_t = 1_000)]
    slots: u32,
}

/// What a customer saw of its jobs.
#[derive(Default)]
struct Seen {
    /// Every job by its id.
    jobs: HashMap<[u8; 32], Job>,
    taken: u64,
    refused: u64,
    leases: u64,
    withdrawn: u64,
    /// Leases given while another one was live.
    double_leases: u64,
    results: u64,
    ok: Latencies,
    lease: Latencies,
    result: Latencies,
}

/// One job, as its customer sees it.
#[derive(Debug, Clone, Copy)]
struct Job {
    number: usize,
    is_leased: bool,
    is_done: bool,
}

/// When each request was sent, in microseconds after the start.
struct Sent {
    us: Box<[AtomicU64]>,
    started: Instant,
}

/// Runs a market at the rate.
///
/// # Errors
/// When the relay has no market, or ends a connection.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let customer = keypair(common.seed, "customer");
    let count = args.rate as usize * args.seconds as usize;
    // Requests of an earlier run at the same relay must not be known to it.
    let run = clock::now_ms();
    let requests: Vec<Event> = parallel(count, |at| {
        let input = vec!["i".to_owned(), format!("prompt {run} {at}"), "text".to_owned()];
        Event::sign(&customer, clock::now_s(), JOB_KIND, &[input], "")
    });
    let target = Target::open(common).await?;
    let open = |at| Provider::open(&target.url, keypair(common.seed, &format!("provider {at}")), args.slots);
    let providers = try_join_all((0..args.providers).map(open)).await?;
    let mut client = Client::connect(&target.url).await?;
    let name = customer.x_only_public_key().0;
    for (id, kind) in [("feedback", 7000), ("results", JOB_KIND + 1_000)] {
        client.subscribe(id, &format!("{{\"kinds\":[{kind}],\"#p\":[\"{name}\"],\"limit\":0}}")).await?;
    }
    let mut working = JoinSet::new();
    let worked = Arc::new(Worked::default());
    for provider in providers {
        working.spawn(provider.work(worked.clone()));
    }
    let (sender, receiver) = client.split();
    let watch = target.watch();
    let sent = Arc::new(Sent::new(count));
    let seen = tokio::spawn(look_on(receiver, Seen::new(&requests), sent.clone()));
    request(sender, &requests, f64::from(args.rate), &sent).await?;
    let Ok(seen) = timeout(TAIL + TAIL, seen).await else { bail!("the customer's connection is stuck") };
    let spent = watch.read();
    let subject = format!("{} providers with {} slots, kind {JOB_KIND}", args.providers, args.slots);
    let mut report = Report::new("jobs", subject);
    report.push(row(args.rate, seen??, &worked, spent));
    if let Some(text) = worked.first_refusal() {
        report.note(format!("first refusal of a provider's event: {text}"));
    }
    Ok(report)
}

fn row(rate: u32, mut seen: Seen, worked: &Worked, spent: Spent) -> Row {
    Row::new(format!("{rate} jobs/s"))
        .with("jobs", seen.taken)
        .with("leases", seen.leases)
        .with("results", seen.results)
        .with("refused", seen.refused + worked.refused())
        .with("withdrawn", seen.withdrawn)
        .with("double_leases", seen.double_leases)
        .with("jobs_per_s", spent.rate(seen.results))
        .with("cpu_us_per_job", spent.cpu_us_each(seen.results))
        .with("ok_p50_ms", seen.ok.percentile_ms(50))
        .with("ok_p99_ms", seen.ok.percentile_ms(99))
        .with("lease_p50_ms", seen.lease.percentile_ms(50))
        .with("lease_p99_ms", seen.lease.percentile_ms(99))
        .with("result_p50_ms", seen.result.percentile_ms(50))
        .with("result_p99_ms", seen.result.percentile_ms(99))
}

/// Publishes every request when it is due.
async fn request(mut sender: Sender, requests: &[Event], rate: f64, sent: &Sent) -> anyhow::Result<()> {
    let pace = Pace::start(rate);
    for (at, request) in requests.iter().enumerate() {
        if !pace.is_due(at) {
            sender.flush().await?;
            pace.wait(at).await;
        }
        sent.note(at, pace.counts_from(at).into_std());
        sender.feed(event_frame(request)).await?;
    }
    sender.flush().await?;
    Ok(())
}

/// Reads what the relay tells the customer until every job that it took has its result, or nothing comes any more.
async fn look_on(mut receiver: Receiver, mut seen: Seen, sent: Arc<Sent>) -> anyhow::Result<Seen> {
    while !seen.is_complete() {
        let Ok(text) = timeout(TAIL, receiver.next()).await else { break };
        seen.note(&text?, &sent);
    }
    Ok(seen)
}

impl Seen {
    fn new(requests: &[Event]) -> Self {
        let job = |(number, request): (usize, &Event)| (request.id.0, Job { number, is_leased: false, is_done: false });
        Self { jobs: requests.iter().enumerate().map(job).collect(), ..Self::default() }
    }

    fn is_complete(&self) -> bool {
        self.taken + self.refused == self.jobs.len() as u64 && self.results >= self.taken
    }

    fn note(&mut self, text: &str, sent: &Sent) {
        match read(text) {
            Incoming::Ok { id, accepted, .. } => {
                let job = crate::nostr::hex::decode(id).and_then(|id| self.jobs.get(&id));
                if let (Some(job), true) = (job, accepted) {
                    self.ok.add(sent.latency(job.number));
                }
                self.taken += u64::from(accepted);
                self.refused += u64::from(!accepted);
            }
            Incoming::Event { subscription: "results", body } => self.note_result(body, sent),
            Incoming::Event { body, .. } => self.note_feedback(body, sent),
            Incoming::Eose
            | Incoming::Count { .. }
            | Incoming::Closed { .. }
            | Incoming::Notice { .. }
            | Incoming::Auth { .. }
            | Incoming::Other => {}
        }
    }

    fn note_result(&mut self, body: &str, sent: &Sent) {
        let Some(job) = job_of(&mut self.jobs, body) else { return };
        if !job.is_done {
            job.is_done = true;
            self.results += 1;
            self.result.add(sent.latency(job.number));
        }
    }

    fn note_feedback(&mut self, body: &str, sent: &Sent) {
        let Some(job) = job_of(&mut self.jobs, body) else { return };
        match tag_value(body, "status") {
            Some("assigned") => {
                self.leases += 1;
                self.double_leases += u64::from(job.is_leased);
                job.is_leased = true;
                self.lease.add(sent.latency(job.number));
            }
            Some("withdrawn") => {
                self.withdrawn += 1;
                job.is_leased = false;
            }
            _ => {}
        }
    }
}

/// The job that an event is about.
fn job_of<'a>(jobs: &'a mut HashMap<[u8; 32], Job>, body: &str) -> Option<&'a mut Job> {
    jobs.get_mut(&crate::nostr::hex::decode(tag_value(body, "e")?)?)
}

impl Sent {
    fn new(count: usize) -> Self {
        Self { us: (0..count).map(|_| AtomicU64::new(0)).collect(), started: Instant::now() }
    }

    fn note(&self, at: usize, counts_from: Instant) {
        let since = counts_from.saturating_duration_since(self.started);
        self.us[at].store(since.as_micros() as u64, Ordering::Relaxed);
    }

    fn latency(&self, at: usize) -> Duration {
        let sent = Duration::from_micros(self.us[at].load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(sent)
    }
}
