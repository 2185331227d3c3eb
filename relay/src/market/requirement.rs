//! A condition on an attribute, as `require` (on a request) and `accept` (in an advert) write it:
//! name, operator, values.

use mercato_scheduler::{Op, Requirement, Value};

use super::tag::{Malformed, shown};

/// Reads the elements after the tag's name.
pub fn parse(tag: &'static str, elements: &[String]) -> Result<Requirement, Malformed> {
    let [attribute, op, values @ ..] = elements else {
        return Err(Malformed::new(tag, "needs an attribute and an operator"));
    };
    if attribute.is_empty() {
        return Err(Malformed::new(tag, "the attribute has no name"));
    }
    let op = operator(tag, op)?;
    let values: Vec<Value> = values.iter().map(|text| value(text)).collect();
    check_operands(tag, op, &values)?;
    Ok(Requirement { attribute: attribute.clone(), op, values })
}

/// A capability's value: a whole number when it reads as one, else a word.
pub fn value(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Int)
}

fn operator(tag: &'static str, text: &str) -> Result<Op, Malformed> {
    match text {
        "=" => Ok(Op::Equal),
        "!=" => Ok(Op::NotEqual),
        "<" => Ok(Op::Less),
        "<=" => Ok(Op::LessOrEqual),
        ">" => Ok(Op::Greater),
        ">=" => Ok(Op::GreaterOrEqual),
        "in" => Ok(Op::In),
        "has" => Ok(Op::Has),
        unknown => {
            let what = format!("{} is not one of = != < <= > >= in has", shown(unknown));
            Err(Malformed::new(tag, what))
        }
    }
}

fn check_operands(tag: &'static str, op: Op, values: &[Value]) -> Result<(), Malformed> {
    let what = match (op, values) {
        (Op::Equal | Op::NotEqual, [_]) => None,
        (Op::Equal | Op::NotEqual, _) => Some("= and != take one value"),
        (Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual, [Value::Int(_)]) => None,
        (Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual, _) => Some("< <= > >= take one whole number"),
        (Op::In, []) => Some("in takes one value or more"),
        (Op::In | Op::Has, _) => None,
    };
    what.map_or(Ok(()), |what| Err(Malformed::new(tag, what)))
}
