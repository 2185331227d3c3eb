//! What is read of a result on which several providers are to agree (docs/market.md): a digest, numbers, or a validator's verdict.

use mercato_scheduler::{Answer, NUMBER_PLACES, Validation, Verdict};
use sha2::{Digest, Sha256};

use super::tag::{Malformed, Tags, shown};
use crate::nostr::Event;

/// Digits before the point that a number may have.
const WHOLE_DIGITS: usize = 18;
/// The longest text of one number, and the largest shift by an exponent: beyond it only zeros follow.
const NUMBER_BYTES: usize = 400;

/// Reads what the job compares.
pub fn parse(event: &Event, tags: &Tags, validate: Validation) -> Result<Answer, Malformed> {
    match validate {
        Validation::Exact => digest(event, tags).map(Answer::Digest),
        Validation::Tolerance { .. } => numbers(&event.content()).map(Answer::Numbers),
        Validation::Verdict => verdict(&event.content()).map(Answer::Verdict),
    }
}

/// What a validator finds, in one word.
fn verdict(content: &str) -> Result<Verdict, Malformed> {
    let words = [Verdict::Pass, Verdict::Fail, Verdict::Outlier, Verdict::Copy];
    let named = words.into_iter().find(|verdict| verdict.as_str() == content.trim());
    named.ok_or_else(|| Malformed::new("content", "a validator says pass, fail, outlier or copy"))
}

/// The blob's, if the result names one by `x`, else the content's.
fn digest(event: &Event, tags: &Tags) -> Result<[u8; 32], Malformed> {
    let Some(x) = tags.only("x")?.map(|tag| tag.first().map_or("", String::as_str)) else {
        return Ok(Sha256::digest(event.content()).into());
    };
    let mut digest = [0; 32];
    let is_lower = !x.bytes().any(|byte| byte.is_ascii_uppercase());
    match const_hex::decode_to_slice(x, &mut digest) {
        Ok(()) if is_lower && x.len() == 64 => Ok(digest),
        Ok(()) | Err(_) => {
            Err(Malformed::new("x", format!("{} is not a sha256 in 64 lower-case hex digits", shown(x))))
        }
    }
}

/// Decimal numbers between commas or blanks, in brackets or not. How many there may be the scheduler knows.
fn numbers(content: &str) -> Result<Vec<i128>, Malformed> {
    let text = content.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let is_gap = |letter: char| letter == ',' || letter.is_whitespace();
    let words = inner.split(is_gap).filter(|word| !word.is_empty());
    // One more than the scheduler takes is enough for it to refuse them.
    let words = words.take(mercato_scheduler::NUMBERS_MAX + 1);
    words.map(|word| number("content", word)).collect()
}

/// Reads a decimal number, in units of 10^-12; further places are cut.
pub fn number(tag: &'static str, text: &str) -> Result<i128, Malformed> {
    scaled(text).ok_or_else(|| {
        let what = format!("{} is not a decimal number of up to {WHOLE_DIGITS} digits before the point", shown(text));
        Malformed::new(tag, what)
    })
}

fn scaled(text: &str) -> Option<i128> {
    if text.len() > NUMBER_BYTES {
        return None;
    }
    let (is_negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, part].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = shifted(digits.trim_start_matches('0'), i32::try_from(part.len()).ok()?, exponent)?;
    Some(if is_negative { -magnitude } else { magnitude })
}

/// `digits * 10^(exponent - part)` in units of 10^-12, cut towards zero.
fn shifted(digits: &str, part: i32, exponent: i32) -> Option<i128> {
    if digits.is_empty() {
        return Some(0);
    }
    let shift = exponent.checked_sub(part)?.checked_add(i32::try_from(NUMBER_PLACES).ok()?)?;
    let length = i32::try_from(digits.len()).ok()?.checked_add(shift)?;
    let Ok(length) = usize::try_from(length) else { return Some(0) };
    if length > WHOLE_DIGITS + NUMBER_PLACES as usize {
        return None;
    }
    let kept = digits.bytes().chain(std::iter::repeat(b'0')).take(length);
    Some(kept.fold(0, |number, digit| 10 * number + i128::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i128 = 1_000_000_000_000;

    #[test]
    fn decimals_are_read_as_they_are_written() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("1", Some(ONE)),
            ("+1.5", Some(ONE + ONE / 2)),
            ("-2.", Some(-2 * ONE)),
            (".25", Some(ONE / 4)),
            ("0.000000000001", Some(1)),
            ("0.0000000000019", Some(1)),
            ("-0.0000000000019", Some(-1)),
            ("1e-05", Some(10_000_000)),
            ("2.5E+3", Some(2_500 * ONE)),
            ("1e-99", Some(0)),
            ("0e99", Some(0)),
            ("000000000000000000000001", Some(ONE)),
            ("999999999999999999", Some(999_999_999_999_999_999 * ONE)),
            ("1000000000000000000", None),
            ("1e18", None),
            ("1e99999999999", None),
            ("1e2147483647", None),
            ("1e-2147483648", Some(0)),
            ("", None),
            ("-", None),
            (".", None),
            ("e5", None),
            ("1e", None),
            ("1e5e5", None),
            ("1.2.3", None),
            ("--1", None),
            ("nan", None),
            ("inf", None),
            ("0x10", None),
            ("１", None),
        ] {
            assert_eq!(scaled(text), expected, "{text:?}");
        }
        assert_eq!(scaled(&"0".repeat(NUMBER_BYTES + 1)), None);
    }

    #[test]
    fn numbers_stand_between_commas_or_blanks() {
        for text in ["1 2.5 -3", "[1, 2.5, -3]", " 1,2.5,\n-3 "] {
            assert_eq!(numbers(text).unwrap(), [ONE, 2 * ONE + ONE / 2, -3 * ONE], "{text:?}");
        }
        assert_eq!(numbers(" [] ").unwrap(), []);
        assert_eq!(numbers("1 two").unwrap_err().tag, "content");
    }

    proptest::proptest! {
        #[test]
        fn a_fixed_point_number_reads_back(number in -999_999_999_999_999_999_i64..1_000_000_000_000_000_000) {
            let (whole, part) = (number / 1_000_000, (number % 1_000_000).abs());
            let sign = if number < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{part:06}", whole.abs());
            proptest::prop_assert_eq!(scaled(&text), Some(i128::from(number) * 1_000_000));
        }

        #[test]
        fn whatever_it_is_reading_it_does_no_harm(text in "[-+0-9.eE]{0,30}") {
            let limit = 1_000_000_000_000_000_000 * ONE;
            proptest::prop_assert!(scaled(&text).is_none_or(|number| number.abs() < limit));
        }
    }
}
