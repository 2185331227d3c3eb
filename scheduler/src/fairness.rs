//! Whose turn it is in a queue: start-time fair queueing among customers.
//!
//! Each kind has a virtual time. A job is given a start on it when it comes: the present, or the end of its customer's job before, if that is
//! later. It ends so much later as it weighs: [`LENGTH`] for each replica, divided by the customer's rank, which comes from what it paid.
//! Queues are served by start, of equals by arrival, and the virtual time is the latest start that was served. So the customers that wait share
//! the leases of a kind by their rank, a thousand jobs of one do not delay the single one of another, and one customer's jobs keep their order.
//!
//! A kind is remembered while it has open jobs, a customer in it likewise: who comes back starts at the present.

use crate::id::CustomerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The virtual length of a job of one replica of a customer of rank 1.
const LENGTH: u64 = 1 << 20;

/// A job's place in the virtual time of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Who starts first is served first.
    pub start: u64,
    /// When the customer's next job starts at the earliest.
    pub end: u64,
}

/// The virtual times of all kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fairness(BTreeMap<u16, Clock>);

/// The virtual time of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Clock {
    now: u64,
    customers: BTreeMap<CustomerId, Backlog>,
}

/// A customer with open jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Backlog {
    open: usize,
    /// When its next job starts at the earliest.
    end: u64,
}

/// Of a queue: its kind, its time, and where the turns of some of its customers end.
pub(crate) type Row = (u16, u64, Vec<(CustomerId, u64)>);

impl Fairness {
    /// The span of a job that comes now; without replicas it waits for nobody, and takes nothing from its customer's share.
    pub fn span(&self, kind: u16, customer: CustomerId, rank: u32, replicas: u32) -> Span {
        let clock = self.0.get(&kind);
        let backlog = clock.and_then(|clock| clock.customers.get(&customer));
        let start = clock.map_or(0, |clock| clock.now).max(backlog.map_or(0, |backlog| backlog.end));
        let length = LENGTH.saturating_mul(replicas.into()) / u64::from(rank.max(1));
        Span { start, end: start.saturating_add(length) }
    }

    /// A job of a customer is open.
    pub fn enter(&mut self, kind: u16, customer: CustomerId, span: Span) {
        let backlog = self.0.entry(kind).or_default().customers.entry(customer).or_default();
        backlog.open += 1;
        backlog.end = backlog.end.max(span.end);
    }

    /// A job is served.
    pub fn serve(&mut self, kind: u16, span: Span) {
        if let Some(clock) = self.0.get_mut(&kind) {
            clock.now = clock.now.max(span.start);
        }
    }

    /// A job of a customer has ended.
    pub fn leave(&mut self, kind: u16, customer: CustomerId) {
        let Some(clock) = self.0.get_mut(&kind) else {
            return;
        };
        if let Some(backlog) = clock.customers.get_mut(&customer) {
            backlog.open = backlog.open.saturating_sub(1);
            if backlog.open == 0 {
                clock.customers.remove(&customer);
            }
        }
        if clock.customers.is_empty() {
            self.0.remove(&kind);
        }
    }

    /// What cannot be told from the open jobs: the times, and the ends of each customer, a bounded number at a time.
    pub fn rows(&self) -> Vec<Row> {
        const CUSTOMERS_MAX: usize = 1_000;
        let mut rows = Vec::new();
        for (kind, clock) in &self.0 {
            let ends: Vec<_> = clock.customers.iter().map(|(customer, backlog)| (*customer, backlog.end)).collect();
            rows.extend(ends.chunks(CUSTOMERS_MAX).map(|ends| (*kind, clock.now, ends.to_vec())));
        }
        rows
    }

    /// Takes back a row; the customers have open jobs.
    pub fn restore(&mut self, kind: u16, now: u64, ends: &[(CustomerId, u64)]) -> Result<(), &'static str> {
        let clock = self.0.get_mut(&kind).ok_or("a queue without jobs has a time")?;
        clock.now = now;
        for (customer, end) in ends {
            let backlog = clock.customers.get_mut(customer).ok_or("a customer without jobs has a turn")?;
            backlog.end = *end;
        }
        Ok(())
    }

    /// Whether these jobs are the ones that are counted, and none of them lies behind its customer's end.
    pub fn counts(&self, jobs: impl Iterator<Item = (u16, CustomerId, Span)>) -> bool {
        let mut counted = Self::default();
        jobs.for_each(|(kind, customer, span)| counted.enter(kind, customer, span));
        let all = |fairness: &Self| {
            let kinds = fairness.0.iter().flat_map(|(kind, clock)| clock.customers.iter().map(move |row| (*kind, row)));
            kinds.map(|(kind, (customer, backlog))| (kind, *customer, *backlog)).collect::<Vec<_>>()
        };
        let (known, counted) = (all(self), all(&counted));
        let fits = |(one, other): (&(u16, CustomerId, Backlog), &(u16, CustomerId, Backlog))| {
            (one.0, one.1, one.2.open) == (other.0, other.1, other.2.open) && one.2.end >= other.2.end
        };
        known.len() == counted.len() && known.iter().zip(&counted).all(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: CustomerId = CustomerId([1; 32]);
    const OTHER: CustomerId = CustomerId([2; 32]);

    fn come(fairness: &mut Fairness, customer: CustomerId, rank: u32) -> Span {
        let span = fairness.span(5050, customer, rank, 1);
        fairness.enter(5050, customer, span);
        span
    }

    #[test]
    fn customers_share_by_their_rank() {
        let mut fairness = Fairness::default();
        let jobs = (0..400).map(|_| come(&mut fairness, ONE, 60)).collect::<Vec<_>>();
        let others = (0..400).map(|_| come(&mut fairness, OTHER, 12)).collect::<Vec<_>>();
        let until = jobs[200].start;
        let served = others.iter().filter(|span| span.start < until).count();
        assert_eq!(served, 40);
    }

    #[test]
    fn who_comes_back_starts_at_the_present() {
        let mut fairness = Fairness::default();
        let first = come(&mut fairness, ONE, 12);
        come(&mut fairness, OTHER, 12);
        let later = come(&mut fairness, OTHER, 12);
        assert_eq!((first.start, later.start), (0, LENGTH / 12));
        fairness.serve(5050, later);
        fairness.leave(5050, ONE);
        assert_eq!(come(&mut fairness, ONE, 12).start, later.start);
    }

    #[test]
    fn nothing_is_remembered_of_a_kind_without_jobs() {
        let mut fairness = Fairness::default();
        let span = come(&mut fairness, ONE, 1);
        fairness.serve(5050, span);
        fairness.leave(5050, ONE);
        assert_eq!(fairness, Fairness::default());
    }
}
