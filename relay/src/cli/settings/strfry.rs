//! From strfry's configuration to ours: one table, a row for each of its keys.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use nostr::nips::nip19::FromBech32;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::peer::router::syntax;

/// What becomes of a key.
enum Fate {
    /// It is this key of ours.
    Same(&'static str),
    /// The same, once its value is put as ours is.
    As(&'static str, fn(&Value) -> Result<Value, &'static str>),
    /// The value that we always have needs no word; another has no counterpart, for this reason.
    Always(fn(&Value) -> bool, &'static str),
    /// There is none, for this reason.
    None(&'static str),
}

use Fate::{Always, As, None, Same};

const LMDB: &str = "the store is RocksDB: it needs no size set beforehand; move events with export and import";
const THREADS: &str = "threads share the work as it comes; relay.threads bounds them";
const FILTERS: &str = "a read plugin (plugins.read) can refuse whatever filters it likes";
const LOG: &str = "set RUST_LOG, as in RUST_LOG=mercato=debug";

const TABLE: &[(&str, Fate)] = &[
    ("db", None("the store is another one: move the events with `strfry export --fried | mercato import --fried`")),
    ("dbParams.maxreaders", None(LMDB)),
    ("dbParams.mapsize", None(LMDB)),
    ("dbParams.noReadAhead", None(LMDB)),
    ("events.maxEventSize", Same("limits.max_event_bytes")),
    ("events.rejectEventsNewerThanSeconds", Same("limits.created_at_future_s")),
    ("events.rejectEventsOlderThanSeconds", Same("limits.created_at_past_s")),
    ("events.rejectEphemeralEventsOlderThanSeconds", Same("limits.ephemeral_past_s")),
    ("events.ephemeralEventsLifetimeSeconds", None("ephemeral events are delivered and never stored")),
    ("events.maxNumTags", Same("limits.max_tags")),
    ("events.maxTagValSize", Same("limits.max_tag_value_bytes")),
    ("relay.bind", As("relay.bind", address)),
    ("relay.port", Same("relay.port")),
    ("relay.nofiles", None("the limit on open files is raised as far as the system allows")),
    ("relay.realIpHeader", As("relay.real_ip_header", header)),
    ("relay.auth.enabled", Always(is_true, "clients can always authenticate")),
    ("relay.auth.serviceUrl", Same("relay.url")),
    ("relay.auth.restrictedReadKinds", Always(is_private_kinds, "the kinds 4, 1059 and 21059 are private, no others")),
    ("relay.auth.restrictReadToInvolvedPubkey", Always(is_true, "private kinds are for those involved only")),
    ("relay.info.name", Same("relay.name")),
    ("relay.info.description", Same("relay.description")),
    ("relay.info.pubkey", As("relay.pubkey", pubkey)),
    ("relay.info.self", Always(is_empty, "the relay has a key of its own, see `mercato keys`")),
    ("relay.info.contact", Same("relay.contact")),
    ("relay.info.icon", Same("relay.icon")),
    ("relay.info.banner", Same("relay.banner")),
    ("relay.info.privacy", Same("relay.privacy_policy")),
    ("relay.info.terms", Same("relay.terms_of_service")),
    ("relay.info.nips", Always(is_empty, "the relay names the NIPs that it follows")),
    ("relay.maxWebsocketPayloadSize", Same("limits.max_message_bytes")),
    ("relay.maxReqFilterSize", Same("limits.max_filters")),
    ("relay.autoPingSeconds", Same("relay.ping_s")),
    ("relay.enableTcpKeepalive", None("pings (relay.ping_s) find out who is gone")),
    ("relay.queryTimesliceBudgetMicroseconds", None("queries take turns after a fixed amount of work")),
    ("relay.maxFilterLimit", Same("limits.max_limit")),
    ("relay.maxTagsPerFilter", Same("limits.max_filter_tags")),
    ("relay.maxFilterLimitCount", Same("limits.max_count")),
    ("relay.maxSubsPerConnection", Same("limits.max_subscriptions")),
    ("relay.maxPendingOutboundBytes", As("limits.max_outbound_bytes", above_zero)),
    ("relay.writePolicy.plugin", Same("plugins.write")),
    ("relay.writePolicy.timeoutSeconds", As("plugins.timeout_s", above_zero)),
    ("relay.compression.enabled", Same("relay.compression")),
    ("relay.compression.slidingWindow", None("the window is the relay's choice")),
    ("relay.logging.dumpInAll", Always(is_false, LOG)),
    ("relay.logging.dumpInEvents", Always(is_false, LOG)),
    ("relay.logging.dumpInReqs", Always(is_false, LOG)),
    ("relay.logging.dbScanPerf", Always(is_false, LOG)),
    ("relay.logging.invalidEvents", Always(is_true, LOG)),
    ("relay.numThreads.ingester", None(THREADS)),
    ("relay.numThreads.reqWorker", None(THREADS)),
    ("relay.numThreads.reqMonitor", None(THREADS)),
    ("relay.numThreads.negentropy", None(THREADS)),
    ("relay.negentropy.enabled", Always(is_true, "NIP-77 is always on")),
    ("relay.negentropy.maxSyncEvents", Same("limits.max_sync_events")),
    ("relay.filterValidation.enabled", Always(is_false, FILTERS)),
    ("relay.filterValidation.maxFiltersPerReq", None(FILTERS)),
    ("relay.filterValidation.minFiltersPerReq", None(FILTERS)),
    ("relay.filterValidation.maxKindsPerFilter", None(FILTERS)),
    ("relay.filterValidation.allowedKinds", None(FILTERS)),
    ("relay.filterValidation.requireAuthorOrTag", None(FILTERS)),
];

/// strfry's own values of keys without a counterpart, of which nothing need be said.
const USUAL: &[(&str, &str)] = &[
    ("dbParams.maxreaders", "256"),
    ("dbParams.mapsize", "10995116277760"),
    ("dbParams.noReadAhead", "false"),
    ("events.ephemeralEventsLifetimeSeconds", "300"),
    ("relay.nofiles", "524288"),
    ("relay.enableTcpKeepalive", "false"),
    ("relay.queryTimesliceBudgetMicroseconds", "10000"),
    ("relay.compression.slidingWindow", "true"),
    ("relay.numThreads.ingester", "3"),
    ("relay.numThreads.reqWorker", "3"),
    ("relay.numThreads.reqMonitor", "3"),
    ("relay.numThreads.negentropy", "2"),
    ("relay.filterValidation.maxFiltersPerReq", "3"),
    ("relay.filterValidation.minFiltersPerReq", "1"),
    ("relay.filterValidation.maxKindsPerFilter", "3"),
    ("relay.filterValidation.allowedKinds", "\"\""),
    ("relay.filterValidation.requireAuthorOrTag", "false"),
];

/// Our configuration as TOML, with a comment for each key that is lost.
pub fn translate(text: &str) -> anyhow::Result<String> {
    let mut keys = BTreeMap::new();
    flatten("", &syntax::parse(text)?, &mut keys);
    let known = toml::Table::try_from(Config::default())?;
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let mut lost = String::new();
    for (name, value) in &keys {
        match put(name, value, &known) {
            Ok(Some((section, line))) => {
                let lines = sections.entry(section).or_default();
                writeln!(lines, "{line:<40} # {name}")?;
            }
            Ok(Option::None) => {}
            Err(reason) => writeln!(lost, "# {name} = {value}\n#     {reason}")?,
        }
    }
    let mut translated = String::new();
    for (section, lines) in sections {
        write!(translated, "\n[{section}]\n{lines}")?;
    }
    if !lost.is_empty() {
        write!(translated, "\n# Without a counterpart:\n{lost}")?;
    }
    Ok(translated)
}

/// `a { b = 1 }` as `a.b`.
fn flatten(prefix: &str, members: &Map<String, Value>, into: &mut BTreeMap<String, Value>) {
    for (name, value) in members {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(members) => flatten(&path, members, into),
            value => drop(into.insert(path, value.clone())),
        }
    }
}

/// Whether strfry would behave so anyway.
fn is_usual(name: &str, value: &Value) -> bool {
    let value = value.to_string();
    USUAL.iter().any(|(key, usual)| *key == name && *usual == value)
}

/// The section and the line of ours, nothing where nothing is lost without a word, or why something is.
fn put(name: &str, value: &Value, known: &toml::Table) -> Result<Option<(&'static str, String)>, &'static str> {
    let Some((_, fate)) = TABLE.iter().find(|(key, _)| *key == name) else { return Err("strfry has no such key") };
    let (ours, value) = match fate {
        Same(ours) => (ours, value.clone()),
        As(ours, convert) => (ours, convert(value)?),
        Always(is_ours, _) if is_ours(value) => return Ok(Option::None),
        None(_) if is_usual(name, value) => {
            return Ok(Option::None);
        }
        Always(_, reason) | None(reason) => return Err(reason),
    };
    if value.is_null() {
        return Ok(Option::None);
    }
    let (section, key) = ours.split_once('.').unwrap_or(("", ours));
    let default = known.get(section).and_then(|section| section.get(key)).ok_or("this build has no such feature")?;
    let toml = toml::Value::try_from(&value).ok().filter(|value| value.same_type(default));
    let toml = toml.ok_or("its value is of another type than strfry's")?;
    Ok(Some((section, format!("{key} = {toml}"))))
}

fn address(value: &Value) -> Result<Value, &'static str> {
    let address = value.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    address.map(|address| address.to_string().into()).ok_or("an address in digits is needed, as 127.0.0.1")
}

/// strfry takes a key in either form, we in hex.
fn pubkey(value: &Value) -> Result<Value, &'static str> {
    let text = value.as_str().unwrap_or_default();
    match nostr::PublicKey::from_bech32(text) {
        Ok(key) => Ok(key.to_hex().into()),
        Err(_) => Ok(text.into()),
    }
}

/// Empty is strfry's way of not trusting any; ours is the list of proxies.
fn header(value: &Value) -> Result<Value, &'static str> {
    match value.as_str() {
        Some("") => Ok(Value::Null),
        Some(_) => Ok(value.clone()),
        Option::None => Err("the name of a header is needed"),
    }
}

fn above_zero(value: &Value) -> Result<Value, &'static str> {
    if value.as_u64() == Some(0) { Err("nothing here is unlimited") } else { Ok(value.clone()) }
}

fn is_true(value: &Value) -> bool {
    value == &Value::Bool(true)
}

fn is_false(value: &Value) -> bool {
    value == &Value::Bool(false)
}

fn is_empty(value: &Value) -> bool {
    value.as_str() == Some("")
}

fn is_private_kinds(value: &Value) -> bool {
    let kinds = value.as_str().unwrap_or_default().split(',').map(|kind| kind.trim().parse().ok());
    kinds
        .collect::<Option<Vec<u16>>>()
        .is_some_and(|kinds| kinds.contains(&4) && kinds.contains(&1059) && kinds.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        ## made by hand
        db = "./strfry-db/"   // elsewhere
        dbParams { mapsize = 10995116277760 }
        events { maxEventSize = 70000, rejectEventsNewerThanSeconds = 60 }
        relay {
            bind = "0.0.0.0"
            port = 7778
            nofiles = 1000000
            info { name = "a \"b\"", pubkey = "npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d" }
            writePolicy { plugin = "./spam.js" }
            auth { restrictedReadKinds = "4,1059" }
            logging { dumpInAll = true }
            filterValidation { enabled = false }
            colour = "red"
        }
    "#;

    #[test]
    fn every_key_is_translated_or_told_of() {
        let translated = translate(EXAMPLE).unwrap();
        let config = Config::parse(&translated, &[]).unwrap();
        assert_eq!((config.limits.max_event_bytes, config.limits.created_at_future_s), (70_000, 60));
        assert_eq!((config.relay.bind.to_string().as_str(), config.relay.port), ("0.0.0.0", 7778));
        assert_eq!(config.relay.name, "a \"b\"");
        assert_eq!(config.relay.pubkey, "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
        assert_eq!(config.plugins.write, "./spam.js");
        for lost in ["# db = ", "# relay.nofiles = 1000000", "# relay.logging.dumpInAll", "# relay.colour"] {
            assert!(translated.contains(lost), "no {lost} in {translated}");
        }
        for kept in ["mapsize", "restrictedReadKinds", "filterValidation"] {
            assert!(!translated.contains(kept), "a word too many on {kept}: {translated}");
        }
    }

    #[test]
    fn faults_are_told() {
        assert!(translate("relay { port = }").unwrap_err().to_string().contains("line 1"));
        let translated =
            translate("relay { bind = \"localhost\"\n port = \"http\"\n maxPendingOutboundBytes = 0 }").unwrap();
        assert!(Config::parse(&translated, &[]).is_ok());
        assert_eq!(translated.matches("\n#     ").count(), 3, "{translated}");
    }
}
