//! How fast the scheduler is on one core, without signatures, sockets and disk: `cargo run --release -p mercato-scheduler --example speed`.
//!
//! Times are those of this thread on its processor, where Linux tells them, so that a busy machine shows less; else of the clock.
//! `speed matching lifecycles leases recovery queue` runs some of the parts only. A number among them says how many lifecycles:
//! `valgrind --tool=callgrind target/release/examples/speed lifecycles 10000` counts their instructions, the same in every run.

use mercato_scheduler::*;

const KIND: u16 = 5050;
/// Requests between two looks at the clock.
const BATCH: u64 = 100;
/// Prints some figures; is told how many lifecycles.
type Part = fn(u64);

/// What one figure may take.
const ENOUGH_NS: u64 = 500_000_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let (numbers, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|word| word.parse::<u64>().is_ok());
    let jobs = numbers.first().and_then(|word| word.parse().ok()).unwrap_or(400_000);
    let parts: [(&str, Part); 5] = [
        ("matching", matching),
        ("lifecycles", lifecycles),
        ("leases", leases),
        ("recovery", recovery),
        ("queue", queue),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            part(jobs);
        }
    }
}

/// Requests that are leased at once, by the number of providers and what is asked of them.
fn matching(_: u64) {
    println!("a request and its lease, by providers");
    for providers in [100, 10_000, 100_000] {
        let mut world = World::new(providers, 1_024);
        let all = world.matched(|_| Request::new(KIND));
        let half = world.matched(|_| Request { bid_msat: Some(500), ..Request::new(KIND) });
        let few = world
            .matched(|n| Request { require: vec![at_least("ram_gb", 63), is("zone", n % 4)], ..Request::new(KIND) });
        println!("{providers:>9}: {all} for anybody, {half} for half of them, {few} for 1 in 256");
    }
}

/// Request, lease, result, end, and the oldest end forgotten.
fn lifecycles(jobs: u64) {
    for (providers, slots) in [(1_000, 1), (1_000, 4), (100_000, 4)] {
        let mut world = World::new(providers, slots);
        world.lifecycles(2_000);
        let rate = Rate::of(jobs, || world.lifecycles(jobs));
        println!("lifecycles, {providers} providers of {slots}: {rate}");
    }
}

/// A million leases at a time.
fn leases(_: u64) {
    const LEASES: u64 = 1_000_000;
    let mut world = World::new(10_000, 100);
    let before = resident_bytes();
    let rate = Rate::of(LEASES, || world.request(LEASES, |_| Request::new(KIND)));
    let live: usize = world.scheduler.state().providers().values().map(|row| row.leases.len()).sum();
    let bytes = before.zip(resident_bytes()).map_or(0, |(before, after)| after.saturating_sub(before) / LEASES);
    println!("{live} live leases: {bytes} bytes each, {rate}");
}

/// 100,000 open jobs, nine of ten leased, from a journal and from a checkpoint.
fn recovery(_: u64) {
    const JOBS: u64 = 100_000;
    let mut world = World::new(9_000, 10);
    world.journal = Some(Vec::new());
    let seats = world.scheduler.checkpoint();
    world.request(JOBS, |_| Request { run_timeout_ms: Some(60_000), ..Request::new(KIND) });
    let journal: Vec<Record> = seats.into_iter().chain(world.journal.take().unwrap_or_default()).collect();
    let checkpoint = world.scheduler.checkpoint();
    for (name, records) in [("journal", journal), ("checkpoint", checkpoint)] {
        let len = records.len();
        let start = now_ns();
        let restored = Scheduler::restore(config(), records.into_iter()).expect("it was written so");
        let took_ms = (now_ns() - start) / 1_000_000;
        println!("{} open jobs from a {name} of {len} records: {took_ms} ms", restored.state().open_jobs());
    }
}

/// 10,000 queued jobs whose conditions nobody meets, though thousands of providers meet each of them, while providers come and go.
fn queue(_: u64) {
    const PROVIDERS: u64 = 100_000;
    let mut world = World::new(PROVIDERS, 4);
    let taken = Rate::of(10_000, || {
        // Nobody in the upper half of the memory is in such a zone with such a disk: see `advert`.
        world.request(10_000, |n| Request {
            require: vec![at_least("ram_gb", 32 + (n % 16).cast_signed()), is("disk", 0)],
            ..Request::new(KIND)
        });
    });
    let mut served = 0;
    for (name, at_a_time) in [("one by one", 1_u64), ("a hundred at once", 100)] {
        let rate = Rate::of(1_000, || {
            for n in 0..1_000 / at_a_time {
                let provider = |m: u64| ProviderId(id(1, (n * at_a_time + m) * 97 % PROVIDERS));
                (0..at_a_time).for_each(|m| drop(world.step(Input::Offline { provider: provider(m) })));
                for m in 0..at_a_time {
                    served += world.step(Input::Online { provider: provider(m) }).effects.len();
                }
                while !world.scheduler.is_settled() {
                    served += world.step(Input::Tick).effects.len();
                }
            }
        });
        println!("providers that go and come, {name}, beside 10,000 jobs that nobody can take: {rate}");
    }
    println!("such a job comes: {taken}; {served} were served");
}

fn config() -> Config {
    Config {
        jobs_max: 2_000_000,
        jobs_per_customer_max: 2_000_000,
        providers_max: 200_000,
        ended_max: 1_000,
        ..Config::default()
    }
}

struct World {
    scheduler: Scheduler,
    now_ms: u64,
    next: u64,
    journal: Option<Vec<Record>>,
}

impl World {
    fn new(providers: u64, slots: u32) -> Self {
        let mut world = Self { scheduler: Scheduler::new(config()), now_ms: 0, next: 0, journal: None };
        for n in 0..providers {
            let provider = ProviderId(id(1, n));
            // The disks of half of them are of sort 0, and none of these has much memory.
            let caps = vec![number("ram_gb", n % 64), number("zone", n / 64 % 4), number("disk", n % 64 / 32)];
            let kinds = vec![Offer { kind: KIND, price_msat: Some(splitmix64(n) % 1_000) }];
            world.step(Input::Advertise {
                provider,
                advert: Advert { kinds, caps, slots: Some(slots), ..Advert::default() },
            });
            world.step(Input::Online { provider });
        }
        world
    }

    fn step(&mut self, input: Input) -> Step {
        let step = self.scheduler.step(self.now_ms, input).expect("it fits");
        if let Some(journal) = &mut self.journal {
            journal.extend(step.records.iter().cloned());
        }
        step
    }

    fn ask(&mut self, request: Request) -> (JobId, Option<ProviderId>) {
        self.next += 1;
        self.now_ms += u64::from(self.next.is_multiple_of(64));
        let (job, customer) = (JobId(id(2, self.next)), CustomerId(id(3, self.next % 1_000)));
        let step = self.step(Input::Request { job, customer, request });
        let lease = step.effects.iter().find_map(|effect| {
            let Effect::AnnounceLease { provider, .. } = effect else { return None };
            Some(*provider)
        });
        (job, lease)
    }

    fn request(&mut self, jobs: u64, request: impl Fn(u64) -> Request) {
        for n in 0..jobs {
            self.ask(request(n));
        }
    }

    /// Measures requests in batches, and ends their jobs in between.
    fn matched(&mut self, request: impl Fn(u64) -> Request) -> Rate {
        let (mut ns, mut count) = (0, 0);
        while ns < ENOUGH_NS && count < 100_000 {
            let first = self.next + 1;
            let start = now_ns();
            self.request(BATCH, &request);
            ns += now_ns() - start;
            count += BATCH;
            for n in first..=self.next {
                self.step(Input::Cancel { job: JobId(id(2, n)), by: CustomerId(id(3, n % 1_000)) });
            }
        }
        Rate { ns, count }
    }

    fn lifecycles(&mut self, jobs: u64) {
        for n in 0..jobs {
            let (job, provider) = self.ask(Request::new(KIND));
            let provider = provider.expect("somebody is free");
            let (kind, result) = (KIND + 1_000, ResultId(id(4, n)));
            self.step(Input::Result { job, provider, lease: None, result, kind, answer: Answer::Unread });
        }
    }
}

fn id(sort: u64, n: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (word, at) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *word = splitmix64(sort << 56 ^ n << 2 ^ at).to_le_bytes();
    }
    bytes
}

fn number(name: &str, value: u64) -> (String, Value) {
    (name.to_owned(), Value::Int(value.cast_signed()))
}

fn at_least(attribute: &str, least: i64) -> Requirement {
    Requirement { attribute: attribute.to_owned(), op: Op::GreaterOrEqual, values: vec![Value::Int(least)] }
}

fn is(attribute: &str, value: u64) -> Requirement {
    Requirement { attribute: attribute.to_owned(), op: Op::Equal, values: vec![Value::Int(value.cast_signed())] }
}

/// So many in so long.
struct Rate {
    ns: u64,
    count: u64,
}

impl Rate {
    fn of(count: u64, work: impl FnOnce()) -> Self {
        let start = now_ns();
        work();
        Self { ns: now_ns() - start, count }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ns = self.ns.max(1);
        write!(f, "{}/s ({} ns)", self.count * 1_000_000_000 / ns, ns / self.count)
    }
}

/// Nanoseconds of this thread on its processor, or of the clock.
fn now_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    spent.unwrap_or_else(clock_ns)
}

#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "measures; the scheduler's time is its own")]
fn clock_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}
