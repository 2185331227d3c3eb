//! However often the process that holds the store is killed, whatever it was about, a check finds everything in order.
//!
//! `MERCATO_KILLS=100` makes the default six kills a hundred.
#![cfg(feature = "rocksdb")]

mod cli_world;

use std::process::{Child, Stdio};
use std::time::Duration;

use cli_world::{World, key, line};
use mercato::clock::now_s;
use mercato::nostr::Event;

const EVENTS: u64 = 4_000;

/// What makes a store work hardest: versions, deletions of what came just before, and events that end while it runs.
fn load(round: u64) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut last: Option<Event> = None;
    for n in 0..EVENTS {
        let author = key((n % 7) as u8 + 1);
        let tag = |name: &str, value: String| vec![name.to_owned(), value];
        let end = tag("expiration", (now_s() + n % 3).to_string());
        let (kind, tags) = match (n % 10, &last) {
            (0, _) => (0, vec![]),
            (1 | 2, _) => (30_000, vec![tag("d", (n % 50).to_string())]),
            (3 | 4, _) => (1, vec![end, tag("t", "ends".to_owned())]),
            (5, Some(last)) => (5, vec![tag("e", last.id.to_hex())]),
            // Old enough for the rule of retention.
            (6, _) => (7, vec![]),
            _ => (1, vec![tag("t", (n % 20).to_string()), tag("p", "00".repeat(32))]),
        };
        let author = match (kind, &last) {
            (5, Some(_)) => key(((n - 1) % 7) as u8 + 1),
            _ => author,
        };
        let event = Event::sign(&author, 1_700_000_000 + round * EVENTS + n, kind, &tags, &format!("{round} {n}"));
        lines.push(line(&event));
        last = Some(event);
    }
    lines.join("\n") + "\n"
}

struct Feeding(Child);

impl Feeding {
    fn start(world: &World, round: u64) -> Self {
        let file = world.store().with_extension(format!("{round}.jsonl"));
        std::fs::write(&file, load(round)).unwrap();
        let mut command = world.command(&["import", "--no-verify", file.to_str().unwrap()]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_store_is_sound_after_every_kill() {
    let kills: u64 = std::env::var("MERCATO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let world = World::new();
    let rule = "[[retention]]\nkinds = [7]\nmax_age_s = 1000\n";
    std::fs::write(world.store().with_file_name("config.toml"), rule).unwrap();
    let mut most = 0;
    for round in 0..kills {
        let pause = Duration::from_millis(100 + round * 271 % 900);
        // With a relay beside the import, which sweeps at its start, or the import alone; and often a compaction.
        let relay = (round % 3 != 2).then(|| world.relay());
        let feeding = Feeding::start(&world, round);
        let compacting = (relay.is_some() && round % 2 == 0).then(|| world.command(&["compact"]).spawn().unwrap());
        std::thread::sleep(pause);
        // Dropping kills.
        drop(relay);
        drop(feeding);
        if let Some(mut compacting) = compacting {
            compacting.wait().unwrap();
        }
        if !world.store().join("db").join("CURRENT").exists() {
            continue;
        }
        let said = world.run(&["check"]);
        assert!(said.status.success(), "after kill {round}:\n{}{}", said.out, said.err);
        let events = said.out.split_once(' ').and_then(|(count, _)| count.parse::<u64>().ok());
        most = most.max(events.expect("a number of events"));
    }
    assert!(most > 0, "nothing was ever stored");
    // In the end it works as if nothing had been.
    Feeding::start(&world, kills).0.wait().unwrap();
    world.out(&["compact"]);
    assert!(world.out(&["check", "--signatures"]).contains("are sound"));
}
