//! Millisatoshi as people write them in NIP-90's tags: `bid` and `amount`.

use super::tag::{Malformed, shown};

/// Reads a number of millisatoshi. `None`: nothing is said, which many clients do by an empty text.
///
/// Digits in groups (`100_000`) and a fraction (`1000.5`, cut: nobody pays more than he wrote) are taken; whatever else it
/// may mean, a number of sats or words, nobody guesses where money is at stake.
pub fn msat(tag: &'static str, text: &str) -> Result<Option<u64>, Malformed> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    whole(text)
        .map(Some)
        .ok_or_else(|| Malformed::new(tag, format!("{} is not a number of millisatoshi that fits", shown(text))))
}

fn whole(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let groups = whole.split('_');
    let digits = groups.clone().all(|group| !group.is_empty() && are_digits(group)) && are_digits(fraction);
    digits.then(|| groups.collect::<String>().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_write_is_read_and_what_is_no_number_is_not() {
        let read = [("1000", 1_000), (" 1000 ", 1_000), ("100_000", 100_000), ("1000.9", 1_000), ("5.", 5), ("0", 0)];
        for (text, msat_read) in read {
            assert_eq!(msat("bid", text), Ok(Some(msat_read)), "{text}");
        }
        assert_eq!(msat("bid", ""), Ok(None));
        assert_eq!(msat("bid", " "), Ok(None));
        for text in
            ["-1", "+1", "1e3", "1,000", "ten", "1000 sats", ".5", "_1", "1__0", "1.5.2", "18446744073709551616"]
        {
            assert!(msat("bid", text).is_err(), "{text}");
        }
    }
}
