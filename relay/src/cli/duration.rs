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

/// The time of day in UTC, as in `09:05:00`.
pub fn clock_of(at: u64) -> String {
    let second = at % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// The day in UTC, as in `2026-11-22`: days are counted from the first of March, so that a leap day is a year's last.
pub fn date_of(at: u64) -> String {
    let days = at / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{of_month:02}", era * 400 + year + later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_a_day_and_a_time() {
        let cases = [
            (0, "1970-01-01", "00:00:00"),
            (951_782_399, "2000-02-28", "23:59:59"),
            (951_782_400, "2000-02-29", "00:00:00"),
            (951_868_800, "2000-03-01", "00:00:00"),
            (1_798_761_599, "2026-12-31", "23:59:59"),
            (4_107_542_400, "2100-03-01", "00:00:00"),
        ];
        for (at, date, clock) in cases {
            assert_eq!((date_of(at).as_str(), clock_of(at).as_str()), (date, clock));
        }
    }

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
