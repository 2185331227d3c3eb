//! Whatever a client sends is read or refused, and a filter reads the same when we write it.

use mercato::nostr::{ClientMessage, Filter, FilterLimits, MessageLimits};

const LIMITS: MessageLimits =
    MessageLimits { max_filters: 10, filter: FilterLimits { max_elements: 100, max_tags: 3 } };

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ClientMessage::Req { filters, .. }) = ClientMessage::parse(text, LIMITS) {
        filters.iter().for_each(reads_again);
    }
    // Mutations of a bare filter get deeper than those of a whole message.
    if let Ok(filter) = Filter::parse(text, LIMITS.filter) {
        reads_again(&filter);
    }
}

fn reads_again(filter: &Filter) {
    let again = Filter::parse(&filter.to_json(), LIMITS.filter).expect("our own JSON is a filter");
    assert_eq!(again, *filter);
}
