//! Policies written for nostr-relay-builder, taken as they are.

use std::net::SocketAddr;

use nostr::JsonUtil;
use nostr_relay_builder::builder::{self, PolicyResult};

use super::{Judging, QueryPolicy, QueryVerdict, Verdict, WritePolicy, with_prefix};
use crate::nostr::{Event, Filter};

/// A nostr-relay-builder policy as one of ours.
#[derive(Debug)]
pub struct Adapted<P>(pub P);

impl<P: builder::WritePolicy> WritePolicy for Adapted<P> {
    fn admit_event<'a>(&'a self, event: &'a Event, from: &'a SocketAddr) -> Judging<'a, Verdict> {
        Box::pin(async move {
            match nostr::Event::from_json(event.body()) {
                Ok(event) => match self.0.admit_event(&event, from).await {
                    PolicyResult::Accept => Verdict::Accept,
                    PolicyResult::Reject(text) => Verdict::Reject(with_prefix(&text)),
                },
                Err(error) => Verdict::Reject(format!("error: a policy could not read the event: {error}")),
            }
        })
    }
}

impl<P: builder::QueryPolicy> QueryPolicy for Adapted<P> {
    fn admit_query<'a>(&'a self, filter: &'a Filter, from: &'a SocketAddr) -> Judging<'a, QueryVerdict> {
        Box::pin(async move {
            let filter = nostr::Filter::from_json(filter.to_json())
                .map_err(|error| format!("error: a policy could not read the filter: {error}"))?;
            match self.0.admit_query(&filter, from).await {
                PolicyResult::Accept => Ok(()),
                PolicyResult::Reject(text) => Err(with_prefix(&text)),
            }
        })
    }
}
