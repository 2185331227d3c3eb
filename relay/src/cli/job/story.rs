//! Every event that tells of a job, in the order in which the relay took them.

use std::collections::{BTreeMap, BTreeSet};

use super::line::{Line, Role};
use crate::cli::duration::{clock_of, date_of, short};
use crate::cli::npub::npub;
use crate::cli::reading;
use crate::nostr::{Event, EventId, Filter, Pubkey, kind};
use crate::store::Store;
use crate::store::rocks::RocksStore;

/// Events of one story; of what goes beyond, the newest are told.
const EVENTS_MAX: usize = 10_000;

pub struct Story {
    id: EventId,
    state: Option<Event>,
    pub lines: Vec<Line>,
}

impl Story {
    pub fn read(store: &RocksStore, own: Pubkey, id: EventId) -> anyhow::Result<Self> {
        let mut found: BTreeMap<u64, Event> = BTreeMap::new();
        let request = store.get(&id)?;
        if let Some(request) = &request {
            found.insert(request.sequence, request.event()?);
        }
        collect(store, &id, &mut found)?;
        let results: Vec<EventId> =
            found.values().filter(|event| kind::is_job_result(event.kind)).map(|event| event.id).collect();
        for result in results {
            collect(store, &result, &mut found)?;
        }
        let state = found.values().rev().find(|event| event.kind == kind::JOB_STATE && event.pubkey == own).cloned();
        let customer = found.values().find(|event| event.id == id).map(|event| event.pubkey);
        let customer = customer.or_else(|| state.as_ref().and_then(|state| key(state, "customer")));
        let role = |event: &Event| match event.pubkey {
            author if author == own => Role::Relay,
            author if Some(author) == customer => Role::Customer,
            _ if kind::is_job_result(event.kind) || event.kind == kind::JOB_FEEDBACK => Role::Provider,
            _ => Role::Other,
        };
        let told = found.values().filter(|event| event.kind != kind::JOB_STATE);
        let lines = told.map(|event| Line::of(event, role(event), &id)).collect();
        Ok(Self { id, state, lines })
    }

    /// For people.
    pub fn text(&self, now: u64) -> Vec<String> {
        let tag = |name: &str| self.state.as_ref().and_then(|state| value(state, name));
        let began = self.lines.first().map_or(now, |line| line.at);
        let mut text = vec![format!("job       {}", self.id)];
        text.extend(tag("k").map(|kind| format!("kind      {kind}")));
        text.extend(tag("status").map(|status| format!("state     {status}")));
        let parties = self.state.as_ref().map(parties).unwrap_or_default();
        text.extend(parties.iter().map(|(word, key)| format!("{word:<9} {}", npub(key))));
        let deadline = tag("deadline").and_then(|at| at.parse().ok());
        text.extend(deadline.map(|at: u64| format!("deadline  {} {}", date_of(at), clock_of(at))));
        text.extend(tag("amount").map(|amount| format!("waits for {amount} msat")));
        text.extend(tag("result").map(|result| format!("result    {result}")));
        text.push(format!(
            "began     {} {} UTC, {} ago",
            date_of(began),
            clock_of(began),
            short(now.saturating_sub(began))
        ));
        text.push(String::new());
        for line in &self.lines {
            let after = short(line.at.saturating_sub(began));
            text.push(format!("{}  +{after:<7} {:<9} {}", clock_of(line.at), line.role.as_str(), line.words));
            text.extend(line.details.iter().map(|detail| format!("{:29}{detail}", "")));
        }
        text
    }
}

fn collect(store: &RocksStore, id: &EventId, found: &mut BTreeMap<u64, Event>) -> anyhow::Result<()> {
    let tags = BTreeMap::from([(b'e', vec![id.to_hex().into_bytes().into_boxed_slice()])]);
    let filter = Filter { tags, limit: Some(EVENTS_MAX as u64), ..Filter::default() };
    reading::every(store, filter, false, 0, |record| {
        found.insert(record.sequence, record.event()?);
        Ok(())
    })
}

/// Who has to do with the job: the customer, then whoever holds or held the last lease.
fn parties(state: &Event) -> Vec<(&'static str, Pubkey)> {
    let named = [("customer", key(state, "customer")), ("provider", key(state, "provider"))];
    let mut parties: Vec<_> = named.into_iter().filter_map(|(word, key)| Some((word, key?))).collect();
    let known: BTreeSet<Pubkey> = parties.iter().map(|(_, key)| *key).collect();
    let others = state.tags().into_iter().filter(|tag| tag.first().is_some_and(|name| name == "p"));
    let others = others.filter_map(|tag| Pubkey::from_hex(tag.get(1)?)).filter(|key| !known.contains(key));
    parties.extend(others.map(|key| ("also", key)));
    parties
}

fn key(event: &Event, name: &str) -> Option<Pubkey> {
    value(event, name).and_then(|text| Pubkey::from_hex(&text))
}

fn value(event: &Event, name: &str) -> Option<String> {
    let tag = event.tags().into_iter().find(|tag| tag.first().is_some_and(|first| first == name));
    tag.and_then(|tag| tag.into_iter().nth(1))
}
