//! Bounds on what clients may ask.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Network;
use crate::nostr::{FilterLimits, MessageLimits};

/// Bounds on what one client may ask; rates are a second, 0 turns a rate off.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    /// Seconds a client has for its handshake, TLS included.
    pub handshake_timeout_s: u64,
    /// Connections that have not finished their handshake; more wait in the system's queue.
    pub max_pending_handshakes: usize,
    pub max_message_bytes: usize,
    pub max_event_bytes: usize,
    pub max_tags: usize,
    pub max_tag_value_bytes: usize,
    pub max_subscriptions: usize,
    pub max_filters: usize,
    pub max_filter_elements: usize,
    pub max_filter_tags: usize,
    /// Events answered to one filter.
    pub max_limit: u64,
    /// Events in a set that is searched for to reconcile it (NIP-77).
    pub max_sync_events: u64,
    /// Bytes waiting for one client before it is closed as too slow.
    pub max_outbound_bytes: usize,
    /// Events of all clients waiting for the writer; who publishes more is read more slowly.
    pub max_pending_events: usize,
    /// Events counted in answer to one COUNT.
    pub max_count: u64,
    /// Leading zero bits that an event's id must have (NIP-13); 0: none.
    pub min_pow: u8,
    /// Kinds that need no such work.
    pub min_pow_except: Vec<u16>,
    /// How far ahead of the clock `created_at` may be.
    pub created_at_future_s: u64,
    /// How old an event may be; 0: any age.
    pub created_at_past_s: u64,
    /// How old an ephemeral event may be.
    pub ephemeral_past_s: u64,
    pub event_rate_ip: u32,
    pub event_burst_ip: u32,
    pub event_rate_pubkey: u32,
    pub event_burst_pubkey: u32,
    /// Leading zero bits that the id of a job request must have (NIP-13), where that is more; 0: none.
    pub job_min_pow: u8,
    /// Job requests a minute.
    pub job_rate_ip: u32,
    pub job_burst_ip: u32,
    pub job_rate_pubkey: u32,
    pub job_burst_pubkey: u32,
    pub req_rate_ip: u32,
    pub req_burst_ip: u32,
    pub auth_rate_ip: u32,
    pub auth_burst_ip: u32,
    /// Bytes of WebSocket frames.
    pub read_rate_ip: u32,
    pub read_burst_ip: u32,
    /// Bad signatures from one address, before nothing of it is looked at for a while.
    pub invalid_rate_ip: u32,
    pub invalid_burst_ip: u32,
    /// Networks whose clients have no rate or connection limit, as `address/bits`.
    pub exempt: Vec<Network>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_ip: 200,
            handshake_timeout_s: 10,
            max_pending_handshakes: 1_024,
            max_message_bytes: 131_072,
            max_event_bytes: 65_536,
            max_tags: 2_000,
            max_tag_value_bytes: 1_024,
            max_subscriptions: 200,
            max_filters: 200,
            max_filter_elements: 4_096,
            max_filter_tags: 3,
            max_limit: 500,
            max_sync_events: 1_000_000,
            max_outbound_bytes: 33_554_432,
            max_pending_events: 20_000,
            max_count: 1_000_000,
            min_pow: 0,
            min_pow_except: Vec::new(),
            created_at_future_s: 900,
            created_at_past_s: 94_608_000,
            ephemeral_past_s: 60,
            event_rate_ip: 100,
            event_burst_ip: 2_000,
            event_rate_pubkey: 50,
            event_burst_pubkey: 1_000,
            job_min_pow: 0,
            job_rate_ip: 1_200,
            job_burst_ip: 1_000,
            job_rate_pubkey: 600,
            job_burst_pubkey: 500,
            req_rate_ip: 50,
            req_burst_ip: 500,
            auth_rate_ip: 5,
            auth_burst_ip: 50,
            read_rate_ip: 0,
            read_burst_ip: 4_194_304,
            invalid_rate_ip: 5,
            invalid_burst_ip: 100,
            exempt: Network::loopback(),
        }
    }
}

impl LimitsConfig {
    pub fn message(&self) -> MessageLimits {
        MessageLimits {
            max_filters: self.max_filters,
            filter: FilterLimits { max_elements: self.max_filter_elements, max_tags: self.max_filter_tags },
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.max_message_bytes >= 1_024, "limits.max_message_bytes must be 1024 or more");
        ensure!(
            self.max_event_bytes <= self.max_message_bytes,
            "limits.max_event_bytes must not be above limits.max_message_bytes"
        );
        ensure!(self.max_limit >= 1, "limits.max_limit must be 1 or more");
        ensure!(self.max_count >= 1, "limits.max_count must be 1 or more");
        ensure!(self.max_connections_per_ip <= 1_000_000, "limits.max_connections_per_ip must be 1000000 or less");
        ensure!(self.handshake_timeout_s >= 1, "limits.handshake_timeout_s must be 1 or more");
        ensure!(self.max_pending_handshakes >= 1, "limits.max_pending_handshakes must be 1 or more");
        ensure!(self.max_connections >= 1, "limits.max_connections must be 1 or more");
        ensure!(self.max_pending_events >= 1, "limits.max_pending_events must be 1 or more");
        ensure!(
            self.max_outbound_bytes >= 2 * self.max_message_bytes,
            "limits.max_outbound_bytes must hold two messages of limits.max_message_bytes"
        );
        ensure!(
            self.read_rate_ip == 0 || self.read_burst_ip as usize >= self.max_message_bytes,
            "limits.read_burst_ip must hold a message of limits.max_message_bytes"
        );
        Ok(())
    }
}
