//! Three simple schedulers, with the same time-outs and the same reassignment as ours, so that only the choice is compared:
//! first come first served (the oldest job to the provider idle longest), a random feasible provider, and fixed replication by 2.

use crate::policy::{Order, Policy};
use mercato_scheduler::{Answer, Config, Feedback, Input, JobId, ProviderId, Request, ResultId, splitmix64};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Whom a simple scheduler takes of those who can do a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    IdleLongest,
    Random,
}

struct Provider {
    online: bool,
    away_since_ms: u64,
    slots: usize,
    prices: BTreeMap<u16, u64>,
    jobs: BTreeSet<JobId>,
    idle_since_ms: u64,
}

struct Job {
    request: Request,
    deadline_ms: u64,
    /// The provider of each live lease, and when it must have said the next thing.
    live: BTreeMap<ProviderId, u64>,
    tried: BTreeSet<ProviderId>,
    results: Vec<(ProviderId, ResultId, Answer)>,
}

/// One of the three.
pub struct Simple {
    config: Config,
    pick: Pick,
    /// How many results must be the same.
    quorum: usize,
    providers: BTreeMap<ProviderId, Provider>,
    jobs: BTreeMap<JobId, Job>,
    queue: VecDeque<JobId>,
    leases: u64,
    draw: u64,
    due: BTreeSet<(u64, JobId)>,
    away: BTreeSet<(u64, ProviderId)>,
}

impl Simple {
    pub fn new(config: Config, pick: Pick, quorum: usize) -> Self {
        let (providers, jobs, queue) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let (due, away) = (BTreeSet::new(), BTreeSet::new());
        Self { config, pick, quorum, providers, jobs, queue, leases: 0, draw: 0, due, away }
    }

    /// Of those who can do it: alive, with a free slot, at no more than the bid, and who have not tried it.
    fn choose(&mut self, job: &Job) -> Option<ProviderId> {
        let fits = |(id, row): &(&ProviderId, &Provider)| {
            let price = row.prices.get(&job.request.kind);
            let affordable = price.is_some_and(|price| job.request.bid_msat.is_none_or(|bid| *price <= bid));
            affordable && row.online && row.jobs.len() < row.slots && !job.tried.contains(*id)
        };
        let fitting = self.providers.iter().filter(fits);
        match self.pick {
            Pick::IdleLongest => fitting.min_by_key(|(_, row)| row.idle_since_ms).map(|(id, _)| *id),
            Pick::Random => {
                let fitting: Vec<_> = fitting.map(|(id, _)| *id).collect();
                self.draw = splitmix64(self.draw.wrapping_add(0x9e37_79b9_7f4a_7c15));
                let place = self.draw % u64::try_from(fitting.len()).unwrap_or(1).max(1);
                fitting.get(usize::try_from(place).unwrap_or(0)).copied()
            }
        }
    }

    /// Serves the queue from its front; jobs that find nobody keep their place.
    fn serve(&mut self, now_ms: u64, orders: &mut Vec<Order>) {
        let mut passed = VecDeque::new();
        let free = |row: &Provider| if row.online { row.slots.saturating_sub(row.jobs.len()) } else { 0 };
        let mut free: usize = self.providers.values().map(free).sum();
        while let Some(id) = self.queue.pop_front() {
            if free == 0 {
                self.queue.push_front(id);
                break;
            }
            let Some(mut job) = self.jobs.remove(&id) else {
                continue;
            };
            while job.live.len() + job.results.len() < self.wanted(&job) && self.may_try(&job) {
                let Some(provider) = self.choose(&job) else {
                    passed.push_back(id);
                    break;
                };
                free -= 1;
                self.leases += 1;
                let by_ms = (now_ms + self.config.accept_timeout_ms).min(job.deadline_ms);
                job.live.insert(provider, by_ms);
                job.tried.insert(provider);
                self.due.insert((by_ms, id));
                self.providers.entry(provider).and_modify(|row| {
                    row.jobs.insert(id);
                });
                orders.push(Order::Lease { job: id, provider, lease: self.leases });
            }
            self.jobs.insert(id, job);
        }
        passed.append(&mut self.queue);
        self.queue = passed;
    }

    fn may_try(&self, job: &Job) -> bool {
        let attempts = usize::try_from(self.config.attempts_default).unwrap_or(usize::MAX);
        job.tried.len() < attempts + self.quorum - 1
    }

    /// As many as must agree, and one more for each that differs.
    fn wanted(&self, job: &Job) -> usize {
        let same = |answer: &Answer| job.results.iter().filter(|(_, _, other)| other == answer).count();
        let most = job.results.iter().map(|(_, _, answer)| same(answer)).max().unwrap_or(0);
        self.quorum + job.results.len() - most
    }

    fn free(&mut self, now_ms: u64, id: JobId, provider: ProviderId) {
        if let Some(row) = self.providers.get_mut(&provider) {
            row.jobs.remove(&id);
            row.idle_since_ms = now_ms;
        }
    }

    /// A lease ended without a result: the job goes to the front, or is over.
    fn fail(&mut self, now_ms: u64, id: JobId, provider: ProviderId, orders: &mut Vec<Order>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.live.remove(&provider).is_none() {
            return;
        }
        let idle = job.live.is_empty();
        orders.push(Order::Withdraw { job: id, provider });
        self.free(now_ms, id, provider);
        self.go_on(now_ms, id, idle, orders);
    }

    fn go_on(&mut self, now_ms: u64, id: JobId, idle: bool, orders: &mut Vec<Order>) {
        let more = self.jobs.get(&id).is_some_and(|job| self.may_try(job));
        if more {
            if !self.queue.contains(&id) {
                self.queue.push_front(id);
            }
        } else if idle {
            self.end(now_ms, id, None, orders);
        }
    }

    fn end(&mut self, now_ms: u64, id: JobId, winner: Option<(ProviderId, ResultId)>, orders: &mut Vec<Order>) {
        let Some(job) = self.jobs.remove(&id) else {
            return;
        };
        for provider in job.live.into_keys() {
            orders.push(Order::Withdraw { job: id, provider });
            self.free(now_ms, id, provider);
        }
        orders.push(Order::End { job: id, winner });
    }

    fn result(&mut self, now_ms: u64, id: JobId, by: (ProviderId, ResultId, Answer), orders: &mut Vec<Order>) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.tried.contains(&by.0)) else {
            return;
        };
        if job.results.iter().any(|(provider, _, _)| *provider == by.0) {
            return;
        }
        job.live.remove(&by.0);
        let provider = by.0;
        job.results.push(by);
        let idle = job.live.is_empty();
        let mut results = job.results.iter();
        let agrees = |(_, _, answer): &&(ProviderId, ResultId, Answer)| {
            job.results.iter().filter(|(_, _, other)| other == answer).count() >= self.quorum
        };
        let winner = results.find(agrees).map(|(provider, result, _)| (*provider, *result));
        self.free(now_ms, id, provider);
        match winner {
            Some(_) => self.end(now_ms, id, winner, orders),
            None => self.go_on(now_ms, id, idle, orders),
        }
    }

    fn tick(&mut self, now_ms: u64, orders: &mut Vec<Order>) {
        while let Some((at_ms, id)) = self.due.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.due.remove(&(at_ms, id));
            let Some(job) = self.jobs.get(&id) else {
                continue;
            };
            if job.deadline_ms <= now_ms {
                self.end(now_ms, id, None, orders);
                continue;
            }
            let over = job.live.iter().filter(|(_, by_ms)| **by_ms <= now_ms);
            for provider in over.map(|(provider, _)| *provider).collect::<Vec<_>>() {
                self.fail(now_ms, id, provider, orders);
            }
        }
        while let Some((at_ms, id)) = self.away.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.away.remove(&(at_ms, id));
            let gone = |row: &&Provider| !row.online && row.away_since_ms + self.config.disconnect_grace_ms <= now_ms;
            let jobs = self.providers.get(&id).filter(gone).map(|row| row.jobs.clone());
            for job in jobs.into_iter().flatten() {
                self.fail(now_ms, job, id, orders);
            }
        }
    }
}

impl Policy for Simple {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what they are not told of they do without")]
    fn step(&mut self, now_ms: u64, input: Input) -> Vec<Order> {
        let mut orders = Vec::new();
        match input {
            Input::Advertise { provider, advert } => {
                let slots = usize::try_from(advert.slots.unwrap_or(1)).unwrap_or(1);
                let prices = advert.kinds.iter().map(|offer| (offer.kind, offer.price_msat.unwrap_or(0))).collect();
                let (online, jobs, idle_since_ms) = (true, BTreeSet::new(), now_ms);
                let row = Provider { online, away_since_ms: 0, slots, prices, jobs, idle_since_ms };
                self.providers.insert(provider, row);
            }
            Input::Online { provider } => {
                self.providers.entry(provider).and_modify(|row| row.online = true);
            }
            Input::Offline { provider } => {
                self.providers.entry(provider).and_modify(|row| {
                    row.online = false;
                    row.away_since_ms = now_ms;
                });
                self.away.insert((now_ms + self.config.disconnect_grace_ms, provider));
            }
            Input::Request { job, request, .. } => {
                let latest_ms = now_ms + self.config.job_timeout_ms;
                let deadline_ms = request.deadline_ms.unwrap_or(latest_ms);
                let (live, tried, results) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
                self.jobs.insert(job, Job { request, deadline_ms, live, tried, results });
                self.due.insert((deadline_ms, job));
                self.queue.push_back(job);
            }
            Input::Feedback { job, provider, feedback: Feedback::Processing, .. } => {
                if let Some(row) = self.jobs.get_mut(&job)
                    && let Some(by_ms) = row.live.get_mut(&provider)
                {
                    *by_ms = (now_ms + self.config.run_timeout_ms).min(row.deadline_ms);
                    self.due.insert((*by_ms, job));
                }
            }
            Input::Feedback { job, provider, feedback: Feedback::Error { .. }, .. } => {
                self.fail(now_ms, job, provider, &mut orders);
            }
            Input::Result { job, provider, result, answer, .. } => {
                self.result(now_ms, job, (provider, result, answer), &mut orders);
            }
            Input::Tick => self.tick(now_ms, &mut orders),
            _ => {}
        }
        self.serve(now_ms, &mut orders);
        orders
    }

    fn next_ms(&self) -> Option<u64> {
        let due = self.due.first().map(|(at_ms, _)| *at_ms);
        due.into_iter().chain(self.away.first().map(|(at_ms, _)| *at_ms)).min()
    }
}
