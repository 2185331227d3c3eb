//! Policies written for nostr-relay-builder, taken as they are.

use std::net::SocketAddr;

use nostr::JsonUtil;
use nostr_relay_builder::builder::{self, PolicyResult};

use super::{Judging, QueryPolicy, Verdict, WritePolicy};
use crate::nostr::{Event, Filter};

/// A nostr-relay-builder policy as one of ours.
#[derive(Debug)]
pub struct Adapted<P>(pub P);

impl<P: builder::WritePolicy> WritePolicy for Adapted<P> {
    fn admit_event<'a>(&'a self, event: &'a Event, from: &'a SocketAddr) -> Judging<'a> {
        Box::pin(async move {
            let event = nostr::Event::from_json(event.body())
                .map_err(|error| format!("error: a policy could not read the event: {error}"))?;
            verdict(self.0.admit_event(&event, from).await)
        })
    }
}

impl<P: builder::QueryPolicy> QueryPolicy for Adapted<P> {
    fn admit_query<'a>(&'a self, filter: &'a Filter, from: &'a SocketAddr) -> Judging<'a> {
        Box::pin(async move {
            let filter = nostr::Filter::from_json(filter.to_json())
                .map_err(|error| format!("error: a policy could not read the filter: {error}"))?;
            verdict(self.0.admit_query(&filter, from).await)
        })
    }
}

/// nostr-relay-builder leaves the machine prefix to the policy; one without gets `blocked:`.
fn verdict(result: PolicyResult) -> Verdict {
    match result {
        PolicyResult::Accept => Ok(()),
        PolicyResult::Reject(text) if text.contains(": ") => Err(text),
        PolicyResult::Reject(text) => Err(format!("blocked: {text}")),
    }
}
