//! Provider adverts, kind 31990 (NIP-89): what one of them offers.

use mercato_scheduler::{ACCEPTS_MAX, Advert, CAPS_MAX, OFFERS_MAX, Offer, TEXT_MAX};

use super::requirement;
use super::tag::{self, Malformed, Tags, shown};
use crate::nostr::{Event, kind};

/// Reads an advert. `None`: it offers no job kind, so it is a NIP-89 handler of something else.
pub fn parse(event: &Event) -> Result<Option<Advert>, Malformed> {
    let tags = Tags::of(event);
    let mut kinds: Vec<Offer> = Vec::new();
    for kind in tags.values("k").filter_map(job_kind) {
        if kinds.iter().all(|offer| offer.kind != kind) {
            kinds.push(Offer { kind, price_msat: None });
        }
    }
    if kinds.is_empty() {
        return Ok(None);
    }
    for elements in tags.named("price") {
        set_price(&mut kinds, elements)?;
    }
    let accept: Vec<_> =
        tags.named("accept").map(|elements| requirement::parse("accept", elements)).collect::<Result<_, _>>()?;
    let caps: Vec<_> = tags.named("cap").map(capability).collect::<Result<_, _>>()?;
    if kinds.len() > OFFERS_MAX {
        return Err(Malformed::new("k", format!("an advert has at most {OFFERS_MAX} job kinds")));
    }
    if caps.len() > CAPS_MAX {
        return Err(Malformed::new("cap", format!("an advert has at most {CAPS_MAX} capabilities")));
    }
    if accept.len() > ACCEPTS_MAX {
        return Err(Malformed::new("accept", format!("an advert has at most {ACCEPTS_MAX} conditions")));
    }
    Ok(Some(Advert { kinds, caps, accept, slots: tags.only_whole("slots")? }))
}

fn job_kind(text: &str) -> Option<u16> {
    text.parse().ok().filter(|kind| kind::is_job_request(*kind))
}

fn set_price(kinds: &mut [Offer], elements: &[String]) -> Result<(), Malformed> {
    let [kind, price, ..] = elements else {
        return Err(Malformed::new("price", "needs a kind and a price in msat"));
    };
    let number: u16 = tag::whole("price", kind)?;
    let offer = kinds.iter_mut().find(|offer| offer.kind == number);
    let offer =
        offer.ok_or_else(|| Malformed::new("price", format!("kind {} is not among the k tags", shown(kind))))?;
    match offer.price_msat.replace(tag::whole("price", price)?) {
        None => Ok(()),
        Some(_) => Err(Malformed::new("price", format!("kind {number} stands twice"))),
    }
}

fn capability(elements: &[String]) -> Result<(String, mercato_scheduler::Value), Malformed> {
    match elements {
        [name, value, ..] if name.len().max(value.len()) > TEXT_MAX => {
            Err(Malformed::new("cap", format!("a name or value has at most {TEXT_MAX} bytes")))
        }
        [name, value, ..] if !name.is_empty() => Ok((name.clone(), requirement::value(value))),
        _ => Err(Malformed::new("cap", "needs a name and a value")),
    }
}
