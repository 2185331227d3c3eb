//! Job requests, kinds 5000-5999: NIP-90 tags and ours become what the scheduler is asked.

use mercato_scheduler::{Dispatch, ProviderId, Request, Requirement};

use super::clock::Moment;
use super::requirement;
use super::tag::{self, Malformed, Tags, shown};
use crate::config::{self, MarketConfig};
use crate::nostr::{Event, Pubkey};

/// What a request is to this relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A job for this relay's scheduler.
    Here(Request),
    /// It names other relays as its scheduler: stored and forwarded, nothing more.
    Elsewhere,
    /// It names no deadline and is older than a job may get: history, not work.
    Past,
}

/// Reads a request; `own` is this relay's key.
pub fn parse(event: &Event, config: &MarketConfig, own: &Pubkey, now: Moment) -> Result<Asked, Malformed> {
    let tags = Tags::of(event);
    if !is_for(&tags, own)? {
        return Ok(Asked::Elsewhere);
    }
    check_unused(&tags)?;
    let mut request = Request {
        bid_msat: tags.only_whole("bid")?,
        require: requirements(&tags)?,
        providers: providers(&tags)?,
        dispatch: dispatch(&tags, config.dispatch)?,
        attempts: tags.only_whole("attempts")?,
        deadline_ms: deadline_ms(&tags, event.expiration)?.map(|wall_ms| now.to_market_ms(wall_ms)),
        ..Request::new(event.kind)
    };
    set_timeouts(&mut request, &tags)?;
    let is_past = event.created_at.saturating_add(config.job_timeout_s) <= now.wall_s();
    Ok(if request.deadline_ms.is_none() && is_past { Asked::Past } else { Asked::Here(request) })
}

/// Whether no scheduler is named, or `own` is among them.
fn is_for(tags: &Tags, own: &Pubkey) -> Result<bool, Malformed> {
    let named: Vec<Pubkey> =
        tags.values("scheduler").map(|key| tag::pubkey("scheduler", key)).collect::<Result<_, _>>()?;
    Ok(named.is_empty() || named.contains(own))
}

fn requirements(tags: &Tags) -> Result<Vec<Requirement>, Malformed> {
    tags.named("require").map(|tag| requirement::parse("require", tag)).collect()
}

fn providers(tags: &Tags) -> Result<Vec<ProviderId>, Malformed> {
    tags.values("p").map(|key| Ok(ProviderId(tag::pubkey("p", key)?.0))).collect()
}

fn dispatch(tags: &Tags, default: config::Dispatch) -> Result<Dispatch, Malformed> {
    match tags.only("dispatch")?.map(|tag| tag.first().map_or("", String::as_str)) {
        None => Ok(match default {
            config::Dispatch::Leased => Dispatch::Leased,
            config::Dispatch::Open => Dispatch::Open,
        }),
        Some("leased") => Ok(Dispatch::Leased),
        Some("open") => Ok(Dispatch::Open),
        Some(unknown) => Err(Malformed::new("dispatch", format!("{} is neither leased nor open", shown(unknown)))),
    }
}

/// The earlier of `deadline` and NIP-40's expiration, both by the wall clock: an event that is gone cannot be worked on.
fn deadline_ms(tags: &Tags, expiration_s: Option<u64>) -> Result<Option<u64>, Malformed> {
    let deadline_s: Option<u64> = tags.only_whole("deadline")?;
    let first_s = [deadline_s, expiration_s].into_iter().flatten().min();
    Ok(first_s.map(|at_s| at_s.saturating_mul(1_000)))
}

fn set_timeouts(request: &mut Request, tags: &Tags) -> Result<(), Malformed> {
    for elements in tags.named("timeout") {
        let [phase, seconds, ..] = elements else {
            return Err(Malformed::new("timeout", "needs a phase and seconds"));
        };
        let slot = match phase.as_str() {
            "accept" => &mut request.accept_timeout_ms,
            "heartbeat" => &mut request.heartbeat_timeout_ms,
            "run" => &mut request.run_timeout_ms,
            "pay" => &mut request.pay_timeout_ms,
            unknown => {
                let what = format!("{} is not one of accept heartbeat run pay", shown(unknown));
                return Err(Malformed::new("timeout", what));
            }
        };
        let seconds: u64 = tag::whole("timeout", seconds)?;
        if seconds == 0 {
            return Err(Malformed::new("timeout", "must not be zero"));
        }
        if slot.replace(seconds.saturating_mul(1_000)).is_some() {
            return Err(Malformed::new("timeout", format!("{phase} stands twice")));
        }
    }
    Ok(())
}

/// Tags that are part of the protocol but do not steer anything yet: a request that would be refused later must not
/// be taken now.
fn check_unused(tags: &Tags) -> Result<(), Malformed> {
    for elements in tags.named("rank") {
        check_rank(elements)?;
    }
    if tags.named("validate").any(|tag| tag.first().is_none_or(String::is_empty)) {
        return Err(Malformed::new("validate", "needs a method"));
    }
    match tags.only("replicas")? {
        None => Ok(()),
        Some(counts) if !counts.is_empty() && counts.len() <= 2 && counts.iter().all(|count| count == "1") => Ok(()),
        Some(_) => {
            let what = "this relay does not replicate jobs yet; leave the tag out or ask for 1 1";
            Err(Malformed::new("replicas", what))
        }
    }
}

fn check_rank(elements: &[String]) -> Result<(), Malformed> {
    match elements {
        [attribute, order, ..] if !attribute.is_empty() && matches!(order.as_str(), "asc" | "desc") => Ok(()),
        _ => Err(Malformed::new("rank", "needs an attribute and asc or desc")),
    }
}
