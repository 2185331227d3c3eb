//! The syntax of strfry's files: JSON with comments, bare names, `=` or `:`, and commas that may be left out
//! (taoCONFIG). What makes values out of other places (references, `include`, environment) is refused by name.

use serde_json::{Map, Number, Value};

/// Depth to which lists and sections may nest.
const MAX_DEPTH: u32 = 16;

/// Why a text is not such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    pub what: String,
    /// From 1.
    pub line: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

/// Reads a whole file; its braces may be left out.
pub fn parse(text: &str) -> Parsed<Map<String, Value>> {
    let mut reader = Reader { text, at: 0 };
    let mut members = Map::new();
    reader.space()?;
    if reader.take('{') {
        reader.members(&mut members, Some('}'), 0)?;
        reader.space()?;
        return match reader.peek() {
            None => Ok(members),
            Some(_) => Err(reader.error("nothing may follow the closing brace")),
        };
    }
    reader.members(&mut members, None, 0)?;
    Ok(members)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Members up to `end`, or to the end of the text.
    fn members(&mut self, into: &mut Map<String, Value>, end: Option<char>, depth: u32) -> Parsed<()> {
        loop {
            self.space()?;
            match (self.peek(), end) {
                (None, None) => return Ok(()),
                (None, Some(end)) => return Err(self.error(format!("{end} is missing"))),
                (Some(c), Some(end)) if c == end => {
                    self.at += 1;
                    return Ok(());
                }
                (Some(_), _) => self.member(into, depth)?,
            }
            self.space()?;
            self.take(',');
        }
    }

    fn member(&mut self, into: &mut Map<String, Value>, depth: u32) -> Parsed<()> {
        let path = self.path()?;
        self.space()?;
        let append = match self.peek() {
            Some('=' | ':') => {
                self.at += 1;
                false
            }
            Some('+') if self.rest().starts_with("+=") => {
                self.at += 2;
                true
            }
            // `name { ... }` and `name [ ... ]` add to what is there.
            Some('{' | '[') => true,
            _ => return Err(self.error("= or { is missing behind a name")),
        };
        self.space()?;
        if !append && self.keyword("delete") {
            remove(into, &path);
            return Ok(());
        }
        // A dotted name stands for so many sections in each other.
        let value = self.sum(depth.saturating_add(path.len() as u32 - 1))?;
        let line = self.line();
        put(into, &path, value, append).map_err(|what| SyntaxError { what, line })
    }

    /// `a`, `'a b'`, or `a.b.c` for a member of a section of a section.
    fn path(&mut self) -> Parsed<Vec<String>> {
        let mut path = Vec::new();
        loop {
            path.push(match self.peek() {
                Some('"' | '\'') => self.string()?,
                Some(c) if is_name_start(c) => self.name().to_owned(),
                Some('(') => return Err(self.error("extensions as (include ...) are not understood here")),
                _ => return Err(self.error("a name is expected")),
            });
            if path.len() > MAX_DEPTH as usize {
                return Err(self.error("sections nest too deep"));
            }
            if !self.take('.') {
                return Ok(path);
            }
        }
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c: char| !is_name_start(c) && !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// A value, or several joined by `+`.
    fn sum(&mut self, depth: u32) -> Parsed<Value> {
        let mut value = self.value(depth)?;
        loop {
            let before = self.at;
            self.space()?;
            if self.rest().starts_with("+=") || !self.take('+') {
                self.at = before;
                return Ok(value);
            }
            self.space()?;
            let more = self.value(depth)?;
            add(&mut value, more).map_err(|what| self.error(what))?;
        }
    }

    fn value(&mut self, depth: u32) -> Parsed<Value> {
        if depth >= MAX_DEPTH {
            return Err(self.error("sections nest too deep"));
        }
        match self.peek() {
            Some('{') => {
                self.at += 1;
                let mut members = Map::new();
                self.members(&mut members, Some('}'), depth + 1)?;
                Ok(Value::Object(members))
            }
            Some('[') => {
                self.at += 1;
                self.list(depth + 1)
            }
            Some('"' | '\'') => self.string().map(Value::String),
            Some('-' | '.' | '0'..='9') => self.number(),
            Some('(') => Err(self.error("references and extensions, as (env ...), are not understood here")),
            Some('$') => Err(self.error("binary values are not understood here")),
            Some(_) if self.keyword("true") => Ok(Value::Bool(true)),
            Some(_) if self.keyword("false") => Ok(Value::Bool(false)),
            Some(_) if self.keyword("null") => Ok(Value::Null),
            Some(_) => Err(self.error("a value is expected; text stands in quotation marks")),
            None => Err(self.error("a value is missing")),
        }
    }

    fn list(&mut self, depth: u32) -> Parsed<Value> {
        let mut values = Vec::new();
        loop {
            self.space()?;
            match self.peek() {
                None => return Err(self.error("] is missing")),
                Some(']') => {
                    self.at += 1;
                    return Ok(Value::Array(values));
                }
                Some(_) => values.push(self.sum(depth)?),
            }
            self.space()?;
            self.take(',');
        }
    }

    fn number(&mut self) -> Parsed<Value> {
        let rest = self.rest();
        let mut before = 'e';
        let length = rest.find(|c: char| {
            // A sign stands at the beginning, or behind the e of an exponent.
            let inside = matches!(c, '0'..='9' | 'a'..='f' | 'A'..='F' | 'x' | 'X' | '.');
            let sign = matches!(c, '-' | '+') && matches!(before, 'e' | 'E');
            before = c;
            !inside && !sign
        });
        let length = length.unwrap_or(rest.len());
        let text = &rest[..length];
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let number = match hex {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(Number::from),
            None if has_leading_zero(text) => None,
            None => whole(text).or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64)),
        };
        let number = number.ok_or_else(|| self.error(format!("{text} is not a number")))?;
        self.at += length;
        Ok(Value::Number(number))
    }

    /// A string in either quotation marks, or in three of them over several lines.
    fn string(&mut self) -> Parsed<String> {
        let rest = self.rest();
        for marks in ["\"\"\"", "'''"] {
            if let Some(inner) = rest.strip_prefix(marks) {
                let end = inner.find(marks).ok_or_else(|| self.error(format!("{marks} is missing at the end")))?;
                self.at += end + 6;
                let text = &inner[..end];
                return Ok(text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text).to_owned());
            }
        }
        let mark = self.peek().unwrap_or('"');
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else { return Err(self.error("a quotation mark is missing at the end")) };
            if c < ' ' {
                return Err(self.error("a quotation mark is missing at the end of the line"));
            }
            self.at += c.len_utf8();
            match c {
                c if c == mark => return Ok(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Parsed<char> {
        let c = self.peek().ok_or_else(|| self.error("a quotation mark is missing at the end"))?;
        self.at += c.len_utf8();
        Ok(match c {
            '"' | '\'' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0' => '\0',
            'u' => return self.code_point(),
            _ => return Err(self.error(format!("\\{c} is not an escape"))),
        })
    }

    /// `\u{1f600}`, `\u00e9`, or a pair of surrogates.
    fn code_point(&mut self) -> Parsed<char> {
        if self.take('{') {
            let rest = self.rest();
            let length = rest.find('}').ok_or_else(|| self.error("} is missing in an escape"))?;
            let code = u32::from_str_radix(&rest[..length], 16).ok().and_then(char::from_u32);
            self.at += length + 1;
            return code.ok_or_else(|| self.error("an escape names no character"));
        }
        let first = self.four_digits()?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            self.at += 2;
            units.push(self.four_digits()?);
        }
        let mut decoded = char::decode_utf16(units);
        match (decoded.next(), decoded.next()) {
            (Some(Ok(c)), None) => Ok(c),
            _ => Err(self.error("an escape names no character")),
        }
    }

    fn four_digits(&mut self) -> Parsed<u16> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        self.at += if unit.is_some() { 4 } else { 0 };
        unit.ok_or_else(|| self.error("\\u needs four hex digits"))
    }

    /// Passes over blanks and comments.
    fn space(&mut self) -> Parsed<()> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(inner) = rest.strip_prefix("/*") {
                let length = inner.find("*/").ok_or_else(|| self.error("*/ is missing"))?;
                self.at += length + 4;
            } else if blank == 0 || !rest.starts_with('/') {
                return Ok(());
            }
        }
    }

    fn keyword(&mut self, word: &str) -> bool {
        let Some(behind) = self.rest().strip_prefix(word) else { return false };
        let whole = !behind.starts_with(|c: char| is_name_start(c) || c.is_ascii_digit());
        self.at += if whole { word.len() } else { 0 };
        whole
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn error(&self, what: impl Into<String>) -> SyntaxError {
        SyntaxError { what: what.into(), line: self.line() }
    }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn whole(text: &str) -> Option<Number> {
    text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from)).ok()
}

/// As in `007`, which is no decimal number in JSON and none here.
fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    matches!(digits, [b'0', next, ..] if next.is_ascii_digit())
}

/// Puts a value at the end of a path, making the sections on the way.
fn put(members: &mut Map<String, Value>, path: &[String], value: Value, append: bool) -> Result<(), String> {
    match path {
        [] => Ok(()),
        [name] => match members.get_mut(name) {
            Some(there) if append => add(there, value),
            _ => {
                members.insert(name.clone(), value);
                Ok(())
            }
        },
        [name, inner @ ..] => match members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(section) => put(section, inner, value, append),
            _ => Err(format!("{name} is not a section")),
        },
    }
}

fn remove(members: &mut Map<String, Value>, path: &[String]) {
    match path {
        [] => {}
        [name] => drop(members.remove(name)),
        [name, inner @ ..] => {
            if let Some(Value::Object(section)) = members.get_mut(name) {
                remove(section, inner);
            }
        }
    }
}

/// Strings and lists become longer, sections take in each other's members, numbers add up.
fn add(there: &mut Value, more: Value) -> Result<(), String> {
    match (there, more) {
        (Value::String(there), Value::String(more)) => there.push_str(&more),
        (Value::Array(there), Value::Array(more)) => there.extend(more),
        (Value::Object(there), Value::Object(more)) => there.extend(more),
        (Value::Number(there), Value::Number(more)) => {
            let sum = there.as_u64().zip(more.as_u64()).and_then(|(one, other)| one.checked_add(other));
            *there = sum.ok_or("only whole numbers are added")?.into();
        }
        _ => return Err("only values of one sort are added".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        Value::Object(parse(text).unwrap())
    }

    fn fault(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_way_to_write_a_file_reads_the_same() {
        let expected = json!({"ip": "127.0.0.2", "port": 27960, "maps": ["ztn", "dm13", "t9"]});
        let ways = [
            r#"{ "ip": "127.0.0.2", "port": 27960, "maps": [ "ztn", "dm13", "t9" ] }"#,
            r#"{ ip: "127.0.0.2", 'port': 27960, maps: [ "ztn", "dm13", "t9" ] } // more?"#,
            "# a file\nip = '127.0.0.2'\nport = 27960 /* the\nport */\nmaps = [ \"ztn\" \"dm13\" \"t9\" ]",
            "ip: \"127.0.0.2\",\nport: 0x6d38,\nmaps: [\"ztn\", \"dm13\", \"t9\",],",
            "ip = \"127.\" + \"0.0.2\" port = \"later\" maps [\"ztn\"] maps [\"dm13\" \"t9\"] port = 27960",
        ];
        for way in ways {
            assert_eq!(read(way), expected, "{way}");
        }
    }

    #[test]
    fn sections_are_merged_and_dotted_names_reach_into_them() {
        assert_eq!(read("a { b = 1 } a { c = 2 }"), json!({"a": {"b": 1, "c": 2}}));
        assert_eq!(read("a.b = 1, a.'c d' = 2"), json!({"a": {"b": 1, "c d": 2}}));
        assert_eq!(read("a { b = 1 } a = { c = 2 }"), json!({"a": {"c": 2}}));
        assert_eq!(read("a { b = 1 } a.b = delete"), json!({"a": {}}));
        assert_eq!(read("a = 1 a += 2"), json!({"a": 3}));
        assert_eq!(read("a=1+2,b=-1,c=1e-2"), json!({"a": 3, "b": -1, "c": 0.01}));
        assert_eq!(read("a = 1\n\tb = 2"), json!({"a": 1, "b": 2}));
        assert_eq!(read("t = true f = false n = null"), json!({"t": true, "f": false, "n": null}));
    }

    #[test]
    fn strings_have_their_escapes() {
        assert_eq!(read(r#"a = "\u00e9\u{1F600}\ud83d\ude00\n\"/\/""#), json!({"a": "é😀😀\n\"//"}));
        assert_eq!(read("a = '''\none\n\\two'''"), json!({"a": "one\n\\two"}));
        assert_eq!(read("a = \"\u{7f}\""), json!({"a": "\u{7f}"}));
        assert_eq!(read("a = \"//no # comment\""), json!({"a": "//no # comment"}));
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        assert_eq!(fault("a = 1\nb = "), "line 2: a value is missing");
        assert_eq!(fault("a = 1\nb 2"), "line 2: = or { is missing behind a name");
        assert_eq!(fault("a {\nb = 1\n"), "line 3: } is missing");
        assert_eq!(fault("a = wss://x"), "line 1: a value is expected; text stands in quotation marks");
        assert_eq!(
            fault("a = (env \"HOME\")"),
            "line 1: references and extensions, as (env ...), are not understood here"
        );
        for bad in ["{a=1} b", "a = \"x", "a = [1", "/* x", "a = 007", "a = \"\\q\"", "a = 1 + \"x\"", "a=1 a.b=1", "/"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"a{".repeat(1_000)).is_err());
        assert!(parse(&format!("a={}", "[".repeat(1_000))).is_err());
        assert!(parse(&format!("{}={}1{}", ["a"; 9].join("."), "{a=".repeat(7), "}".repeat(7))).is_ok());
        assert!(parse(&format!("{}={}1{}", ["a"; 9].join("."), "{a=".repeat(8), "}".repeat(8))).is_err());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[^\u{7f}-\u{9f}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z.]{1,5}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_json_object_is_such_a_file(members in prop::collection::btree_map("[a-z .]{0,5}", json_value(), 0..4)) {
            let object = Value::Object(members.into_iter().collect());
            prop_assert_eq!(read(&object.to_string()), object.clone());
            prop_assert_eq!(read(&serde_json::to_string_pretty(&object).unwrap()), object);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[a{}\\[\\]=:,.+'\"\\\\u/*# \n0-9-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
