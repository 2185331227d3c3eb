//! Job requests, kinds 5000-5999: NIP-90 tags and ours become what the scheduler is asked.

use mercato_scheduler::{
    Auction, Dispatch, NUMBER_PLACES, ONE_PPM, Order, PARAMS_MAX, Panel, ProviderId, Rank, Request, Requirement, Rule,
    TEXT_MAX, Validation, Value,
};

use super::clock::Moment;
use super::tag::{self, Malformed, Tags, shown};
use super::{answer, input, money, requirement};
use crate::config::{self, MarketConfig};
use crate::nostr::{Event, Pubkey};

/// What a request is to this relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A job for this relay's scheduler.
    Here(Box<Request>),
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
    let adaptive = tags.named("validate").any(|method| method == ["adaptive"]);
    let (replicas, quorum, validate) = replication(&tags, adaptive)?;
    let dispatch = dispatch(&tags, config.dispatch)?;
    let mut request = Request {
        inputs: input::parse(&tags, dispatch)?,
        auction: auction(&tags)?,
        panel: panel(&tags)?,
        replicas,
        quorum,
        validate,
        adaptive,
        bid_msat: bid_msat(&tags)?,
        require: requirements(&tags)?,
        rank: tags.named("rank").map(rank).collect::<Result<_, _>>()?,
        input_count: u32::try_from(tags.named("i").count()).unwrap_or(u32::MAX),
        input_bytes: input_bytes(&tags),
        params: params(&tags),
        providers: providers(&tags)?,
        // Who knows our tags means them; who does not may be answered by providers who do not either.
        dispatch,
        may_open: tags.named("dispatch").chain(tags.named("require")).next().is_none(),
        attempts: tags.only_whole("attempts")?,
        deadline_ms: deadline_ms(&tags, event.expiration)?.map(|wall_ms| now.to_market_ms(wall_ms)),
        ..Request::new(event.kind)
    };
    set_timeouts(&mut request, &tags)?;
    let is_past = event.created_at.saturating_add(config.job_timeout_s) <= now.wall_s();
    Ok(if request.deadline_ms.is_none() && is_past { Asked::Past } else { Asked::Here(Box::new(request)) })
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

fn bid_msat(tags: &Tags) -> Result<Option<u64>, Malformed> {
    let bid = tags.only("bid")?.and_then(<[String]>::first);
    bid.map_or(Ok(None), |bid| money::msat("bid", bid))
}

/// An empty `p` names nobody. Who writes a key that cannot be read means somebody: that job must not go to others.
fn providers(tags: &Tags) -> Result<Vec<ProviderId>, Malformed> {
    let named = tags.named("p").flat_map(|tag| match tag {
        [] => &[],
        // Some put all keys into one tag; what else may stand there (a relay's address) is no key.
        [_, rest @ ..] if rest.iter().all(|more| Pubkey::from_hex(&more.to_ascii_lowercase()).is_some()) => tag,
        [_, ..] => &tag[..1],
    });
    let named = named.filter(|key| !key.is_empty());
    named.map(|key| Ok(ProviderId(tag::pubkey("p", &key.to_ascii_lowercase())?.0))).collect()
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

/// Who is to look at the result: `["validate", "validator", number, quorum, msat]`, of which all but the first two may be left out.
fn panel(tags: &Tags) -> Result<Option<Panel>, Malformed> {
    let mut named = tags.named("validate").filter(|tag| tag.first().is_some_and(|method| method == "validator"));
    let Some(elements) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(Malformed::new("validate", "stands twice"));
    }
    let [_, wishes @ ..] = elements else { return Ok(None) };
    let (validators, quorum, bid_msat) = match wishes {
        [] => (1, None, None),
        [validators] => (tag::whole("validate", validators)?, None, None),
        [validators, quorum] => (tag::whole("validate", validators)?, Some(quorum), None),
        [validators, quorum, msat] => (tag::whole("validate", validators)?, Some(quorum), Some(msat)),
        [..] => return Err(Malformed::new("validate", "validator has at most a number, a quorum and msat")),
    };
    let quorum = quorum.map_or(Ok(validators / 2 + 1), |quorum| tag::whole("validate", quorum))?;
    let bid_msat = bid_msat.map_or(Ok(None), |msat| money::msat("validate", msat))?.unwrap_or(0);
    Ok(Some(Panel { validators, quorum, bid_msat }))
}

/// How long offers are taken, and how they are judged.
fn auction(tags: &Tags) -> Result<Option<Auction>, Malformed> {
    let Some(elements) = tags.only("auction")? else { return Ok(None) };
    let (seconds, rule) = match elements {
        [seconds] => (seconds, Rule::BestValue),
        [seconds, rule] if rule == "best-value" => (seconds, Rule::BestValue),
        [seconds, rule] if rule == "second-price" => (seconds, Rule::SecondPrice),
        [_, unknown, ..] => {
            let what = format!("{} is neither best-value nor second-price", shown(unknown));
            return Err(Malformed::new("auction", what));
        }
        [] => return Err(Malformed::new("auction", "needs seconds, and may name how offers are judged")),
    };
    let seconds: u64 = tag::whole("auction", seconds)?;
    if seconds == 0 {
        return Err(Malformed::new("auction", "must not be zero"));
    }
    Ok(Some(Auction { window_ms: seconds.saturating_mul(1_000), rule }))
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

/// How many are to do the job, how many of them must agree, and on what.
fn replication(tags: &Tags, adaptive: bool) -> Result<(u32, u32, Validation), Malformed> {
    let (replicas, quorum) = match tags.only("replicas")? {
        // Whoever is not trusted needs a second who agrees.
        None if adaptive => (2, 2),
        None => (1, 1),
        Some([replicas]) => {
            let replicas: u32 = tag::whole("replicas", replicas)?;
            // A majority.
            (replicas, replicas / 2 + 1)
        }
        Some([replicas, quorum]) => (tag::whole("replicas", replicas)?, tag::whole("replicas", quorum)?),
        Some(_) => return Err(Malformed::new("replicas", "needs a number of providers and a quorum")),
    };
    if quorum == 0 || quorum > replicas {
        return Err(Malformed::new("replicas", "the quorum must be from 1 to the number of providers"));
    }
    Ok((replicas, quorum, validation(tags, quorum > 1)?))
}

/// Other methods than these two are for validators; where results are compared, one of these must be named, or none.
fn validation(tags: &Tags, compares: bool) -> Result<Validation, Malformed> {
    let mut named = None;
    for elements in tags.named("validate") {
        let validation = match elements {
            [] => return Err(Malformed::new("validate", "needs a method")),
            [method, ..] if method.is_empty() => return Err(Malformed::new("validate", "needs a method")),
            [method] if method == "adaptive" => continue,
            [method, ..] if method == "validator" => continue,
            [method, ..] if method == "exact" => Validation::Exact,
            [method, tolerance @ ..] if method == "tolerance" => tolerances(tolerance)?,
            [method, ..] if compares => {
                let what = format!("{} is neither exact nor tolerance, by which replicas are compared", shown(method));
                return Err(Malformed::new("validate", what));
            }
            [..] => continue,
        };
        if named.replace(validation).is_some() {
            return Err(Malformed::new("validate", "stands twice"));
        }
    }
    Ok(named.unwrap_or_default())
}

fn tolerances(elements: &[String]) -> Result<Validation, Malformed> {
    let (abs, rel) = match elements {
        [abs] => (abs.as_str(), "0"),
        [abs, rel] => (abs.as_str(), rel.as_str()),
        [..] => return Err(Malformed::new("validate", "tolerance needs a difference, and may have a share")),
    };
    let (abs, rel) = (answer::number("validate", abs)?, answer::number("validate", rel)?);
    let millionths = 10_i128.pow(NUMBER_PLACES) / i128::from(ONE_PPM);
    match u32::try_from(rel / millionths) {
        Ok(rel_ppm) if abs >= 0 && rel >= 0 && rel_ppm <= ONE_PPM => Ok(Validation::Tolerance { abs, rel_ppm }),
        Ok(_) | Err(_) => Err(Malformed::new("validate", "a tolerance is not negative, and a share at most 1")),
    }
}

fn rank(elements: &[String]) -> Result<Rank, Malformed> {
    let order = match elements {
        [_, order, ..] if order == "asc" => Some(Order::Asc),
        [_, order, ..] if order == "desc" => Some(Order::Desc),
        [..] => None,
    };
    match (elements.first().filter(|attribute| !attribute.is_empty()), order) {
        (Some(attribute), Some(order)) => Ok(Rank { attribute: attribute.clone(), order }),
        (Some(_) | None, Some(_) | None) => Err(Malformed::new("rank", "needs an attribute and asc or desc")),
    }
}

/// Bytes of the inputs' data: of a text its own, of anything else those of its address or id.
fn input_bytes(tags: &Tags) -> u64 {
    let bytes = tags.values("i").map(|data| u64::try_from(data.len()).unwrap_or(u64::MAX));
    bytes.fold(0, u64::saturating_add)
}

/// The parameters on which a provider may have a condition. They are the provider's business, so what goes beyond the scheduler's bounds
/// is left out and nothing is refused.
fn params(tags: &Tags) -> Vec<(String, Value)> {
    let named = tags.named("param").filter_map(|elements| match elements {
        [name, value, ..] if !name.is_empty() && name.len().max(value.len()) <= TEXT_MAX => {
            Some((name.clone(), requirement::value(value)))
        }
        [..] => None,
    });
    named.take(PARAMS_MAX).collect()
}
