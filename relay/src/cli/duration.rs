//! Spans of time for people: the two largest units.

/// As in `45s`, `4m10s`, `3h05m`, `2d04h`.
pub fn short(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// How far `at` is from `now`, both in seconds: `in 4m10s`, `now`, `4m10s ago`.
pub fn relative(at: u64, now: u64) -> String {
    match at.cmp(&now) {
        std::cmp::Ordering::Greater => format!("in {}", short(at - now)),
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Less => format!("{} ago", short(now - at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_two_largest_units() {
        let cases = [(0, "0s"), (59, "59s"), (250, "4m10s"), (3_600, "1h00m"), (90_061, "1d01h")];
        for (seconds, text) in cases {
            assert_eq!(short(seconds), text);
        }
    }

    #[test]
    fn a_moment_is_told_from_now() {
        assert_eq!(relative(350, 100), "in 4m10s");
        assert_eq!(relative(100, 100), "now");
        assert_eq!(relative(40, 100), "1m00s ago");
    }
}
