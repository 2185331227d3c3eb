//! Whatever a client sends is read or refused. `cargo +nightly fuzz run message --fuzz-dir tests/fuzz`
#![no_main]

use libfuzzer_sys::fuzz_target;
use mercato::nostr::{ClientMessage, Filter, FilterLimits, MessageLimits};

const LIMITS: MessageLimits = MessageLimits { max_filters: 10, filter: FilterLimits { max_elements: 100, max_tags: 3 } };

fuzz_target!(|text: &str| {
    if let Ok(ClientMessage::Req { filters, .. }) = ClientMessage::parse(text, LIMITS) {
        for filter in filters {
            let again = Filter::parse(&filter.to_json(), LIMITS.filter).expect("our own JSON is a filter");
            assert_eq!(again, filter);
        }
    }
});
