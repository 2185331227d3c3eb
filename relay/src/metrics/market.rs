//! What is counted of the market.

use mercato_scheduler::{End, Fact, Presence, State, Status};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Labelled;

const ENDS: [&str; 4] = ["succeeded", "failed", "cancelled", "expired"];
const STATES: [&str; 8] = ["blocked", "bidding", "queued", "open", "leased", "running", "payment", "validating"];

/// Clones count in the same place.
#[derive(Debug, Clone)]
pub struct MarketMeters {
    jobs: Labelled<Gauge, 8>,
    providers: Gauge,
    providers_online: Gauge,
    requests: Counter,
    leases: Labelled<Counter, 2>,
    lost_leases: Counter,
    stragglers: Counter,
    backups: Counter,
    ended: Labelled<Counter, 4>,
}

impl Default for MarketMeters {
    fn default() -> Self {
        Self {
            jobs: Labelled::new("state", STATES, Gauge::default),
            providers: Gauge::default(),
            providers_online: Gauge::default(),
            requests: Counter::default(),
            leases: Labelled::counters("attempt", ["first", "later"]),
            lost_leases: Counter::default(),
            stragglers: Counter::default(),
            backups: Counter::default(),
            ended: Labelled::counters("end", ENDS),
        }
    }
}

impl MarketMeters {
    pub fn register(&self, registry: &mut Registry) {
        self.jobs.register(registry, "mercato_jobs", "Jobs that have not ended");
        registry.register("mercato_providers", "Providers in the directory", self.providers.clone());
        registry.register("mercato_providers_online", "Providers that are connected", self.providers_online.clone());
        registry.register("mercato_job_requests", "Jobs taken", self.requests.clone());
        self.leases.register(registry, "mercato_leases", "Leases given, first ones and those after one that failed");
        registry.register("mercato_leases_lost", "Leases that ended without a result", self.lost_leases.clone());
        registry.register("mercato_stragglers", "Runs that were to have a backup", self.stragglers.clone());
        registry.register("mercato_backup_leases", "Leases given beside a slow one", self.backups.clone());
        self.ended.register(registry, "mercato_jobs_ended", "Jobs that ended");
    }

    /// Counts what has just happened; `state` knows of it already.
    pub fn note(&self, fact: &Fact, state: &State) {
        match fact {
            Fact::Requested { .. } => drop(self.requests.inc()),
            Fact::Leased { job, lease, .. } => {
                let job = state.jobs().get(job);
                let later = job.is_some_and(|job| !job.attempts.is_empty());
                self.leases.inc(usize::from(later));
                let backs_up = job.and_then(|job| job.backup).is_some_and(|backup| backup.lease == Some(*lease));
                self.backups.inc_by(u64::from(backs_up));
            }
            Fact::Straggled { .. } => drop(self.stragglers.inc()),
            Fact::LeaseEnded { .. } => drop(self.lost_leases.inc()),
            Fact::Ended { end, .. } => self.ended.inc(match end {
                End::Succeeded { .. } => 0,
                End::Failed => 1,
                End::Cancelled => 2,
                End::Expired => 3,
            }),
            _ => {}
        }
    }

    /// Counts who is there, and the open jobs by their state.
    pub fn census(&self, state: &State) {
        let online = state.providers().tally(|provider| Some(provider.presence == Presence::Online));
        self.providers.set(state.providers().len() as i64);
        self.providers_online.set(online.get(&true).copied().unwrap_or(0) as i64);
        let counts = state.jobs().tally(|job| place(job.status()));
        for place in 0..STATES.len() {
            self.jobs.at(place).set(counts.get(&place).copied().unwrap_or(0) as i64);
        }
    }
}

fn place(status: Status) -> Option<usize> {
    match status {
        Status::Blocked => Some(0),
        Status::Bidding => Some(1),
        Status::Queued => Some(2),
        Status::Open => Some(3),
        Status::Leased => Some(4),
        Status::Running => Some(5),
        Status::AwaitingPayment => Some(6),
        Status::Validating => Some(7),
        Status::Succeeded | Status::Failed | Status::Cancelled | Status::Expired | Status::Settled | Status::Unpaid => {
            None
        }
    }
}
