//! What happens whatever the scheduler decides: who comes and goes when, and which jobs are asked for. A function of the seed.

use crate::cast::{Cast, Character};
use crate::rng::Rng;
use mercato_scheduler::{Advert, JobId, Offer, ProviderId};

pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const KINDS: [u16; 2] = [5_050, 5_300];
/// Time of an average job at an average provider.
const RUN_MS: u64 = 30 * SECOND;
/// Work that is asked for, in thousandths of what the advertised slots could do (over-claimed ones left out).
const LOAD_PERMILLE: u64 = 250;

/// A provider while it is there.
#[derive(Clone)]
pub struct Session {
    pub id: ProviderId,
    pub character: Character,
    pub advert: Advert,
    /// Its time for a job, in thousandths of the average.
    pub slowness: u64,
    pub from_ms: u64,
    pub until_ms: u64,
    /// A key that nobody has seen before, in a market that is running.
    pub is_newcomer: bool,
}

/// A job that is asked for.
#[derive(Clone)]
pub struct Ask {
    pub job: JobId,
    pub at_ms: u64,
    pub customer: u64,
    pub kind: u16,
    pub bid_msat: Option<u64>,
    /// Its time at an average provider.
    pub run_ms: u64,
}

pub struct Script {
    pub sessions: Vec<Session>,
    pub asks: Vec<Ask>,
}

impl Script {
    pub fn write(seed: u64, cast: Cast, hours: u64) -> Self {
        let mut rng = Rng::new(seed);
        let end_ms = hours * HOUR;
        let mut sessions = Vec::new();
        for seat in 0..cast.providers {
            seat_sessions(seat, cast, end_ms, &mut rng, &mut sessions);
        }
        Self { sessions, asks: asks(cast, end_ms, &mut rng) }
    }
}

/// Everybody leaves with the probability of the churn once in each hour; half come back, for the others somebody new does.
fn seat_sessions(seat: u64, cast: Cast, end_ms: u64, rng: &mut Rng, sessions: &mut Vec<Session>) {
    let character = cast.character(seat);
    let (mut key, mut from_ms, mut is_newcomer) = (0, rng.between(0, 10 * SECOND), false);
    let (mut advert, mut slowness) = (advert(character, rng), rng.between(500, 1_500));
    while from_ms < end_ms {
        let mut until_ms = from_ms + rng.between(0, HOUR);
        while !rng.chance(cast.churn_permille) {
            until_ms += HOUR;
        }
        let (id, offers) = (provider_id(seat, key), advert.clone());
        sessions.push(Session { id, character, advert: offers, slowness, from_ms, until_ms, is_newcomer });
        from_ms = until_ms + rng.between(MINUTE, 20 * MINUTE);
        is_newcomer = rng.chance(500);
        if is_newcomer {
            key += 1;
            (advert, slowness) = (self::advert(character, rng), rng.between(500, 1_500));
        }
    }
}

fn provider_id(seat: u64, key: u64) -> ProviderId {
    let mut id = [0x11; 32];
    id[..8].copy_from_slice(&mercato_scheduler::splitmix64(seat).to_le_bytes());
    id[8..16].copy_from_slice(&key.to_le_bytes());
    ProviderId(id)
}

fn advert(character: Character, rng: &mut Rng) -> Advert {
    let only = rng.index(KINDS.len());
    let both = rng.chance(500);
    let served = KINDS.into_iter().enumerate().filter(|(at, _)| both || *at == only);
    let offers = served.map(|(_, kind)| Offer { kind, price_msat: Some(rng.between(300, 2_000)) });
    let kinds = offers.collect();
    let slots = if character == Character::Overclaims { 20 } else { rng.between(1, 4) };
    Advert { kinds, caps: Vec::new(), accept: Vec::new(), slots: u32::try_from(slots).ok() }
}

fn asks(cast: Cast, end_ms: u64, rng: &mut Rng) -> Vec<Ask> {
    let slots = 2 * cast.providers;
    let mean_ms = RUN_MS * 1_000 / (slots * LOAD_PERMILLE);
    let mut at_us = 30 * SECOND * 1_000;
    let mut asks = Vec::new();
    // Some time is left for the last jobs.
    while at_us / 1_000 + 10 * MINUTE < end_ms {
        let id = std::array::from_fn(|_| u8::try_from(rng.draw() % 256).unwrap_or(0));
        asks.push(Ask {
            job: JobId(id),
            at_ms: at_us / 1_000,
            customer: rng.between(0, cast.customers),
            kind: KINDS[rng.index(KINDS.len())],
            bid_msat: rng.maybe(500, 1_000, 3_000),
            run_ms: rng.between(RUN_MS / 2, RUN_MS * 3 / 2),
        });
        at_us += rng.between(0, 2_000 * mean_ms + 1);
    }
    asks
}
