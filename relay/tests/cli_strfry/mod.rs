//! What an operator coming from strfry types, and what comes of it.

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use mercato::clock::now_s;
use mercato::nostr::Event;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::cli_world::{World, by_id, json, key, line, notes};

/// Written by strfry itself: `strfry export --fried` of events with every kind of tag that it packs in a way of its own.
const FRIED: &str = include_str!("fried.jsonl");

#[test]
fn what_strfry_fried_is_read_and_written_to_the_same() {
    let world = World::new();
    assert_eq!(world.feed(&["import", "--fried"], FRIED).ok(), "11 stored, 0 duplicates, 0 rejected\n");
    assert_eq!(by_id(json(&world.out(&["export", "--fried"]))), by_id(json(FRIED)));
    assert!(!world.out(&["export"]).contains("fried"));
    // Without the flag the same lines are checked like any others.
    let other = World::new();
    other.feed(&["import"], FRIED).ok();
    assert_eq!(other.out(&["export"]), world.out(&["export"]));
}

#[test]
fn a_fried_line_that_does_not_hold_together_is_rejected() {
    let world = World::new();
    let mut lines: Vec<String> = FRIED.lines().map(str::to_owned).collect();
    lines[1] = lines[1].replace("\"fried\":\"", "\"fried\":\"00");
    lines[2] = lines[2].split(",\"fried\"").next().expect("a piece").to_owned() + "}";
    let said = world.feed(&["import", "--fried", "--write-batch=3", "--debounce-millis=100"], &lines.join("\n"));
    let told: Vec<&str> = said.err.lines().collect();
    assert_eq!(told[0], "line 2: the member \"fried\" is damaged");
    assert_eq!(told[1], "line 3: the line does not end in a member \"fried\" in hex");
    assert_eq!(said.ok(), "9 stored, 0 duplicates, 2 rejected\n");
}

/// A note as old as this.
fn aged(age_s: u64) -> String {
    line(&Event::sign(&key(1), now_s() - age_s, 1, &[], &age_s.to_string()))
}

#[test]
fn imported_events_are_judged_by_the_plugin_where_that_is_wanted() {
    // Refuses one topic, and everything that does not come from an import.
    const PLUGIN: &str = r#"while read -r line; do
        id=${line#*'"id":"'}; id=${id%%'"'*}; action=accept
        case $line in *topic1*) action=reject ;; *'"sourceType":"Import","sourceInfo":""'*) ;; *) action=reject ;; esac
        echo "{\"id\":\"$id\",\"action\":\"$action\",\"msg\":\"blocked: no\"}"
    done"#;
    let (world, lines) = (World::new(), notes(30));
    let plugin = format!("plugins.write={PLUGIN}");
    let import = |more: &[&str]| world.feed(&[&["import", "--set", &plugin], more].concat(), &lines.join("\n"));
    let said = import(&["--set", "plugins.import=true", "--show-rejected"]);
    assert_eq!(said.err.lines().filter(|line| line.ends_with("blocked: no")).count(), 10);
    assert_eq!(said.ok(), "20 stored, 0 duplicates, 10 rejected\n");
    assert_eq!(import(&[]).ok(), "10 stored, 20 duplicates, 0 rejected\n");
}

#[test]
fn ages_and_ranges_choose_events() {
    const HOUR: u64 = 3_600;
    let world = World::new();
    world.import(&[1, 3, 50, 24 * 40, 24 * 400].map(|hours| aged(hours * HOUR)));
    let count = |range: &str| world.out(&["scan", "{}", "--count", "--range", range]).trim().to_owned();
    for (range, expected) in [("2h-", "1"), ("-2h", "4"), ("2d-2h", "1"), ("1Y-2d", "2"), ("-1Y", "1"), ("-", "5")] {
        assert_eq!(count(range), expected, "{range}");
    }
    assert_eq!(world.out(&["export", "--range", "4h-"]).lines().count(), 2);
    for bad in ["2x-", "1h-2h", "2h"] {
        world.run(&["scan", "{}", "--range", bad]).fails(2);
    }
    assert!(world.run(&["scan", r#"{"since":1}"#, "--range", "2h-"]).fails(1).contains("contradict"));
    assert_eq!(world.out(&["delete", "--age", "1M", "--dry-run"]), "2 events would be removed\n");
    assert_eq!(world.out(&["delete", "--range", "1Y-1M"]), "1 events removed\n");
    assert_eq!(world.out(&["delete", "--age", &(2 * HOUR).to_string(), "--filter", "{}"]), "3 events removed\n");
    assert_eq!(count("-"), "1");
}

#[test]
fn a_scan_that_rests_finds_the_same_and_tells_its_cost() {
    let world = World::new();
    world.import(&notes(2_500));
    let whole = world.out(&["scan", "{}"]);
    let said = world.run(&["scan", "{}", "--pause", "1", "--metrics"]);
    let told: Vec<u64> = said.err.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(told[0], 2_500);
    assert!(told[1] > 1, "it did not rest: {}", said.err);
    assert_eq!(said.ok(), whole);
}

#[test]
fn a_verb_that_is_not_needed_says_so() {
    let world = World::new();
    assert!(world.run(&["dict", "train", "--limit=10"]).fails(1).contains("compresses events by itself"));
}

#[test]
fn the_configuration_of_strfry_is_translated_to_one_that_is_fine() {
    let world = World::new();
    let file = world.store().with_file_name("strfry.conf");
    std::fs::write(&file, "relay {\n  port = 7999 # one more\n  nofiles = 7\n}\n").expect("written");
    let translated = world.out(&["config", "import", "strfry.conf"]);
    assert!(translated.contains("# relay.nofiles = 7\n"), "{translated}");
    std::fs::write(world.store().with_file_name("config.toml"), &translated).expect("written");
    assert_eq!(world.out(&["config", "check"]), "config.toml is fine\n");
    let shown = world.out(&["config", "show", "--set", "relay.name=shown"]);
    let shown: toml::Table = shown.parse().expect("TOML");
    assert_eq!((shown["relay"]["port"].as_integer(), shown["relay"]["name"].as_str()), (Some(7_999), Some("shown")));
    std::fs::write(&file, "relay {\n  port = \n}\n").expect("written");
    assert!(world.run(&["config", "import", "strfry.conf"]).fails(1).contains("line 3"));
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_with_its_line() {
    let world = World::new();
    let check = |text: &str| {
        std::fs::write(world.store().with_file_name("other.toml"), text).expect("written");
        world.run(&["config", "check", "other.toml"]).fails(1)
    };
    assert!(check("[relay]\nprot = 1\n").contains("line 2"));
    assert!(check("[relay]\n\nport = \"x\"\n").contains("line 3"));
    assert!(check("[relay\n").contains("line 1"));
    let semantic = check("[market]\nslots = 1\nattempts = 0\n");
    assert!(semantic.contains("line 3") && semantic.contains("market.attempts must be 1 or more"), "{semantic}");
    assert!(world.out(&["config", "check"]).contains("the defaults hold"));
}

#[test]
fn the_monitor_shows_who_is_connected() {
    let world = World::new();
    assert!(world.run(&["monitor"]).fails(1).contains("no relay runs"));
    let relay = world.relay();
    assert_eq!(world.out(&["monitor", "--json"]), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let socket = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&relay.address).await.expect("the relay listens");
        let connected = tokio_tungstenite::client_async(format!("ws://{}", relay.address), stream).await;
        let (mut socket, _) = connected.expect("a WebSocket");
        for name in ["a", "b"] {
            socket.send(Message::text(format!(r#"["REQ","{name}",{{}}]"#))).await.expect("sent");
        }
        let mut left = 2;
        while left > 0 {
            let message = socket.next().await.expect("an answer").expect("a message").into_text().expect("text");
            left -= usize::from(message.starts_with(r#"["EOSE""#));
        }
        socket
    });
    let peers = json(&world.out(&["monitor", "--json"]));
    assert_eq!(peers.len(), 1);
    let peer: BTreeMap<String, Value> = serde_json::from_value(peers[0].clone()).expect("an object");
    assert_eq!(peer["subscriptions"], 2);
    assert!(peer["address"].as_str().expect("a text").starts_with("127.0.0.1:"));
    let table = world.out(&["monitor"]);
    assert!(table.starts_with("ID") && table.contains("127.0.0.1:"), "{table}");
    drop(socket);
}
