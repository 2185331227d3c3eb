//! A forward-only JSON scanner that hands out slices of its input.
//!
//! A relay reads far more JSON than it keeps: a document tree for each message would cost more than
//! everything else but the signature. Nesting is bounded, so no input can exhaust the stack.

use std::borrow::Cow;

use memchr::memchr2;

/// Depth to which an unknown value may nest before the message is refused.
const MAX_DEPTH: u32 = 32;

/// Why a text is not the JSON that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    pub what: &'static str,
    pub at: usize,
}

/// A string literal, still escaped.
#[derive(Debug, Clone, Copy)]
pub struct RawStr<'a> {
    /// What stands between the quotes.
    pub raw: &'a str,
    /// Whether `raw` holds any backslash.
    escaped: bool,
}

impl<'a> RawStr<'a> {
    /// The string's value. Errors on an escape that JSON does not have or a lone surrogate.
    pub fn decode(&self) -> Result<Cow<'a, str>, JsonError> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.raw));
        }
        unescape(self.raw).map(Cow::Owned)
    }

    /// Appends the literal with quotes, in the one form NIP-01 hashes.
    pub fn write_canonical(&self, out: &mut String) -> Result<(), JsonError> {
        out.push('"');
        if !self.escaped || is_canonical(self.raw) {
            out.push_str(self.raw);
        } else {
            escape_into(&unescape(self.raw)?, out);
        }
        out.push('"');
        Ok(())
    }
}

/// Appends `text` escaped as NIP-01 (and every JSON.stringify) does, without the quotes. What needs no escape, which is
/// nearly everything, is copied in runs.
pub fn escape_into(text: &str, out: &mut String) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x8 => "\\b",
            0xc => "\\f",
            0..0x20 => "\\u00",
            _ => continue,
        };
        // Every byte that is escaped is a whole character.
        out.push_str(&text[copied..at]);
        out.push_str(short);
        if short.len() > 2 {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
}

/// `text` as a JSON string literal with its quotes.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(text, &mut out);
    out
}

/// Appends it.
pub fn quote_into(text: &str, out: &mut String) {
    out.push('"');
    escape_into(text, out);
    out.push('"');
}

/// Whether every escape in `raw` is the one `escape_into` would write.
fn is_canonical(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(offset) = memchr::memchr(b'\\', &bytes[at..]) {
        at += offset + 1;
        match bytes.get(at) {
            Some(b'"' | b'\\' | b'n' | b'r' | b't' | b'b' | b'f') => at += 1,
            Some(b'u') => {
                if !is_canonical_control(bytes.get(at + 1..at + 5)) {
                    return false;
                }
                at += 5;
            }
            _ => return false,
        }
    }
    true
}

/// Whether four digits name a control character that has no short escape, in lower case.
fn is_canonical_control(digits: Option<&[u8]>) -> bool {
    match digits {
        Some([b'0', b'0', b'0', low]) => {
            matches!(low, b'0'..=b'7' | b'b' | b'e' | b'f')
        }
        Some([b'0', b'0', b'1', low]) => matches!(low, b'0'..=b'9' | b'a'..=b'f'),
        _ => false,
    }
}

fn unescape(raw: &str) -> Result<String, JsonError> {
    let bytes = raw.as_bytes();
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while let Some(offset) = memchr::memchr(b'\\', &bytes[at..]) {
        out.push_str(&raw[at..at + offset]);
        at += offset + 1;
        let bad = JsonError { what: "bad escape in a string", at };
        let code = *bytes.get(at).ok_or_else(|| bad.clone())?;
        at += 1;
        match code {
            b'"' | b'\\' | b'/' => out.push(code as char),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let (c, used) = unicode_escape(&bytes[at..]).ok_or(bad)?;
                out.push(c);
                at += used;
            }
            _ => return Err(bad),
        }
    }
    out.push_str(&raw[at..]);
    Ok(out)
}

/// Reads the digits after `\u`, and the second half of a surrogate pair: the character, and bytes used.
fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let high = hex4(bytes.get(..4)?)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, 4));
    }
    if bytes.get(4..6)? != b"\\u" {
        return None;
    }
    let low = hex4(bytes.get(6..10)?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let c = char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?;
    Some((c, 10))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
}

/// A position in a text that moves forward only.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }

    /// The next byte that is not white space, left in place.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Takes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(what)) }
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("text after the end of the value")),
        }
    }

    pub fn string(&mut self) -> Result<RawStr<'a>, JsonError> {
        self.expect(b'"', "expected a string")?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        loop {
            let offset =
                memchr2(b'"', b'\\', &bytes[self.at..]).ok_or(JsonError { what: "unterminated string", at: start })?;
            self.at += offset;
            if bytes[self.at] == b'"' {
                break;
            }
            escaped = true;
            self.at += 2;
            if self.at > bytes.len() {
                return Err(JsonError { what: "unterminated string", at: start });
            }
        }
        let end = self.at;
        self.at += 1;
        if bytes[start..end].iter().any(|b| *b < 0x20) {
            return Err(JsonError { what: "control character in a string", at: start });
        }
        // An escape may be followed by the first byte of a longer character, never end inside one.
        let raw = self.text.get(start..end).ok_or(JsonError { what: "bad escape in a string", at: start })?;
        Ok(RawStr { raw, escaped })
    }

    /// A non-negative integer without fraction, exponent or leading zero.
    pub fn unsigned(&mut self) -> Result<u64, JsonError> {
        self.peek();
        let bytes = self.text.as_bytes();
        let start = self.at;
        while matches!(bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        let bad = JsonError { what: "expected a non-negative integer", at: start };
        let whole = !matches!(bytes.get(self.at), Some(b'.' | b'e' | b'E'));
        let plain = digits.len() == 1 || !digits.starts_with('0');
        if !(whole && plain) {
            return Err(bad);
        }
        digits.parse().map_err(|_| bad)
    }

    /// Walks over one value of any type and returns its text.
    pub fn skip_value(&mut self) -> Result<&'a str, JsonError> {
        self.peek();
        let start = self.at;
        self.skip(MAX_DEPTH)?;
        Ok(&self.text[start..self.at])
    }

    fn skip(&mut self, depth_left: u32) -> Result<(), JsonError> {
        let inner = depth_left.checked_sub(1).ok_or_else(|| self.error("nested too deep"))?;
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(|_, cursor| cursor.skip(inner)),
            Some(b'[') => self.array(|cursor| cursor.skip(inner)),
            _ => self.scalar(),
        }
    }

    /// A member's name and colon.
    pub fn key(&mut self) -> Result<RawStr<'a>, JsonError> {
        let key = self.string()?;
        self.expect(b':', "expected :")?;
        Ok(key)
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        while matches!(bytes.get(self.at), Some(b) if b.is_ascii_alphanumeric() || b"+-.".contains(b)) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        let valid = matches!(text, "true" | "false" | "null") || (number && text.parse::<f64>().is_ok());
        if valid { Ok(()) } else { Err(JsonError { what: "expected a value", at: start }) }
    }

    /// Calls `each` with the cursor before every element of an array.
    pub fn array<E: From<JsonError>>(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.expect(b'[', "expected an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.take(b',') {
                return Ok(self.expect(b']', "expected , or ]")?);
            }
        }
    }

    /// Calls `each` with every member's name, the cursor before its value.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut each: impl FnMut(RawStr<'a>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{', "expected an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            each(key, self)?;
            if !self.take(b',') {
                return Ok(self.expect(b'}', "expected , or }")?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_escaped_as_json_stringify_does() {
        let text: String = (0..=0x300_u32).filter_map(char::from_u32).collect();
        assert_eq!(quote(&text), serde_json::Value::from(text).to_string());
    }

    proptest::proptest! {
        #[test]
        fn texts_are_quoted_as_by_a_library(text in "(\\PC|[\"\\\\\\x00-\\x1f]){0,60}") {
            proptest::prop_assert_eq!(quote(&text), serde_json::Value::from(text).to_string());
        }
    }
}
