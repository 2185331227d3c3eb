//! docs/market.md shows real events.

use std::path::Path;

use mercato::nostr::Event;

#[test]
fn every_event_of_the_published_exchange_is_valid() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/market.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let events: Vec<Event> = blocks.map(|block| Event::parse(block).unwrap()).collect();
    assert_eq!(events.len(), 8);
    for event in events {
        event.verify_signature().unwrap();
    }
}
