//! Rate limits by address and by author, one token bucket each (governor).

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::config::{LimitsConfig, Network};
use crate::nostr::Pubkey;

/// Keys remembered before the ones that are full again are dropped.
const SHRINK_ABOVE: usize = 10_000;
/// Muted addresses remembered.
const MUTED: usize = 10_000;
/// How long an address stays muted after one bad signature too many.
const MUTE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Rates {
    event_ip: Bucket<IpAddr>,
    event_pubkey: Bucket<Pubkey>,
    job_ip: Bucket<IpAddr>,
    job_pubkey: Bucket<Pubkey>,
    req_ip: Bucket<IpAddr>,
    auth_ip: Bucket<IpAddr>,
    invalid_ip: Bucket<IpAddr>,
    /// Addresses that sent too many bad signatures, and until when nothing of theirs is looked at. Bounded: the first
    /// to be forgotten are those seen least.
    muted: Cache<IpAddr, Instant>,
    read_ip: Bucket<IpAddr>,
    read_burst_ip: u32,
    exempt: Vec<Network>,
}

/// One kind of limit; `None` when the operator turned it off.
#[derive(Debug)]
struct Bucket<K: Hash + Eq + Clone>(Option<DefaultKeyedRateLimiter<K>>);

impl Rates {
    pub fn new(limits: &LimitsConfig) -> Self {
        Self {
            event_ip: Bucket::new(limits.event_rate_ip, limits.event_burst_ip),
            event_pubkey: Bucket::new(limits.event_rate_pubkey, limits.event_burst_pubkey),
            job_ip: Bucket::per_minute(limits.job_rate_ip, limits.job_burst_ip),
            job_pubkey: Bucket::per_minute(limits.job_rate_pubkey, limits.job_burst_pubkey),
            req_ip: Bucket::new(limits.req_rate_ip, limits.req_burst_ip),
            auth_ip: Bucket::new(limits.auth_rate_ip, limits.auth_burst_ip),
            invalid_ip: Bucket::new(limits.invalid_rate_ip, limits.invalid_burst_ip),
            muted: Cache::new(MUTED),
            read_ip: Bucket::new(limits.read_rate_ip, limits.read_burst_ip),
            read_burst_ip: limits.read_burst_ip,
            exempt: limits.exempt.clone(),
        }
    }

    pub fn is_exempt(&self, ip: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(ip))
    }

    /// An EVENT message, before its author is known to be who it says.
    pub fn event_from(&self, ip: IpAddr) -> bool {
        self.is_exempt(ip) || self.event_ip.allows(client(ip))
    }

    /// An event whose signature was bad. Checking one costs more than sending it, so an address that goes on is muted.
    pub fn invalid_from(&self, ip: IpAddr) {
        if !self.is_exempt(ip) && !self.invalid_ip.allows(client(ip)) {
            self.muted.insert(client(ip), Instant::now() + MUTE);
        }
    }

    /// Whether events from this address are to be refused without a look.
    pub fn is_muted(&self, ip: IpAddr) -> bool {
        // Usually there is nobody.
        !self.muted.is_empty() && self.muted.get(&client(ip)).is_some_and(|until| Instant::now() < until)
    }

    /// An event whose signature was good.
    pub fn event_by(&self, ip: IpAddr, author: &Pubkey) -> bool {
        self.is_exempt(ip) || self.event_pubkey.allows(*author)
    }

    /// A job request whose signature was good; `Err` says whose requests are too many.
    pub fn job_by(&self, ip: IpAddr, customer: &Pubkey) -> Result<(), &'static str> {
        if self.is_exempt(ip) {
            return Ok(());
        }
        // The customer first: who asks too much under one key does not use up what his neighbours may ask.
        if !self.job_pubkey.allows(*customer) {
            return Err("you");
        }
        if self.job_ip.allows(client(ip)) { Ok(()) } else { Err("your address") }
    }

    pub fn req_from(&self, ip: IpAddr) -> bool {
        self.is_exempt(ip) || self.req_ip.allows(client(ip))
    }

    pub fn auth_from(&self, ip: IpAddr) -> bool {
        self.is_exempt(ip) || self.auth_ip.allows(client(ip))
    }

    /// Charges an address for bytes that it has sent. `Some` when it must wait, and be charged again then.
    pub fn pause_after(&self, ip: IpAddr, bytes: u32) -> Option<Duration> {
        let limiter = self.read_ip.0.as_ref()?;
        let bytes = NonZeroU32::new(bytes.min(self.read_burst_ip))?;
        if self.is_exempt(ip) {
            return None;
        }
        self.read_ip.shrink();
        let refusal = limiter.check_key_n(&client(ip), bytes).ok()?.err()?;
        Some(refusal.wait_time_from(limiter.clock().now()))
    }
}

/// Who counts as one client: an IPv4 address, or the /64 that one IPv6 customer is given.
pub fn client(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

impl<K: Hash + Eq + Clone> Bucket<K> {
    fn new(per_second: u32, burst: u32) -> Self {
        Self::with(per_second, burst, Quota::per_second)
    }

    fn per_minute(rate: u32, burst: u32) -> Self {
        Self::with(rate, burst, Quota::per_minute)
    }

    fn with(rate: u32, burst: u32, quota: fn(NonZeroU32) -> Quota) -> Self {
        let Some(rate) = NonZeroU32::new(rate) else { return Self(None) };
        let burst = NonZeroU32::new(burst).unwrap_or(rate);
        Self(Some(RateLimiter::keyed(quota(rate).allow_burst(burst))))
    }

    fn allows(&self, key: K) -> bool {
        let Some(limiter) = &self.0 else { return true };
        self.shrink();
        limiter.check_key(&key).is_ok()
    }

    fn shrink(&self) {
        if let Some(limiter) = &self.0
            && limiter.len() > SHRINK_ABOVE
        {
            limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        let limits = LimitsConfig { event_rate_ip: 1, event_burst_ip: 2, ..LimitsConfig::default() };
        Rates::new(&limits)
    }

    #[test]
    fn a_client_is_stopped_after_its_burst_and_its_neighbour_is_not() {
        let (rates, ip) = (rates(), |text: &str| text.parse().unwrap());
        assert!(rates.event_from(ip("10.0.0.1")));
        assert!(rates.event_from(ip("10.0.0.1")));
        assert!(!rates.event_from(ip("10.0.0.1")));
        assert!(rates.event_from(ip("10.0.0.2")));
    }

    #[test]
    fn a_customer_and_an_address_may_each_ask_for_so_many_jobs() {
        let limits = LimitsConfig {
            job_rate_pubkey: 1,
            job_burst_pubkey: 2,
            job_rate_ip: 1,
            job_burst_ip: 3,
            ..LimitsConfig::default()
        };
        let (rates, ip) = (Rates::new(&limits), |text: &str| text.parse().unwrap());
        let (one, two) = (Pubkey([1; 32]), Pubkey([2; 32]));
        let here = ip("10.0.0.1");
        assert_eq!([(); 3].map(|()| rates.job_by(here, &one)), [Ok(()), Ok(()), Err("you")]);
        assert_eq!([(); 2].map(|()| rates.job_by(here, &two)), [Ok(()), Err("your address")]);
        assert_eq!(rates.job_by(ip("10.0.0.2"), &Pubkey([3; 32])), Ok(()));
        assert!((0..10).all(|_| rates.job_by(ip("127.0.0.1"), &one).is_ok()));
    }

    #[test]
    fn who_sends_too_many_bad_signatures_is_muted_and_its_neighbour_is_not() {
        let limits = LimitsConfig { invalid_rate_ip: 1, invalid_burst_ip: 2, ..LimitsConfig::default() };
        let (rates, ip) = (Rates::new(&limits), |text: &str| text.parse().unwrap());
        for _ in 0..2 {
            rates.invalid_from(ip("10.0.0.1"));
            assert!(!rates.is_muted(ip("10.0.0.1")), "a few may be an honest mistake");
        }
        rates.invalid_from(ip("10.0.0.1"));
        assert!(rates.is_muted(ip("10.0.0.1")) && !rates.is_muted(ip("10.0.0.2")));
        (0..10).for_each(|_| rates.invalid_from(ip("127.0.0.1")));
        assert!(!rates.is_muted(ip("127.0.0.1")));
    }

    #[test]
    fn who_sends_more_bytes_than_allowed_waits_and_is_charged_then() {
        let limits = LimitsConfig { read_rate_ip: 1_000, read_burst_ip: 1_000, ..LimitsConfig::default() };
        let (rates, ip) = (Rates::new(&limits), |text: &str| text.parse().unwrap());
        assert_eq!(rates.pause_after(ip("10.0.0.1"), 0), None);
        assert_eq!(rates.pause_after(ip("10.0.0.1"), 900), None);
        let pause = rates.pause_after(ip("10.0.0.1"), 500).expect("only 100 are left");
        assert!(pause > Duration::from_millis(100) && pause <= Duration::from_millis(400), "{pause:?}");
        assert_eq!(rates.pause_after(ip("10.0.0.2"), 5_000), None, "more than a burst counts as a burst");
        assert_eq!(rates.pause_after(ip("127.0.0.1"), 5_000_000), None);
    }

    #[test]
    fn one_ipv6_customer_is_one_client_and_loopback_is_exempt() {
        let (rates, ip) = (rates(), |text: &str| text.parse().unwrap());
        assert!(rates.event_from(ip("2001:db8::1")));
        assert!(rates.event_from(ip("2001:db8::2")));
        assert!(!rates.event_from(ip("2001:db8::3")));
        assert!((0..100).all(|_| rates.event_from(ip("127.0.0.1"))));
    }
}
