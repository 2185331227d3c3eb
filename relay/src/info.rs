//! The relay information document (NIP-11).

use serde_json::{Map, Value, json};

use crate::access::Lists;
use crate::config::{Config, Way};
use crate::market::PublicKeys;

/// Whether a NIP is met under a configuration.
type Holds = fn(&Config) -> bool;

/// The one list of what is spoken here: a NIP whose claims on a relay are met, and when they are. A feature that can be
/// turned off is claimed only while it is on.
const NIPS: &[(u16, Holds)] = &[
    (1, always),
    (2, always),
    (4, always),
    (9, always),
    (11, always),
    (13, always),
    (17, always),
    (22, always),
    (28, always),
    (40, always),
    (42, always),
    (45, always),
    (50, |config| config.search.enabled),
    (59, always),
    (62, always),
    (65, always),
    (67, always),
    (70, always),
    (77, |config| config.negentropy.enabled),
    (86, always),
    (89, |config| config.market.enabled),
    (90, |config| config.market.enabled),
    (98, always),
];

fn always(_: &Config) -> bool {
    true
}

/// `own` are the keys that sign leases and job states, and assertions; `None` when the market is off.
pub fn document(config: &Config, lists: &Lists, own: Option<PublicKeys>) -> Value {
    let mut document = Map::new();
    document.insert("supported_nips".to_owned(), supported_nips(config).into());
    document.insert("software".to_owned(), env!("CARGO_PKG_REPOSITORY").into());
    document.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    document.insert("limitation".to_owned(), limitation(config));
    if let Some(own) = own {
        document.insert("self".to_owned(), own.relay.to_hex().into());
        document.insert("reputation".to_owned(), own.reputation.to_hex().into());
    }
    document.extend(
        written(config, lists).filter(|(_, value)| !is_empty(value)).map(|(name, value)| (name.to_owned(), value)),
    );
    Value::Object(document)
}

fn supported_nips(config: &Config) -> Vec<u16> {
    NIPS.iter().filter(|(_, holds)| holds(config)).map(|(nip, _)| *nip).collect()
}

/// What the operator wrote, last by NIP-86; what he left empty is not told.
fn written(config: &Config, lists: &Lists) -> impl Iterator<Item = (&'static str, Value)> {
    let relay = &config.relay;
    [
        ("name", json!(lists.name.as_ref().unwrap_or(&relay.name))),
        ("description", json!(lists.description.as_ref().unwrap_or(&relay.description))),
        ("banner", json!(relay.banner)),
        ("icon", json!(lists.icon.as_ref().unwrap_or(&relay.icon))),
        ("pubkey", json!(relay.pubkey)),
        ("contact", json!(relay.contact)),
        ("terms_of_service", json!(relay.terms_of_service)),
        ("privacy_policy", json!(relay.privacy_policy)),
        ("posting_policy", json!(relay.posting_policy)),
        ("payments_url", json!(relay.payments_url)),
        ("relay_countries", json!(relay.relay_countries)),
        ("language_tags", json!(relay.language_tags)),
        ("tags", json!(relay.tags)),
        ("fees", fees(config)),
        ("retention", json!(relay.retention)),
    ]
    .into_iter()
}

/// What is asked for here, unless the operator has a price list of his own.
fn fees(config: &Config) -> Value {
    match config.relay.fees.is_empty() && config.admission.admit.contains(&Way::Paid) {
        true => json!({"admission": [{"amount": config.admission.fee_msat, "unit": "msats"}]}),
        false => json!(config.relay.fees),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn limitation(config: &Config) -> Value {
    let (limits, access) = (&config.limits, &config.access);
    let mut limitation = json!({
        "max_message_length": limits.max_message_bytes,
        "max_subscriptions": limits.max_subscriptions,
        "max_limit": limits.max_limit,
        "default_limit": limits.max_limit,
        "max_subid_length": 64,
        "max_event_tags": limits.max_tags,
        // In characters: an event of one-byte characters fits in so many.
        "max_content_length": limits.max_event_bytes,
        "min_pow_difficulty": limits.min_pow,
        "auth_required": access.auth_to_read && access.auth_to_write,
        "payment_required": config.admission.admit == [Way::Paid],
        "restricted_writes": access.auth_to_write || limits.min_pow > 0 || !config.admission.admit.is_empty(),
        "created_at_upper_limit": limits.created_at_future_s,
    });
    if limits.created_at_past_s > 0 {
        limitation["created_at_lower_limit"] = limits.created_at_past_s.into();
    }
    limitation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_off_is_not_claimed_and_what_is_empty_is_not_told() {
        let mut config = Config::default();
        let on = document(&config, &Lists::default(), None);
        assert!(on["supported_nips"].as_array().unwrap().contains(&json!(90)));
        assert!(on.get("banner").is_none() && on.get("fees").is_none() && on.get("tags").is_none());
        config.market.enabled = false;
        let nips = document(&config, &Lists::default(), None)["supported_nips"].clone();
        assert!(!nips.as_array().unwrap().contains(&json!(90)));
    }

    #[test]
    fn nips_stand_once_and_in_order() {
        assert!(NIPS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_price_list_is_told_as_it_is_written() {
        let set = r#"relay.fees={admission=[{amount=1000000,unit="msats"}]}"#;
        let config = Config::load(None, &[set.to_owned()]).unwrap();
        let fees = &document(&config, &Lists::default(), None)["fees"];
        assert_eq!(fees, &json!({"admission": [{"amount": 1_000_000, "unit": "msats"}]}));
    }
}
