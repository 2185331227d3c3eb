//! What the operator allows beyond the protocol: rates, and policies that others write.

pub mod rate;
mod readers;
#[cfg(feature = "relay-builder")]
pub mod relay_builder;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

pub use self::readers::{Reach, Readers};
use crate::nostr::{Event, Filter};

/// What a policy answers; a refusal's text starts with a machine prefix (NIP-01).
pub type Verdict = Result<(), String>;

/// A verdict that may take time to reach. It holds up its own client only.
pub type Judging<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Decides which well-formed, signed events are stored.
pub trait WritePolicy: std::fmt::Debug + Send + Sync {
    fn admit_event<'a>(&'a self, event: &'a Event, from: &'a SocketAddr) -> Judging<'a>;
}

/// Decides which filters are answered.
pub trait QueryPolicy: std::fmt::Debug + Send + Sync {
    fn admit_query<'a>(&'a self, filter: &'a Filter, from: &'a SocketAddr) -> Judging<'a>;
}

/// Every policy of a relay; all must agree.
#[derive(Debug, Default)]
pub struct Policies {
    pub write: Vec<Box<dyn WritePolicy>>,
    pub query: Vec<Box<dyn QueryPolicy>>,
}

impl Policies {
    pub async fn admit_event(&self, event: &Event, from: &SocketAddr) -> Verdict {
        for policy in &self.write {
            policy.admit_event(event, from).await?;
        }
        Ok(())
    }

    pub async fn admit_query(&self, filters: &[Filter], from: &SocketAddr) -> Verdict {
        for policy in &self.query {
            for filter in filters {
                policy.admit_query(filter, from).await?;
            }
        }
        Ok(())
    }
}
