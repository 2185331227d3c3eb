//! Customers and providers, in the words of docs/market.md.

use anyhow::{Context, ensure};
use nostr::Keys;
use serde_json::json;

use crate::client::{Client, Verdict};
use crate::event::{Draft, Event};
use crate::relay::Relay;

/// Subscription on which a provider hears of its leases.
pub const LEASES: &str = "leases";
/// Subscription on which a customer follows one job.
pub const JOB: &str = "job";

/// A job request of this kind.
pub fn request(kind: u16) -> Draft {
    Draft::new(kind).tag(["i", "https://example.com/input", "url"])
}

/// An advert for one job kind.
pub fn advert(kind: u16) -> Draft {
    Draft::new(31_990).tag(["d", "work"]).tag(["k", &kind.to_string()])
}

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub job: String,
    pub provider: String,
    pub customer: String,
    pub number: u64,
    pub attempt: u64,
    /// The request as it stands in the lease.
    pub request: Option<String>,
}

impl Lease {
    /// Reads a lease; `None` for what is none.
    pub fn read(event: &Event) -> anyhow::Result<Option<Self>> {
        if event.kind != 7_000 || event.value("status") != Some("assigned") {
            return Ok(None);
        }
        let text = |name: &str| event.value(name).map(str::to_owned).with_context(|| format!("a lease without {name}"));
        let keys: Vec<&str> = event.named("p").filter_map(|rest| rest.first()).map(String::as_str).collect();
        let [provider, customer] = keys[..] else { anyhow::bail!("a lease has two p tags: {event:?}") };
        Ok(Some(Self {
            job: text("e")?,
            provider: provider.to_owned(),
            customer: customer.to_owned(),
            number: text("lease")?.parse()?,
            attempt: text("attempt")?.parse()?,
            request: event.value("request").map(str::to_owned),
        }))
    }

    /// Feedback of the provider on this lease.
    pub fn feedback(&self, status: &str) -> Draft {
        let draft = Draft::new(7_000).tag(["status", status]).tag(["e", &self.job]).tag(["p", &self.customer]);
        draft.tag(["lease", &self.number.to_string()])
    }

    /// The provider's result for a request of this kind.
    pub fn result(&self, request_kind: u16) -> Draft {
        let draft = Draft::new(request_kind + 1_000).tag(["e", &self.job]).tag(["p", &self.customer]);
        draft.tag(["lease", &self.number.to_string()]).content("done")
    }
}

/// A provider with its connection.
pub struct Provider {
    pub keys: Keys,
    pub client: Client,
    kind: u16,
}

impl Provider {
    /// Connects, proves its key, listens for leases and advertises.
    pub async fn join(relay: &Relay, kind: u16) -> anyhow::Result<Self> {
        Self::join_as(relay, kind, Keys::generate()).await
    }

    pub async fn join_as(relay: &Relay, kind: u16, keys: Keys) -> anyhow::Result<Self> {
        let mut provider = Self::connect(relay, kind, keys).await?;
        let keys = provider.keys.clone();
        provider.client.store(&advert(kind).sign(&keys)).await?;
        Ok(provider)
    }

    /// The same without an advert: somebody who comes back.
    pub async fn connect(relay: &Relay, kind: u16, keys: Keys) -> anyhow::Result<Self> {
        let mut client = Client::connect(relay).await?;
        client.authenticate(&keys).await?;
        client.subscribe(LEASES, [json!({"kinds": [7000], "#p": [keys.public_key().to_hex()]})]).await?;
        Ok(Self { keys, client, kind })
    }

    pub fn pubkey(&self) -> String {
        self.keys.public_key().to_hex()
    }

    /// Waits for a lease on this job that is the provider's own.
    pub async fn lease(&mut self, job: &Event) -> anyhow::Result<Lease> {
        let own = self.pubkey();
        let mut lease = None;
        let wanted = |event: &Event| {
            lease = Lease::read(event).ok().flatten();
            lease.as_ref().is_some_and(|lease| lease.job == job.id && lease.provider == own)
        };
        self.client.live_until(LEASES, wanted).await?;
        lease.context("a lease")
    }

    /// Waits for the next lease of its own, on whatever job.
    pub async fn next_lease(&mut self) -> anyhow::Result<Lease> {
        let own = self.pubkey();
        let mut lease = None;
        let wanted = |event: &Event| {
            lease = Lease::read(event).ok().flatten();
            lease.as_ref().is_some_and(|lease| lease.provider == own)
        };
        self.client.live_until(LEASES, wanted).await?;
        lease.context("a lease")
    }

    /// Says something about a job.
    pub async fn say(&mut self, draft: Draft) -> anyhow::Result<Verdict> {
        let event = draft.sign(&self.keys);
        self.client.publish(&event).await
    }

    pub async fn accept(&mut self, lease: &Lease) -> anyhow::Result<()> {
        let verdict = self.say(lease.feedback("processing")).await?;
        ensure!(verdict.accepted, "processing was refused: {}", verdict.text);
        Ok(())
    }

    /// Delivers; the result's id.
    pub async fn deliver(&mut self, lease: &Lease) -> anyhow::Result<String> {
        let result = lease.result(self.kind).sign(&self.keys);
        self.client.store(&result).await?;
        Ok(result.id)
    }
}

/// A customer that follows its job on one subscription.
pub struct Customer {
    pub keys: Keys,
    pub client: Client,
}

impl Customer {
    pub async fn join(relay: &Relay) -> anyhow::Result<Self> {
        let keys = Keys::generate();
        let mut client = Client::connect(relay).await?;
        client.authenticate(&keys).await?;
        Ok(Self { keys, client })
    }

    /// Publishes a request and follows what is said about it.
    pub async fn ask(&mut self, draft: Draft) -> anyhow::Result<Event> {
        let job = draft.sign(&self.keys);
        self.client.subscribe(JOB, [json!({"#e": [job.id]})]).await?;
        self.client.store(&job).await?;
        Ok(job)
    }

    /// Waits for feedback of the relay or a provider with this status.
    pub async fn told(&mut self, status: &str) -> anyhow::Result<Event> {
        let is_it = |event: &Event| event.kind == 7_000 && event.value("status") == Some(status);
        self.client.live_until(JOB, is_it).await.with_context(|| format!("waiting for the status {status}"))
    }

    /// Waits for the next lease of its job.
    pub async fn told_of_lease(&mut self) -> anyhow::Result<Lease> {
        let event = self.told("assigned").await?;
        Lease::read(&event)?.context("a lease")
    }

    pub async fn told_of_result(&mut self, kind: u16) -> anyhow::Result<Event> {
        self.client.live_until(JOB, |event| event.kind == kind + 1_000).await.context("waiting for the result")
    }

    /// The relay's public state of a job.
    pub async fn state(&mut self, relay_key: &str, job: &Event) -> anyhow::Result<Event> {
        let filter = json!({"kinds": [30383], "authors": [relay_key], "#d": [job.id]});
        let states = self.client.query([filter]).await?;
        ensure!(states.len() == 1, "a job has one state, not {}", states.len());
        states.into_iter().next().context("a state")
    }
}
