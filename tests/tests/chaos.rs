//! The relay is killed at random moments while customers, providers and publishers work, and comes back each time on
//! what is on its disk. Whatever it acknowledged must be there, every job must end, and at no moment may a job have
//! two live leases, but for one backup beside a slow one.
//!
//! `MERCATO_KILLS` says how often it is killed (10), `MERCATO_SEED` brings back the moments of an earlier run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::http::relay_key;
use mercato_tests::market::{LEASES, Lease, advert, request};
use mercato_tests::random::Rng;
use mercato_tests::said::prefix;
use mercato_tests::{Keys, Relay};
use serde_json::json;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

const KIND: u16 = 5_200;
const PUBLISHERS: usize = 3;
const CUSTOMERS: usize = 2;
const PROVIDERS: usize = 4;
/// Ids asked for in one REQ.
const CHUNK: usize = 400;
/// Events acknowledged before the last round that are looked at again after each kill; all are in the end.
const OLD_CHECKED: usize = 2_000;
/// How long the last jobs may take to end: their deadline and some.
const LAST_JOBS: Duration = Duration::from_secs(60);

/// What everybody shares.
struct Arena {
    port: u16,
    /// Ids of events whose OK true was read.
    acknowledged: Mutex<Vec<String>>,
    /// Ids of requests whose OK true was read.
    jobs: Mutex<Vec<String>>,
    /// Events of the relay that were checked one by one.
    observed: AtomicUsize,
    /// What should not have happened.
    faults: Mutex<Vec<String>>,
    /// No new events and requests.
    closing: AtomicBool,
    /// Everything is over.
    closed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    fn fault(&self, text: String) {
        eprintln!("fault: {text}");
        lock(&self.faults).push(text);
    }

    fn is_open(&self) -> bool {
        !self.closing.load(Ordering::Relaxed)
    }

    /// Connects, again and again while the relay is down. `None` when all is over.
    async fn connect(&self) -> Option<Client> {
        while !self.closed.load(Ordering::Relaxed) {
            match Client::connect_to(self.port).await {
                Ok(client) => return Some(client),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        None
    }
}

/// Publishes notes and writes down which of them were acknowledged.
async fn publisher(arena: Arc<Arena>, mut rng: Rng) {
    let keys = Keys::generate();
    while arena.is_open() {
        let Some(mut client) = arena.connect().await else { return };
        // Ends with the connection; what was not acknowledged by then does not count.
        let _ = publish_notes(&arena, &mut client, &keys, &mut rng).await;
    }
}

async fn publish_notes(arena: &Arena, client: &mut Client, keys: &Keys, rng: &mut Rng) -> anyhow::Result<()> {
    while arena.is_open() {
        let notes: Vec<Event> = (0..10).map(|_| Draft::note(format!("{}", rng.word())).sign(keys)).collect();
        for note in &notes {
            client.offer(note).await?;
        }
        for note in &notes {
            let verdict = client.verdict(&note.id).await?;
            match verdict.accepted {
                true => lock(&arena.acknowledged).push(note.id.clone()),
                false => arena.fault(format!("a note was refused: {}", verdict.text)),
            }
        }
        sleep(Duration::from_millis(5 + rng.below(20))).await;
    }
    Ok(())
}

/// Asks for jobs, each until it knows that the relay has it.
async fn customer(arena: Arc<Arena>, mut rng: Rng) {
    let keys = Keys::generate();
    let mut pending: Option<Event> = None;
    while arena.is_open() || pending.is_some() {
        let Some(mut client) = arena.connect().await else { return };
        // Ends with the connection; the pending request is sent again.
        let _ = ask_for_jobs(&arena, &mut client, &keys, &mut rng, &mut pending).await;
    }
}

async fn ask_for_jobs(
    arena: &Arena,
    client: &mut Client,
    keys: &Keys,
    rng: &mut Rng,
    pending: &mut Option<Event>,
) -> anyhow::Result<()> {
    while arena.is_open() || pending.is_some() {
        let job = pending.get_or_insert_with(|| request(KIND).content(format!("{}", rng.word())).sign(keys)).clone();
        let verdict = client.publish(&job).await?;
        match verdict.accepted {
            true => lock(&arena.jobs).push(job.id),
            false => arena.fault(format!("a request was refused: {}", verdict.text)),
        }
        *pending = None;
        sleep(Duration::from_millis(20 + rng.below(60))).await;
    }
    Ok(())
}

/// Works on what it is leased; now and then it gives up or falls silent.
struct Worker {
    arena: Arc<Arena>,
    rng: Rng,
    keys: Keys,
    advert: Event,
    /// By lease: the result to deliver, until the relay has answered to it.
    to_do: BTreeMap<u64, (Lease, Event)>,
    seen: HashSet<u64>,
}

impl Worker {
    fn new(arena: Arc<Arena>, rng: Rng) -> Self {
        let keys = Keys::generate();
        let advert = advert(KIND).tag(["slots", "4"]).sign(&keys);
        Self { arena, rng, keys, advert, to_do: BTreeMap::new(), seen: HashSet::new() }
    }

    async fn run(mut self) {
        while let Some(mut client) = self.arena.clone().connect().await {
            // Ends with the connection; what is to do still is.
            let _ = self.work(&mut client).await;
        }
    }

    async fn work(&mut self, client: &mut Client) -> anyhow::Result<()> {
        client.authenticate(&self.keys).await?;
        client.store(&self.advert).await?;
        let own = self.keys.public_key().to_hex();
        for event in client.subscribe(LEASES, [json!({"kinds": [7000], "#p": [own], "since": recently()})]).await? {
            self.hear(&event)?;
        }
        loop {
            while let Some((_, (lease, result))) = self.to_do.pop_first() {
                self.to_do.insert(lease.number, (lease.clone(), result.clone()));
                self.deliver(client, &lease, &result).await?;
                self.to_do.remove(&lease.number);
            }
            self.hear(&client.live(LEASES).await?)?;
        }
    }

    fn hear(&mut self, event: &Event) -> anyhow::Result<()> {
        let Some(lease) = Lease::read(event)?.filter(|lease| lease.provider == self.keys.public_key().to_hex()) else {
            return Ok(());
        };
        if self.seen.insert(lease.number) {
            let result = lease.result(KIND).sign(&self.keys);
            self.to_do.insert(lease.number, (lease, result));
        }
        Ok(())
    }

    /// Ends with the relay's answer, whatever it is: the lease may have been withdrawn meanwhile.
    async fn deliver(&mut self, client: &mut Client, lease: &Lease, result: &Event) -> anyhow::Result<()> {
        if self.rng.percent(5) {
            return Ok(());
        }
        if self.rng.percent(5) {
            let given_up = lease.feedback("error").content("not today").sign(&self.keys);
            return self.check(client, &given_up).await;
        }
        if self.rng.percent(70) {
            self.check(client, &lease.feedback("processing").sign(&self.keys)).await?;
            sleep(Duration::from_millis(self.rng.below(30))).await;
        }
        self.check(client, result).await
    }

    async fn check(&self, client: &mut Client, event: &Event) -> anyhow::Result<()> {
        let verdict = client.publish(event).await?;
        let expected = verdict.accepted || matches!(prefix(&verdict.text), Some("restricted" | "blocked" | "deleted"));
        if !expected {
            self.arena.fault(format!("a provider was told {:?} about {}", verdict.text, event.to_json()));
        }
        Ok(())
    }
}

/// What the relay's public events say about all jobs.
#[derive(Default)]
struct Book {
    jobs: HashMap<String, Page>,
    /// Leases by number.
    leases: HashMap<u64, (String, String)>,
}

#[derive(Default)]
struct Page {
    /// Whether each lease was withdrawn, by number.
    leases: BTreeMap<u64, bool>,
    /// Those that back up a slow one.
    backups: HashSet<u64>,
    ends: HashSet<String>,
}

impl Page {
    /// Leases that have not ended.
    fn live(&self) -> Vec<u64> {
        let over = !self.ends.is_empty();
        self.leases.iter().filter(|(_, withdrawn)| !over && !**withdrawn).map(|(number, _)| *number).collect()
    }
}

impl Book {
    /// Takes an event of the relay; the job that it is about.
    fn note(&mut self, event: &Event) -> anyhow::Result<String> {
        let job = event.value("e").context("an event of the relay without a job")?.to_owned();
        let page = self.jobs.entry(job.clone()).or_default();
        if let Some(lease) = Lease::read(event)? {
            ensure!(page.ends.is_empty() || page.leases.contains_key(&lease.number), "{job} was leased after its end");
            page.leases.entry(lease.number).or_insert(false);
            page.backups.extend(event.value("backs_up").map(|_| lease.number));
            let holder = (job.clone(), lease.provider);
            let known = self.leases.entry(lease.number).or_insert_with(|| holder.clone());
            ensure!(*known == holder, "lease {} was given twice: {known:?} and {holder:?}", lease.number);
        } else if event.value("status") == Some("withdrawn") {
            let number: u64 = event.value("lease").context("a withdrawal without lease")?.parse()?;
            page.leases.insert(number, true);
        } else if event.value("end").is_some() {
            page.ends.insert(event.id.clone());
        }
        Ok(job)
    }

    fn check(&self, job: &str) -> anyhow::Result<()> {
        let Some(page) = self.jobs.get(job) else { return Ok(()) };
        let (live, backups) = (page.live(), &page.backups);
        let first = live.iter().filter(|number| !backups.contains(number)).count();
        ensure!(first <= 1 && backups.len() <= 1, "{job} has the live leases {live:?}, backups {backups:?}");
        ensure!(page.ends.len() <= 1, "{job} ended {} times", page.ends.len());
        Ok(())
    }

    /// A state names the leases that are live.
    fn check_state(&self, state: &Event) -> anyhow::Result<()> {
        let job = state.value("d").context("a state without a job")?;
        let numbers = state.named("lease").filter_map(|rest| rest.first());
        let named: Vec<u64> = numbers.map(|number| number.parse()).collect::<Result<_, _>>()?;
        let live = self.jobs.get(job).map(Page::live).unwrap_or_default();
        let is_over = matches!(state.value("status"), Some("succeeded" | "failed" | "cancelled" | "expired"));
        ensure!(is_over || named == live, "{job} says lease {named:?} while {live:?} are live");
        Ok(())
    }
}

/// Watches the relay's events: stored ones first, as a whole, then each in the order of commits.
async fn observer(arena: Arc<Arena>, relay_key: String) {
    while let Some(mut client) = arena.connect().await {
        // Ends with the connection.
        let _ = watch(&arena, &mut client, &relay_key).await;
    }
}

async fn watch(arena: &Arena, client: &mut Client, relay_key: &str) -> anyhow::Result<()> {
    let report = |outcome: anyhow::Result<()>| {
        if let Err(error) = outcome {
            arena.fault(format!("{error:#}"));
        }
    };
    let told = json!({"authors": [relay_key], "kinds": [7000], "since": recently()});
    let filters = [told, json!({"authors": [relay_key], "kinds": [30383], "limit": 0})];
    let mut book = Book::default();
    for event in oldest_first(client.subscribe("watch", filters).await?) {
        report(book.note(&event).map(drop));
    }
    for job in book.jobs.keys() {
        report(book.check(job));
    }
    loop {
        let event = client.live("watch").await?;
        arena.observed.fetch_add(1, Ordering::Relaxed);
        report(match event.kind {
            7_000 => book.note(&event).and_then(|job| book.check(&job)),
            _ => book.check_state(&event),
        });
    }
}

/// Before anything that still matters to a job that is open. Who comes back after each of many kills and reads
/// everything from the beginning would soon do nothing else.
fn recently() -> u64 {
    now_s() - 60
}

/// In the order of leases as far as the stored events tell it: ends last.
fn oldest_first(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| event.value("end").is_some());
    events
}

/// Checks that all of these events are served.
async fn check_served(client: &mut Client, ids: &[String]) -> anyhow::Result<()> {
    for chunk in ids.chunks(CHUNK) {
        let served: HashSet<String> = client.query_ids([json!({"ids": chunk})]).await?.into_iter().collect();
        let lost: Vec<&String> = chunk.iter().filter(|id| !served.contains(*id)).collect();
        ensure!(lost.is_empty(), "{} acknowledged events are lost, among them {}", lost.len(), lost[0]);
    }
    Ok(())
}

/// Status of every job that has a public state.
async fn statuses(client: &mut Client, relay_key: &str, jobs: &[String]) -> anyhow::Result<HashMap<String, String>> {
    let mut statuses = HashMap::new();
    for chunk in jobs.chunks(CHUNK) {
        for state in client.query([json!({"authors": [relay_key], "kinds": [30383], "#d": chunk})]).await? {
            let (job, status) = (state.value("d").unwrap_or_default(), state.value("status").unwrap_or_default());
            statuses.insert(job.to_owned(), status.to_owned());
        }
    }
    Ok(statuses)
}

fn is_over(status: Option<&String>) -> bool {
    status.is_some_and(|status| matches!(&**status, "succeeded" | "failed" | "cancelled" | "expired"))
}

/// Waits until every job has ended; how many ended how.
async fn wait_for_ends(
    client: &mut Client,
    relay_key: &str,
    jobs: &[String],
) -> anyhow::Result<BTreeMap<String, usize>> {
    let begun = Instant::now();
    loop {
        let statuses = statuses(client, relay_key, jobs).await?;
        let open: Vec<&String> = jobs.iter().filter(|job| !is_over(statuses.get(*job))).collect();
        if open.is_empty() {
            let mut tally = BTreeMap::new();
            for status in statuses.into_values() {
                *tally.entry(status).or_default() += 1;
            }
            return Ok(tally);
        }
        let first = open[0];
        ensure!(
            begun.elapsed() < LAST_JOBS,
            "{} jobs do not end, among them {first}: {:?}",
            open.len(),
            statuses.get(first)
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// Every job has one end, a result that is there if it succeeded, and leases of which all but the winner's were
/// withdrawn, none of them given twice.
async fn check_ends(client: &mut Client, relay_key: &str, jobs: &[String]) -> anyhow::Result<()> {
    let mut book = Book::default();
    for chunk in jobs.chunks(CHUNK / 4) {
        let events = client.query([json!({"authors": [relay_key], "kinds": [7000], "#e": chunk})]).await?;
        for event in oldest_first(events.clone()) {
            book.note(&event)?;
        }
        let ends: Vec<&Event> = events.iter().filter(|event| event.value("end").is_some()).collect();
        for job in chunk {
            let of_job: Vec<_> = ends.iter().filter(|end| end.value("e") == Some(job)).collect();
            ensure!(of_job.len() == 1, "{job} has {} ends", of_job.len());
            let left = book.jobs.get(job).map(|page| page.leases.values().filter(|withdrawn| !**withdrawn).count());
            ensure!(left <= Some(1), "{job} ended with {left:?} leases that were not withdrawn");
        }
        let results: Vec<String> = ends.iter().filter_map(|end| end.value("result")).map(str::to_owned).collect();
        check_served(client, &results).await.context("results")?;
    }
    Ok(())
}

fn settings() -> mercato_tests::relay::Settings {
    Relay::settings()
        .set("limits.max_limit", 1_000_000)
        .set("market.accept_timeout_s", 2)
        .set("market.disconnect_grace_s", 1)
        .set("market.restart_grace_s", 2)
        .set("market.run_timeout_s", 5)
        // A job that every provider has let down waits in vain, and so does one whose silent leaseholder is given time
        // anew by each restart: they must end all the same.
        .set("market.job_timeout_s", 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_no_job_is_leased_twice_however_often_the_relay_is_killed()
-> anyhow::Result<()> {
    let kills: usize = std::env::var("MERCATO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let mut rng = Rng::from_environment();
    let mut relay = settings().start()?;
    let relay_key = relay_key(&relay).await?;
    let arena = Arc::new(Arena {
        port: relay.port(),
        acknowledged: Mutex::default(),
        jobs: Mutex::default(),
        observed: AtomicUsize::new(0),
        faults: Mutex::default(),
        closing: AtomicBool::new(false),
        closed: AtomicBool::new(false),
    });
    let mut feeding: Vec<JoinHandle<()>> = Vec::new();
    feeding.extend((0..PUBLISHERS).map(|_| tokio::spawn(publisher(arena.clone(), rng.split()))));
    feeding.extend((0..CUSTOMERS).map(|_| tokio::spawn(customer(arena.clone(), rng.split()))));
    let mut working: Vec<JoinHandle<()>> = Vec::new();
    working.extend((0..PROVIDERS).map(|_| tokio::spawn(Worker::new(arena.clone(), rng.split()).run())));
    working.push(tokio::spawn(observer(arena.clone(), relay_key.clone())));

    let mut checked = 0;
    for kill in 1..=kills {
        sleep(Duration::from_millis(100 + rng.below(1_100))).await;
        block_in_place(|| relay.kill())?;
        let mut due = lock(&arena.acknowledged).clone();
        block_in_place(|| relay.restart()).with_context(|| format!("after kill {kill}"))?;
        let fresh = due.split_off(checked);
        checked += fresh.len();
        let old: Vec<String> = (0..OLD_CHECKED.min(due.len())).map(|_| rng.pick(&due).clone()).collect();
        let mut client = Client::connect(&relay).await?;
        check_served(&mut client, &fresh).await.with_context(|| format!("after kill {kill}"))?;
        check_served(&mut client, &old).await.with_context(|| format!("long before kill {kill}"))?;
        let jobs = lock(&arena.jobs).clone();
        check_served(&mut client, &jobs).await.with_context(|| format!("jobs after kill {kill}"))?;
    }

    arena.closing.store(true, Ordering::Relaxed);
    for task in feeding {
        task.await?;
    }
    let (acknowledged, jobs) = (lock(&arena.acknowledged).clone(), lock(&arena.jobs).clone());
    let mut client = Client::connect(&relay).await?;
    let tally = wait_for_ends(&mut client, &relay_key, &jobs).await?;
    check_served(&mut client, &acknowledged).await.context("in the end")?;
    check_ends(&mut client, &relay_key, &jobs).await?;
    arena.closed.store(true, Ordering::Relaxed);
    for task in working {
        task.abort();
    }
    eprintln!("{kills} kills, {} events and {} jobs acknowledged, ended: {tally:?}", acknowledged.len(), jobs.len());
    ensure!(!jobs.is_empty() && !acknowledged.is_empty(), "nothing happened");
    ensure!(arena.observed.load(Ordering::Relaxed) > jobs.len(), "hardly anything was observed");
    let faults = lock(&arena.faults).clone();
    ensure!(faults.is_empty(), "{} faults, the first: {:#?}", faults.len(), &faults[..faults.len().min(5)]);
    Ok(())
}
