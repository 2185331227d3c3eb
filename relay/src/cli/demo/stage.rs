//! The two scenes, and what must be true in them.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::actor::{Actor, elements, tag};
use super::timeline::{Role, Timeline, Tone};
use crate::cli::bench::child::{ChildRelay, TempFolder};
use crate::cli::bench::client::RelayUrl;
use crate::nostr::{Event, kind};

/// NIP-90's text generation.
const JOB: u16 = 5050;
const RESULT: u16 = JOB + 1_000;
/// How long a provider that vanished keeps its lease; the relay's usual 5 s would be long to watch.
const GRACE_S: u32 = 3;
/// Bytes of the relay's information document that are read.
const DOCUMENT_MAX: u64 = 64 * 1024;

/// What a provider offers: name, price in sat, and GiB of memory.
const OFFERS: [(&str, u32, u32); 3] = [("provider A", 20, 141), ("provider B", 25, 80), ("provider C", 10, 24)];

/// Everybody, and what has been achieved.
pub struct Stage {
    timeline: Timeline,
    /// `self` of NIP-11: signs leases and states.
    relay_key: String,
    customer: Actor,
    providers: Vec<Actor>,
    jobs: Vec<Done>,
    url: RelayUrl,
    /// Dropped in this order: the relay first, then its folder.
    _relay: ChildRelay,
    _folder: TempFolder,
}

/// A job that has succeeded.
struct Done {
    id: String,
    attempts: String,
    provider: &'static str,
    took_s: f64,
}

/// A lease as its holder and the customer are told of it.
struct Lease {
    /// Place of the holder among the providers.
    holder: usize,
    number: String,
    /// Which attempt at the job it is, from 1.
    attempt: String,
}

impl Stage {
    /// Starts the relay and has everybody come in.
    ///
    /// # Errors
    /// When the relay does not run or refuses an advert.
    pub async fn open(mut timeline: Timeline) -> anyhow::Result<Self> {
        let folder = TempFolder::new("demo")?;
        let relay = ChildRelay::start(folder.path(), &[format!("market.disconnect_grace_s={GRACE_S}")]).await?;
        let url = relay.url.clone();
        let relay_key = relay_key(&url).await?;
        timeline.say(Role::Relay, "relay", Tone::Plain, &format!("up at {url}, signs as {}", short(&relay_key)))?;
        let mut providers = Vec::new();
        for (name, price_sat, memory_gib) in OFFERS {
            sleep(Duration::from_millis(300)).await;
            let provider = advertise(&url, name, price_sat, memory_gib).await?;
            let offer = format!("advertises kind {JOB}: {price_sat} sat, {memory_gib} GiB of memory, 2 slots");
            timeline.say(Role::Provider, name, Tone::Plain, &offer)?;
            providers.push(provider);
        }
        let mut customer = Actor::enter("customer", &url).await?;
        customer.listen(&format!("{},{RESULT},{}", kind::JOB_FEEDBACK, kind::JOB_STATE)).await?;
        Ok(Self { timeline, relay_key, customer, providers, jobs: Vec::new(), url, _relay: relay, _folder: folder })
    }

    /// The first leaseholder dies at its work; another one gets the job and finishes it.
    ///
    /// # Errors
    /// When it goes otherwise.
    pub async fn a_provider_dies(&mut self) -> anyhow::Result<()> {
        self.timeline.head("A provider dies at its work")?;
        let asked_s = self.timeline.elapsed_s();
        let needs: [&[&str]; 2] = [&["require", "memory", ">=", "80"], &["bid", "30000"]];
        let job = self.ask("a poem about relays", &needs, "at least 80 GiB, at most 30 sat").await?;
        let first = self.lease(&job).await?;
        self.accept(&job, &first).await?;
        pause().await;
        let dead = self.kill(first.holder)?;
        let withdrawn = self.told(&job, "the lease to be withdrawn", "withdrawn").await?;
        ensure!(tag(&withdrawn, "lease").as_ref() == Some(&first.number), "another lease was withdrawn");
        let text = format!("withdraws lease {}: {}", first.number, reason(&withdrawn));
        self.timeline.say(Role::Relay, "relay", Tone::Bad, &text)?;
        let second = self.lease(&job).await?;
        ensure!(number(&second)? > number(&first)?, "a later lease must have a higher number");
        self.accept(&job, &second).await?;
        pause().await;
        self.progress(&job, &second).await?;
        pause().await;
        self.deliver(&job, &second, "Notes pass from hand to hand").await?;
        self.finish(&job, &second, asked_s).await?;
        self.timeline.add(&format!("{dead} lost its lease, {} was asked in its place", self.jobs[0].provider))
    }

    /// Somebody without a lease sends a result; it is refused, and the leaseholder's counts.
    ///
    /// # Errors
    /// When it goes otherwise.
    pub async fn a_result_is_forged(&mut self) -> anyhow::Result<()> {
        self.timeline.head("A stranger forges a result")?;
        let asked_s = self.timeline.elapsed_s();
        let job = self.ask("a joke about relays", &[], "from anybody").await?;
        let lease = self.lease(&job).await?;
        self.accept(&job, &lease).await?;
        pause().await;
        self.forge(&job).await?;
        pause().await;
        self.deliver(&job, &lease, "Two relays walk into a bar; one says OK").await?;
        self.finish(&job, &lease, asked_s).await
    }

    /// Prints the jobs, and a line that sums up.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.timeline.head("job       kind  attempts  provider    status     took")?;
        for job in &self.jobs {
            let Done { id, attempts, provider, took_s } = job;
            self.timeline
                .print(&format!("{:<8}  {JOB}  {attempts:>8}  {provider:<10}  succeeded  {took_s:.1} s", short(id)))?;
        }
        let seconds = self.timeline.elapsed_s();
        self.timeline.print(&format!(
            "\nAll as it must be after {seconds:.1} s: {} jobs done, 1 dead provider replaced, 1 forged result refused.",
            self.jobs.len()
        ))
    }

    async fn ask(&mut self, input: &str, needs: &[&[&str]], words: &str) -> anyhow::Result<String> {
        let mut tags: Vec<&[&str]> = vec![&["timeout", "accept", "5"]];
        let text = ["i", input, "text"];
        tags.push(&text);
        tags.extend(needs);
        let request = self.customer.sign(JOB, &tags, "");
        self.customer.must_publish(&request).await?;
        let job = request.id.to_hex();
        let text = format!("asks for {input}, {words} (job {})", short(&job));
        self.timeline.say(Role::Customer, "customer", Tone::Plain, &text)?;
        Ok(job)
    }

    /// The relay's next lease on a job, as both parties are told of it.
    async fn lease(&mut self, job: &str) -> anyhow::Result<Lease> {
        let told = self.told(job, "a lease", "assigned").await?;
        let holder = tag(&told, "p").context("the lease names no provider")?;
        let holder = self.providers.iter().position(|provider| provider.pubkey == holder);
        let holder = holder.context("the lease went to nobody who is here")?;
        let number = tag(&told, "lease").context("the lease has no number")?;
        let attempt = tag(&told, "attempt").context("the lease names no attempt")?;
        let provider = &mut self.providers[holder];
        let text = format!("leases it to {} (attempt {attempt}, lease {number})", provider.name);
        self.timeline.say(Role::Relay, "relay", Tone::Plain, &text)?;
        self.timeline.add(&why(&told))?;
        let same = told.id;
        provider.hear("its lease", |event| event.id == same).await?;
        Ok(Lease { holder, number, attempt })
    }

    /// What the relay itself tells the customer of a job.
    async fn told(&mut self, job: &str, what: &str, status: &str) -> anyhow::Result<Event> {
        let relay_key = &self.relay_key;
        let fits = |event: &Event| {
            event.kind == kind::JOB_FEEDBACK
                && event.pubkey.to_hex() == *relay_key
                && tag(event, "e").as_deref() == Some(job)
                && tag(event, "status").as_deref() == Some(status)
        };
        self.customer.hear(what, fits).await
    }

    async fn accept(&mut self, job: &str, lease: &Lease) -> anyhow::Result<()> {
        pause().await;
        self.report(job, lease, &["status", "processing"]).await?;
        let name = self.providers[lease.holder].name;
        self.timeline.say(Role::Provider, name, Tone::Plain, "accepts and begins to work")
    }

    async fn progress(&mut self, job: &str, lease: &Lease) -> anyhow::Result<()> {
        self.report(job, lease, &["status", "partial", "half of it"]).await?;
        let name = self.providers[lease.holder].name;
        self.timeline.say(Role::Provider, name, Tone::Plain, "has half of it")
    }

    async fn report(&mut self, job: &str, lease: &Lease, status: &[&str]) -> anyhow::Result<()> {
        let customer = &self.customer.pubkey;
        let provider = &mut self.providers[lease.holder];
        let tags: [&[&str]; 4] = [status, &["e", job], &["p", customer], &["lease", &lease.number]];
        let event = provider.sign(kind::JOB_FEEDBACK, &tags, "");
        provider.must_publish(&event).await
    }

    /// Cuts a provider's connection; its name.
    fn kill(&mut self, holder: usize) -> anyhow::Result<&'static str> {
        let provider = self.providers.remove(holder);
        let name = provider.name;
        provider.die();
        self.timeline.say(Role::Provider, name, Tone::Bad, "is killed: its connection is cut")?;
        self.timeline.add(&format!("the relay waits {GRACE_S} s for it to come back"))?;
        Ok(name)
    }

    async fn deliver(&mut self, job: &str, lease: &Lease, content: &str) -> anyhow::Result<()> {
        let customer = &self.customer.pubkey;
        let provider = &mut self.providers[lease.holder];
        let tags: [&[&str]; 3] = [&["e", job], &["p", customer], &["lease", &lease.number]];
        let result = provider.sign(RESULT, &tags, content);
        provider.must_publish(&result).await?;
        self.timeline.say(Role::Provider, provider.name, Tone::Plain, "delivers its result")
    }

    /// The customer has the result of the leaseholder and of nobody else, and the relay says that the job is over.
    async fn finish(&mut self, job: &str, lease: &Lease, asked_s: f64) -> anyhow::Result<()> {
        let holder = &self.providers[lease.holder];
        let is_result = |event: &Event| event.kind == RESULT && tag(event, "e").as_deref() == Some(job);
        let result = self.customer.hear("the result", is_result).await?;
        ensure!(result.pubkey.to_hex() == holder.pubkey, "the customer was given somebody else's result");
        let text = format!("has the result: {:?}", result.content());
        self.timeline.say(Role::Customer, "customer", Tone::Good, &text)?;
        let relay_key = &self.relay_key;
        let is_end = |event: &Event| {
            event.kind == kind::JOB_STATE
                && event.pubkey.to_hex() == *relay_key
                && tag(event, "d").as_deref() == Some(job)
                && tag(event, "status").as_deref() == Some("succeeded")
        };
        self.customer.hear("the job to succeed", is_end).await?;
        self.timeline.say(Role::Relay, "relay", Tone::Good, &format!("job {} succeeded", short(job)))?;
        let took_s = self.timeline.elapsed_s() - asked_s;
        self.jobs.push(Done { id: job.to_owned(), attempts: lease.attempt.clone(), provider: holder.name, took_s });
        Ok(())
    }

    async fn forge(&mut self, job: &str) -> anyhow::Result<()> {
        let mut stranger = Actor::enter("stranger", &self.url).await?;
        let tags: [&[&str]; 2] = [&["e", job], &["p", &self.customer.pubkey]];
        let forged = stranger.sign(RESULT, &tags, "Send me the money");
        self.timeline.say(Role::Stranger, "stranger", Tone::Plain, "sends a result without a lease")?;
        let verdict = stranger.publish(&forged).await?;
        ensure!(!verdict.accepted, "the relay took a forged result");
        let text = format!("refuses it: OK false {:?}", verdict.text);
        self.timeline.say(Role::Relay, "relay", Tone::Good, &text)
    }
}

async fn advertise(url: &RelayUrl, name: &'static str, price_sat: u32, memory_gib: u32) -> anyhow::Result<Actor> {
    let mut provider = Actor::enter(name, url).await?;
    provider.authenticate().await?;
    let (kind, price_msat) = (JOB.to_string(), (price_sat * 1_000).to_string());
    let memory = memory_gib.to_string();
    let tags: [&[&str]; 5] =
        [&["d", "demo"], &["k", &kind], &["price", &kind, &price_msat], &["cap", "memory", &memory], &["slots", "2"]];
    let advert = provider.sign(kind::PROVIDER_ADVERT, &tags, &format!("{{\"name\":\"{name}\"}}"));
    provider.must_publish(&advert).await?;
    provider.listen(&kind::JOB_FEEDBACK.to_string()).await?;
    Ok(provider)
}

/// `self` of the relay's information document (NIP-11).
async fn relay_key(url: &RelayUrl) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(url.authority()).await?;
    let host = url.authority();
    let request =
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(DOCUMENT_MAX).read_to_string(&mut answer).await?;
    let (_, document) = answer.split_once("\r\n\r\n").context("the relay has no information document")?;
    let document: Value = serde_json::from_str(document).context("in the relay's information document")?;
    Ok(document["self"].as_str().context("the relay names no key of its own")?.to_owned())
}

/// Time to read a line.
async fn pause() {
    sleep(Duration::from_millis(900)).await;
}

fn number(lease: &Lease) -> anyhow::Result<u64> {
    lease.number.parse().with_context(|| format!("{:?} is no lease number", lease.number))
}

/// The terms of the choice, as the lease gives them.
fn why(lease: &Event) -> String {
    let terms: Vec<String> =
        elements(lease, "why").get(1..).unwrap_or_default().chunks(2).map(|pair| pair.join(" ")).collect();
    format!("why: {}", terms.join(", "))
}

/// Why a lease was withdrawn, in words.
fn reason(withdrawn: &Event) -> String {
    elements(withdrawn, "status").into_iter().nth(2).unwrap_or_else(|| withdrawn.content())
}

/// The beginning of an id, enough to tell it from the few others here.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
