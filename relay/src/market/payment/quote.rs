//! What a provider asks for: NIP-90's `["amount", msat, bolt11]`.

use super::invoice::{self, Invoice};
use crate::market::money;
use crate::market::tag::{Malformed, Tags};

/// What the `amount` tag asks for, in millisatoshi: the number, or else the invoice's.
pub fn read(tags: &Tags) -> Result<Option<u64>, Malformed> {
    let Some(amount) = tags.only("amount")? else { return Ok(None) };
    let asked = amount.first().map_or(Ok(None), |text| money::msat("amount", text))?;
    let named = invoice_of(amount).and_then(|invoice| invoice.msat);
    match (asked, named) {
        (Some(asked), Some(named)) if asked != named => {
            Err(Malformed::new("amount", format!("it asks for {asked} msat, and its invoice for {named}")))
        }
        (Some(msat), _) | (None, Some(msat)) => Ok(Some(msat)),
        (None, None) => Ok(None),
    }
}

/// The text of the invoice that the `amount` tag names.
pub fn bolt11(tags: &Tags) -> Option<&str> {
    tags.named("amount").next()?.get(1).map(String::as_str)
}

/// The invoice that the `amount` tag names, if any can be read.
pub fn invoice(tags: &Tags) -> Option<Invoice> {
    invoice_of(tags.named("amount").next()?)
}

fn invoice_of(amount: &[String]) -> Option<Invoice> {
    invoice::read(amount.get(1)?)
}
