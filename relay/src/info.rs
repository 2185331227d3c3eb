//! The relay information document (NIP-11).

use serde_json::{Value, json};

use crate::access::Lists;
use crate::config::{Config, Way};
use crate::nostr::Pubkey;

/// NIPs whose claims on a relay are met.
const SUPPORTED_NIPS: [u16; 22] = [1, 2, 4, 9, 11, 13, 17, 22, 28, 40, 42, 45, 59, 62, 65, 67, 70, 77, 86, 89, 90, 98];

/// `own` is the key that signs leases and job states; `None` when the market is off.
pub fn document(config: &Config, lists: &Lists, own: Option<Pubkey>) -> Value {
    let (relay, limits, access) = (&config.relay, &config.limits, &config.access);
    let mut document = json!({
        "name": lists.name.as_ref().unwrap_or(&relay.name),
        "description": lists.description.as_ref().unwrap_or(&relay.description),
        "supported_nips": SUPPORTED_NIPS,
        "software": env!("CARGO_PKG_REPOSITORY"),
        "version": env!("CARGO_PKG_VERSION"),
        "limitation": {
            "max_message_length": limits.max_message_bytes,
            "max_subscriptions": limits.max_subscriptions,
            "max_limit": limits.max_limit,
            "default_limit": limits.max_limit,
            "max_subid_length": 64,
            "max_event_tags": limits.max_tags,
            "min_pow_difficulty": limits.min_pow,
            "auth_required": access.auth_to_read && access.auth_to_write,
            "payment_required": config.admission.admit == [Way::Paid],
            "restricted_writes": access.auth_to_write || limits.min_pow > 0 || !config.admission.admit.is_empty(),
            "created_at_upper_limit": limits.created_at_future_s,
        },
    });
    if limits.created_at_past_s > 0 {
        document["limitation"]["created_at_lower_limit"] = limits.created_at_past_s.into();
    }
    let icon = lists.icon.as_ref().unwrap_or(&relay.icon);
    let said = [("pubkey", &relay.pubkey), ("contact", &relay.contact), ("icon", icon)];
    for (name, value) in said.into_iter().filter(|(_, value)| !value.is_empty()) {
        document[name] = value.as_str().into();
    }
    if config.admission.admit.contains(&Way::Paid) {
        document["fees"] = json!({"admission": [{"amount": config.admission.fee_msat, "unit": "msats"}]});
    }
    if let Some(own) = own {
        document["self"] = own.to_hex().into();
    }
    document
}
