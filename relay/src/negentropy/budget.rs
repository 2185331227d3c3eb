//! A bound on memory that many hold parts of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max_bytes: usize,
}

impl Budget {
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max_bytes })
    }

    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A part of nothing yet.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// What one holder takes; given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes so much in all from now on. False, and as before, when there is not enough.
    pub fn resize(&mut self, bytes: usize) -> bool {
        let (own, max) = (self.bytes, self.budget.max_bytes);
        // Who needs less is never refused.
        let fits = |used: usize| (bytes <= own || used - own + bytes <= max).then_some(used - own + bytes);
        let resized = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if resized.is_ok() {
            self.bytes = bytes;
        }
        resized.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_together_stay_within_the_budget_and_come_back() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.resize(60) && !b.resize(41) && b.resize(40));
        assert!(!a.resize(61) && a.resize(10) && b.resize(90));
        drop(a);
        drop(b);
        assert_eq!(budget.used_bytes(), 0);
    }
}
