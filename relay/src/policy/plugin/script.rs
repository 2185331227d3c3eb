//! When a plugin is to be started anew: its script has changed, or it has failed and some time has passed.

use std::io;
use std::time::{Duration, Instant, SystemTime};

/// Wait before the start that follows a second failure; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Modification time of a command's script. As with strfry, a command without spaces is a path; others are not watched.
pub fn modified(command: &str) -> io::Result<Option<SystemTime>> {
    if command.contains(' ') {
        return Ok(None);
    }
    std::fs::metadata(command)?.modified().map(Some)
}

/// Keeps a plugin that always fails from being started for every event.
#[derive(Debug, Default)]
pub struct Backoff {
    /// In a row, without a proper answer between.
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        // The first failure may be an accident: the next event finds the plugin back.
        self.until = self.failures.checked_sub(2).map(|doublings| {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            now + FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
        });
    }

    pub fn answered(&mut self) {
        *self = Self::default();
    }

    pub fn may_start(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_keeps_failing_is_started_ever_less_often() {
        let (start, mut backoff) = (Instant::now(), Backoff::default());
        let mut pauses = Vec::new();
        for _ in 0..100 {
            backoff.failed(start);
            let pause = (0..=6_000).step_by(100).find(|ms| backoff.may_start(start + Duration::from_millis(*ms)));
            pauses.push(pause.unwrap());
        }
        assert_eq!(pauses[..8], [0, 100, 200, 400, 800, 1_600, 3_200, 5_000]);
        assert!(pauses[8..].iter().all(|pause| *pause == 5_000));
        backoff.answered();
        assert!(backoff.may_start(start));
    }

    #[test]
    fn only_a_command_that_is_a_path_is_watched() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(modified(path).unwrap().is_some());
        assert_eq!(modified(&format!("{path} --verbose")).unwrap(), None);
        assert!(modified("/nowhere/at/all").is_err());
    }
}
