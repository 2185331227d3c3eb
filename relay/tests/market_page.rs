//! docs/market.md shows real events: those of the exchange are what this market says, tag by tag.

#[macro_use]
mod market_world;

use std::path::{Path, PathBuf};

use market_world::{World, someone};
use mercato::market::MarketKeys;
use mercato::nostr::Event;

const FIRST: u8 = 11;
const SECOND: u8 = 12;
const CUSTOMER: u8 = 13;
/// The relay's key: nobody else's.
const RELAY: [u8; 32] = [14; 32];

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/market.md")
}

/// The page's text, and the JSON blocks between.
fn parts(page: &str) -> (Vec<&str>, Vec<&str>) {
    let mut pieces = page.split("```json\n");
    let (mut texts, mut blocks) = (Vec::from_iter(pieces.next()), Vec::new());
    for (block, text) in pieces.map(|piece| piece.split_once("```").unwrap()) {
        blocks.push(block);
        texts.push(text);
    }
    (texts, blocks)
}

/// As on the page: a member a line, and a tag a line.
fn shown(event: &Event) -> String {
    let json: serde_json::Value = serde_json::from_slice(event.body()).unwrap();
    let tag = |tag: &serde_json::Value| {
        let elements: Vec<String> = tag.as_array().unwrap().iter().map(ToString::to_string).collect();
        format!("    [{}]", elements.join(", "))
    };
    let member = |name: &str| match name {
        "tags" => {
            let tags: Vec<String> = json["tags"].as_array().unwrap().iter().map(tag).collect();
            format!("  \"tags\": [\n{}\n  ]", tags.join(",\n"))
        }
        name => format!("  \"{name}\": {}", json[name]),
    };
    let members = ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"].map(member);
    format!("{{\n{}\n}}\n", members.join(",\n"))
}

fn keys() -> MarketKeys {
    let folder = tempfile::tempdir().unwrap();
    let made = MarketKeys::load_or_create(folder.path()).unwrap();
    let file = folder.path().join("keys/relay.key");
    std::fs::write(&file, const_hex::encode(RELAY) + "\n").unwrap();
    let keys = MarketKeys::load_or_create(folder.path()).unwrap();
    assert_ne!(keys.public(), made.public());
    keys
}

/// The eight events of the exchange that the page shows.
fn exchange() -> Vec<Event> {
    let mut world = World::signing(keys());
    let sign = |world: &World, who: u8, kind: u16, tags: Vec<Vec<String>>, content: &str| {
        Event::sign(&someone(who), world.now_s(), kind, &tags, content)
    };
    let advert = tags![
        "d", "text"; "k", 5050; "price", 5050, 20000; "slots", 2; "cap", "model", "llama-3-8b"; "cap", "vram_mb", 24576
    ];
    let first = sign(&world, FIRST, 31990, advert.clone(), "{\"name\":\"Text engine\"}");
    world.publish(&first).unwrap();
    world.connect(FIRST);
    world.wait_ms(1_000);
    let question = tags!["i", "What is a relay?", "text"];
    let asked = tags!["bid", 50000; "require", "vram_mb", ">=", 16000; "timeout", "run", 120; "attempts", 3];
    let request = sign(&world, CUSTOMER, 5050, [question.clone(), asked].concat(), "");
    world.publish(&request).unwrap();
    let lease = world.told("assigned").cloned().unwrap();
    world.say(SECOND, 31990, advert).unwrap();
    world.connect(SECOND);
    world.wait_ms(10_000);
    let withdrawal = world.told("withdrawn").cloned().unwrap();
    world.wait_ms(1_000);
    let number = world.view(request.id).unwrap().leases[0].number;
    let about = tags!["e", request.id; "p", request.pubkey];
    let says = [tags!["status", "processing"], about.clone(), tags!["lease", number]].concat();
    let accepts = sign(&world, SECOND, 7000, says, "");
    world.publish(&accepts).unwrap();
    let state = world.stored_state(request.id).unwrap();
    world.wait_ms(4_000);
    let delivers = [about, question].concat();
    let result = sign(&world, SECOND, 6050, delivers, "A server that stores and forwards signed events.");
    world.publish(&result).unwrap();
    let end = world.told("success").cloned().unwrap();
    vec![first, request, lease, withdrawal, accepts, state, result, end]
}

/// `MERCATO_GOLDEN=write` writes the events anew, to be read through before they are committed.
#[test]
fn the_published_exchange_is_what_the_market_says() {
    let text = std::fs::read_to_string(page()).unwrap();
    let (texts, blocks) = parts(&text);
    let now: Vec<String> = exchange().iter().map(shown).collect();
    if std::env::var_os("MERCATO_GOLDEN").is_some_and(|what| what == "write") {
        let rest = texts[1..].iter().zip(&now).map(|(text, block)| format!("```json\n{block}```{text}"));
        std::fs::write(page(), texts[0].to_owned() + &rest.collect::<String>()).unwrap();
        return;
    }
    assert_eq!(blocks.len(), now.len());
    for (block, now) in blocks.iter().zip(&now) {
        assert_eq!(lasting(block), lasting(now), "the page is out of date: MERCATO_GOLDEN=write writes it anew");
    }
}

/// An event without what changes whenever the settings or the tape's lines do: a lease names the tape's head.
fn lasting(block: &str) -> serde_json::Value {
    let mut event: serde_json::Value = serde_json::from_str(block).unwrap();
    for name in ["id", "sig"] {
        event[name].take();
    }
    for tag in event["tags"].as_array_mut().unwrap().iter_mut().filter(|tag| tag[0] == "snapshot") {
        tag[1].take();
    }
    event
}

#[test]
fn every_event_of_the_published_exchange_is_valid() {
    let text = std::fs::read_to_string(page()).unwrap();
    for block in parts(&text).1 {
        Event::parse(block).unwrap().verify_signature().unwrap();
    }
}
