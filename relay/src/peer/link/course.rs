//! What a connection has caught up with so far.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::peer::router::file::Direction;
use crate::peer::status::{LinkState, Status};

/// The link is in sync when each of its ways has caught up.
pub struct Course<'a> {
    status: &'a Status,
    down: AtomicBool,
    up: AtomicBool,
}

impl<'a> Course<'a> {
    /// A way that the link does not have need not catch up.
    pub fn new(direction: Direction, status: &'a Status) -> Self {
        let (down, up) = (!direction.is_down(), !direction.is_up());
        Self { status, down: AtomicBool::new(down), up: AtomicBool::new(up) }
    }

    pub fn down_is_caught_up(&self) {
        self.down.store(true, Ordering::Relaxed);
        self.tell();
    }

    pub fn up_is_caught_up(&self) {
        self.up.store(true, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        if self.down.load(Ordering::Relaxed) && self.up.load(Ordering::Relaxed) {
            self.status.enter(LinkState::Live);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_in_sync_when_each_of_its_ways_has_caught_up() {
        for (direction, down_is_enough, up_is_enough) in
            [(Direction::Down, true, false), (Direction::Up, false, true), (Direction::Both, false, false)]
        {
            let state = |catch_up: &dyn Fn(&Course<'_>)| {
                let status = Status::new("s", "u", direction);
                catch_up(&Course::new(direction, &status));
                status.info().state == LinkState::Live
            };
            assert!(!state(&|_| {}), "{direction:?}");
            assert_eq!(state(&|course| course.down_is_caught_up()), down_is_enough, "{direction:?}");
            assert_eq!(state(&|course| course.up_is_caught_up()), up_is_enough, "{direction:?}");
            let both = state(&|course| {
                course.down_is_caught_up();
                course.up_is_caught_up();
            });
            assert!(both, "{direction:?}");
        }
    }
}
