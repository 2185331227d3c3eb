//! The program as an operator meets it: every verb with and without a relay beside it.
#![cfg(feature = "rocksdb")]

mod cli_strfry;
mod cli_world;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use cli_world::{PATIENCE, World, by_id, json, key, lasting, line, notes, real, values};
use mercato::nostr::Event;
use secp256k1::Keypair;
use serde_json::{Value, json};

fn all() -> Vec<String> {
    let mut lines = notes(2_500);
    lines.extend(real());
    lines
}

fn created_at(event: &Value) -> u64 {
    event["created_at"].as_u64().expect("a time")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn what_is_imported_is_exported_whole_and_in_order() {
    let (world, lines) = (World::new(), all());
    assert_eq!(world.import(&lines), format!("{} stored, 0 duplicates, 0 rejected\n", lines.len()));
    assert_eq!(world.import(&lines), format!("0 stored, {} duplicates, 0 rejected\n", lines.len()));
    let exported = world.export();
    assert_eq!(by_id(exported.clone()), by_id(values(&lines)));
    assert!(exported.is_sorted_by_key(created_at));
    let mut reversed = json(&world.out(&["export", "--reverse"]));
    reversed.reverse();
    assert_eq!(reversed, exported);
}

#[test]
fn an_export_goes_back_into_another_store() {
    let (world, other) = (World::new(), World::new());
    world.import(&all());
    let export = world.out(&["export"]);
    other.feed(&["import"], &export).ok();
    assert_eq!(other.out(&["export"]), export);
}

#[test]
fn an_export_takes_a_range() {
    let world = World::new();
    world.import(&notes(100));
    let range = json(&world.out(&["export", "--since", "1700000010", "--until", "1700000019"]));
    assert_eq!(range.iter().map(created_at).collect::<Vec<_>>(), (1_700_000_010..1_700_000_020).collect::<Vec<_>>());
}

#[test]
fn a_scan_finds_what_a_naive_search_finds() {
    let (world, lines) = (World::new(), lasting(all()));
    world.import(&lines);
    let scan = |filter: &str| json(&world.out(&["scan", filter]));
    let naive = |wanted: &dyn Fn(&Value) -> bool| by_id(values(&lines).into_iter().filter(|e| wanted(e)).collect());
    assert_eq!(by_id(scan("{}")), naive(&|_| true));
    assert_eq!(by_id(scan(r#"{"kinds":[1,5050]}"#)), naive(&|e| e["kind"] == 1 || e["kind"] == 5050));
    let author = Event::sign(&key(2), 1, 1, &[], "").pubkey.to_hex();
    assert_eq!(by_id(scan(&format!(r#"{{"authors":["{author}"]}}"#))), naive(&|e| e["pubkey"] == author.as_str()));
    let topic = |e: &Value| e["tags"].as_array().is_some_and(|tags| tags.contains(&json!(["t", "topic1"])));
    assert_eq!(by_id(scan(r##"{"#t":["topic1"]}"##)), naive(&topic));

    let newest = scan(r#"{"limit":7}"#);
    let mut expected: Vec<u64> = values(&lines).iter().map(created_at).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(newest.iter().map(created_at).collect::<Vec<_>>(), expected[..7]);
    assert_eq!(world.out(&["scan", r#"{"kinds":[1]}"#, "--count"]), format!("{}\n", scan(r#"{"kinds":[1]}"#).len()));
}

#[test]
fn every_verb_works_beside_a_running_relay() {
    let (world, lines) = (World::new(), lasting(all()));
    let relay = world.relay();
    assert_eq!(world.import(&lines), format!("{} stored, 0 duplicates, 0 rejected\n", lines.len()));
    assert_eq!(world.import(&lines), format!("0 stored, {} duplicates, 0 rejected\n", lines.len()));
    assert_eq!(by_id(world.export()), by_id(values(&lines)));
    assert_eq!(world.out(&["scan", "{}", "--count"]), format!("{}\n", lines.len()));

    let own = world.out(&["keys"]).split_whitespace().nth(1).expect("a key").to_owned();
    let info = world.out(&["info"]);
    for part in [&format!("ws://{}", relay.address), &own, &format!("events    {}\n", lines.len())] {
        assert!(info.contains(part), "no {part} in {info}");
    }
    assert_eq!(world.run(&["jobs"]).err, "no jobs\n");

    let id = values(&lines)[0]["id"].as_str().expect("an id").to_owned();
    let filter = format!(r#"{{"ids":["{id}"]}}"#);
    assert!(ask(&relay.address, &filter).contains(&id), "a client finds what was imported");
    assert_eq!(world.out(&["delete", "--filter", &filter, "--dry-run"]), "1 events would be removed\n");
    assert_eq!(world.out(&["delete", "--filter", &filter]), "1 events removed\n");
    assert!(ask(&relay.address, &filter).starts_with(r#"["EOSE""#), "nor what was deleted");

    assert!(relay.stop().success());
    assert!(!world.store().join("control.sock").exists());
    assert_eq!(world.export().len(), lines.len() - 1);
    assert!(world.out(&["info"]).contains("not running"));
}

/// The first answer of a relay to a REQ.
fn ask(address: &str, filter: &str) -> String {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("the relay listens");
        let connected = tokio_tungstenite::client_async(format!("ws://{address}"), stream).await;
        let (mut socket, _) = connected.expect("a WebSocket");
        socket.send(Message::text(format!(r#"["REQ","s",{filter}]"#))).await.expect("sent");
        loop {
            let message = socket.next().await.expect("an answer").expect("a message").into_text().expect("text");
            if !message.starts_with(r#"["AUTH""#) {
                return message.to_string();
            }
        }
    })
}

#[test]
fn one_store_has_one_relay() {
    let world = World::new();
    let relay = world.relay();
    let refusal = world.run(&["relay", "--set", "relay.port=0", "--set", "relay.lock_wait_s=0"]).fails(1);
    assert!(refusal.contains("in use by another process"), "{refusal}");
    assert!(relay.stop().success());
}

#[test]
fn a_killed_relay_loses_nothing_and_is_not_in_the_way() {
    let (world, lines) = (World::new(), notes(1_500));
    let mut relay = world.relay();
    world.import(&lines[..1_000]);
    relay.signal(libc::SIGKILL);
    relay.ended();
    assert!(world.store().join("control.sock").exists(), "it could not tidy up");
    assert_eq!(by_id(world.export()), by_id(values(&lines[..1_000])));
    assert_eq!(world.import(&lines), "500 stored, 1000 duplicates, 0 rejected\n");
    assert!(world.relay().stop().success());
}

#[test]
fn faulty_lines_are_told_and_do_not_stop_the_rest() {
    let mut lines = notes(6);
    lines[1] = "{not json".to_owned();
    lines[2] = String::new();
    lines[3] = lines[3].replace("note 3", "note 4");
    lines[4] = with_wrong_signature(&lines[4]);
    let text = lines.join("\n");
    let check = |world: &World| {
        let said = world.feed(&["import"], &text);
        assert_eq!(said.out, "2 stored, 0 duplicates, 3 rejected\n");
        let told: Vec<&str> = said.err.lines().collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("line 2: expected"), "{told:?}");
        assert_eq!(told[1..], ["line 4: bad event id", "line 5: bad signature"]);
        assert!(said.status.success());
    };
    check(&World::new());
    let world = World::new();
    let _relay = world.relay();
    check(&world);
    assert_eq!(world.feed(&["import", "--no-verify"], &text).ok(), "1 stored, 2 duplicates, 2 rejected\n");
}

fn with_wrong_signature(line: &str) -> String {
    let mut event: Value = serde_json::from_str(line).expect("JSON");
    event["sig"] = "0".repeat(128).into();
    event.to_string()
}

#[test]
fn rejections_are_told_on_request() {
    let tag = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
    let newer = Event::sign(&key(1), 200, 0, &[], "newer");
    let older = Event::sign(&key(1), 100, 0, &[], "older");
    let ephemeral = Event::sign(&key(1), 100, 20_000, &[], "");
    let expired = Event::sign(&key(1), 100, 1, &[tag("expiration", "200")], "");
    let large = Event::sign(&key(1), 100, 1, &[], &"x".repeat(70_000));
    let lines: Vec<String> = [&newer, &older, &ephemeral, &expired, &large].map(line).into();
    let check = |world: &World| {
        let said = world.feed(&["import", "--show-rejected"], &lines.join("\n"));
        assert_eq!(said.out, "2 stored, 0 duplicates, 3 rejected\n");
        let told: Vec<&str> = said.err.lines().collect();
        assert_eq!(told[0], format!("line 2: {}: replaced", older.id));
        assert_eq!(told[1], format!("line 3: {}: ephemeral", ephemeral.id));
        assert!(told[2].starts_with(&format!("line 5: {}: invalid: event too large", large.id)), "{told:?}");
        assert_eq!(told.len(), 3);
        // Added up for who does not ask for every line.
        let said = world.feed(&["import"], &lines.join("\n"));
        let told: Vec<&str> = said.err.lines().collect();
        assert_eq!((told[0], told[2]), ("1 not kept: ephemeral", "1 not kept: replaced"));
    };
    check(&World::new());
    let world = World::new();
    let _relay = world.relay();
    check(&world);
}

#[test]
fn a_flood_of_faults_is_cut_short() {
    let world = World::new();
    let said = world.feed(&["import"], &"?\n".repeat(25));
    assert_eq!(said.err.lines().count(), 21);
    assert!(said.err.ends_with("and 5 more lines; --show-rejected shows all\n"), "{}", said.err);
    assert_eq!(world.feed(&["import", "--show-rejected"], &"?\n".repeat(25)).err.lines().count(), 25);
    let endless = "x".repeat(2_000_000);
    assert_eq!(world.feed(&["import"], &endless).err, "line 1: the line is too long\n");
}

#[test]
fn there_is_nothing_of_progress_in_a_pipe() {
    let (world, lines) = (World::new(), notes(100));
    let file = world.store().with_file_name("events.jsonl");
    std::fs::write(&file, lines.join("\n")).expect("written");
    let said = world.run(&["import", file.to_str().expect("UTF-8")]);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("100 stored, 0 duplicates, 0 rejected\n", ""));
    let said = world.run(&["export"]);
    assert_eq!((said.out.lines().count(), said.err.as_str()), (100, ""));
}

#[test]
fn a_reader_that_has_enough_is_no_fault() {
    let world = World::new();
    world.import(&notes(2_500));
    let mut child = world.command(&["export"]).spawn().expect("the program starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    let mut complaint = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut complaint).expect("UTF-8");
    assert_eq!(complaint, "");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn what_is_not_understood_is_refused() {
    let world = World::new();
    for arguments in
        [&["fly"][..], &["scan"], &["scan", "{"], &["scan", r#"{"kind":[1]}"#], &["export", "--since", "x"]]
    {
        world.run(arguments).fails(2);
    }
    world.run(&["delete"]).fails(2);
    world.run(&["jobs", "--state", "lost"]).fails(2);
    let complaint = |set: &str| world.run(&["info", "--set", set]).fails(1);
    assert!(complaint("relay.prot=1").contains("unknown field `prot`"), "{}", complaint("relay.prot=1"));
    assert!(complaint("relay.port=many").contains("relay.port"), "{}", complaint("relay.port=many"));
    assert!(world.run(&["demo"]).fails(1).contains("reads no configuration"));
    let missing = world.run(&["info", "--config", "nowhere.toml"]).fails(1);
    assert!(missing.starts_with("mercato: reading nowhere.toml: No such file"), "{missing}");
    let empty = world.run(&["export"]).fails(1);
    assert!(empty.contains("no store in"), "{empty}");
}

#[test]
fn settings_hold_before_and_behind_the_verb_and_the_last_wins() {
    let world = World::new();
    let file = world.store().with_file_name("other.toml");
    std::fs::write(&file, "[market]\nattempts = 3\n").expect("written");
    // More attempts than are allowed show that both settings were heard.
    let complaint = world.run(&["--set", "market.max_attempts=4", "info", "--set", "market.attempts=5"]).fails(1);
    assert!(complaint.contains("market.attempts must not be above"), "{complaint}");
    let arguments = ["--config", "other.toml", "--set", "market.max_attempts=2", "info"];
    assert!(world.run(&arguments).fails(1).contains("market.attempts must not be above"));
    let arguments = ["--set", "market.slots=0", "info", "--set", "market.slots=1"];
    assert!(world.run(&arguments).fails(1).contains("no store in"));
}

#[test]
fn the_key_is_made_on_request_and_its_secret_is_never_shown() {
    let world = World::new();
    assert!(world.run(&["keys"]).fails(1).contains("--create"));
    let shown = world.out(&["keys", "--create"]);
    assert_eq!(world.out(&["keys"]), shown);
    let keys = world.store().join("keys");
    assert_eq!((mode(&world.store()), mode(&keys), mode(&keys.join("relay.key"))), (0o700, 0o700, 0o600));
    let secret = std::fs::read_to_string(keys.join("relay.key")).expect("a key");
    assert!(!shown.contains(secret.trim()));
    let own = own_key(&world).x_only_public_key().0.to_string();
    assert!(shown.contains(&own), "{shown}");
    assert!(shown.contains("npub1"), "{shown}");
    assert_eq!(world.relay().wait_for_own(), own);
}

impl cli_world::Running {
    /// The key that the relay itself names.
    fn wait_for_own(&self) -> String {
        let mut stream = std::net::TcpStream::connect(&self.address).expect("the relay listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = "GET / HTTP/1.1\r\nHost: x\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, document) = answer.split_once("\r\n\r\n").expect("a body");
        let document: Value = serde_json::from_str(document).expect("JSON");
        document["self"].as_str().expect("a key").to_owned()
    }
}

fn own_key(world: &World) -> Keypair {
    let text = std::fs::read_to_string(world.store().join("keys/relay.key")).expect("a key");
    let secret: [u8; 32] = const_hex::decode_to_array(text.trim()).expect("hex");
    Keypair::from_secret_bytes(secret).expect("a secret key")
}

#[test]
fn the_control_socket_is_private_and_answers_line_by_line() {
    let world = World::new();
    std::fs::create_dir_all(world.store()).expect("made");
    let socket = world.store().join("control.sock");
    // Left behind: nobody answers any more.
    drop(UnixListener::bind(&socket).expect("bound"));
    let _relay = world.relay();
    assert_eq!(mode(&socket), 0o600);

    let stream = UnixStream::connect(&socket).expect("it answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut answers = BufReader::new(stream.try_clone().expect("a handle"));
    let say = |line: &str| (&stream).write_all(format!("{line}\n").as_bytes()).expect("sent");
    let mut hear = || {
        let mut line = String::new();
        answers.read_line(&mut line).expect("an answer");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    for nonsense in ["", "?", r#"{"verb":"stop"}"#, r#"{"verb":"delete","filter":{"x":1}}"#, &"x".repeat(1_000_000)] {
        say(nonsense);
        assert!(hear()["error"].is_string());
    }
    say(r#"{"verb":"info"}"#);
    assert_eq!(hear()["info"]["clients"], 0);
    say(r#"{"verb":"import"}"#);
    let notes = notes(2);
    for line in [&notes[0], "?", &"x".repeat(1_000_000), &notes[0], &notes[1]] {
        say(line);
    }
    assert_eq!(hear(), "stored");
    assert!(hear()["refused"].is_string());
    assert_eq!(hear(), json!({"refused": "the event is too large"}));
    assert_eq!([hear(), hear()], ["duplicate", "stored"]);
}

/// A job's state as the relay would sign it.
fn state(own: &Keypair, job: &str, status: &str, created_at: u64, more: &[(&str, &str)]) -> String {
    let mut tags = vec![("d", job), ("e", job), ("k", "5050"), ("status", status)];
    tags.extend(more);
    let tags: Vec<Vec<String>> =
        tags.iter().map(|(name, value)| vec![(*name).to_owned(), (*value).to_owned()]).collect();
    line(&Event::sign(own, created_at, 30_383, &tags, ""))
}

#[test]
fn jobs_are_those_whose_state_the_relay_signed() {
    let world = World::new();
    world.out(&["keys", "--create"]);
    let own = own_key(&world);
    let request = Event::sign(&key(9), 1_000, 5_050, &[], "");
    let (first, second, third) = (request.id.to_hex(), "b".repeat(64), "c".repeat(64));
    let provider = Event::sign(&key(7), 1, 1, &[], "").pubkey.to_hex();
    let deadline = (mercato::clock::now_s() + 3_000).to_string();
    let leased = [("provider", provider.as_str()), ("attempt", "2"), ("lease", "7"), ("deadline", &deadline)];
    world.import(&[
        line(&request),
        state(&own, &first, "running", 5_000, &leased),
        state(&own, &second, "succeeded", 9_000, &[("provider", &provider), ("attempt", "1")]),
        state(&own, &third, "queued", 2_000, &[("attempt", "0"), ("deadline", &deadline)]),
        state(&key(3), &"d".repeat(64), "running", 9_000, &[]),
    ]);
    let jobs = json(&world.out(&["jobs", "--json"]));
    let order: Vec<&str> = jobs.iter().map(|job| job["job"].as_str().expect("an id")).collect();
    assert_eq!(order, [&third, &first, &second], "the unfinished first, then the newest");
    assert_eq!((&jobs[1]["created_at"], &jobs[1]["changed_at"]), (&json!(1_000), &json!(5_000)));
    assert_eq!((&jobs[1]["provider"], &jobs[1]["attempt"]), (&json!(provider), &json!(2)));

    let table = world.out(&["jobs"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["JOB", "KIND", "STATE", "PROVIDER", "ATTEMPT", "LEASE", "DEADLINE", "AGE"]);
    assert_eq!(rows[2][..3], [&first[..12], "5050", "running"]);
    assert_eq!((rows[2][4], rows[2][6]), ("2", "in"));
    assert!(rows[2][3].starts_with("npub1"));
    assert_eq!(json(&world.out(&["jobs", "--json", "--state", "succeeded"])).len(), 1);
    assert_eq!(world.run(&["jobs", "--kind", "5100"]).err, "no jobs\n");
    assert!(world.out(&["info"]).contains("1 queued, 1 running, 1 succeeded"));
}

#[test]
fn the_story_of_a_job_is_told_from_its_events() {
    let world = World::new();
    world.out(&["keys", "--create"]);
    let own = own_key(&world);
    let tags = |tags: &[&[&str]]| -> Vec<Vec<String>> {
        tags.iter().map(|tag| tag.iter().map(|text| (*text).to_owned()).collect()).collect()
    };
    let (customer, provider) = (key(9), key(7));
    let request = Event::sign(&customer, 1_000, 5_050, &tags(&[&["i", "what is \u{1b}[31ma relay?", "text"]]), "");
    let (job, by) = (request.id.to_hex(), Event::sign(&provider, 1, 1, &[], "").pubkey.to_hex());
    let asks = request.pubkey.to_hex();
    let e = ["e", &job];
    let lease = tags(&[
        &["status", "assigned"],
        &e,
        &["p", &by],
        &["lease", "3"],
        &["attempt", "1"],
        &["deadline", "1010"],
        &["why", "record", "500", "score", "8000"],
    ]);
    let result = Event::sign(&provider, 1_065, 6_050, &tags(&[&e, &["amount", "9"]]), "A server.");
    let end = tags(&[
        &["status", "success", "the job has its result"],
        &e,
        &["p", &by],
        &["end", "succeeded"],
        &["result", &result.id.to_hex()],
    ]);
    let final_state = [("customer", asks.as_str()), ("provider", by.as_str()), ("p", &asks), ("p", &by)];
    world.import(&[
        line(&request),
        line(&Event::sign(&own, 1_000, 7_000, &lease, "")),
        line(&Event::sign(&provider, 1_002, 7_000, &tags(&[&["status", "processing"], &e]), "")),
        line(&result),
        line(&Event::sign(&own, 1_065, 7_000, &end, "")),
        state(&own, &job, "succeeded", 1_065, &final_state),
        state(&own, &"c".repeat(64), "queued", 1_000, &[]),
    ]);
    let text = world.out(&["job", &job[..8]]);
    let story: Vec<&str> = text.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    assert!(text.starts_with(&format!("job       {job}\nkind      5050\nstate     succeeded\n")), "{text}");
    assert!(!text.contains('\u{1b}'), "what others wrote does not reach the terminal");
    let ends = [
        "asks for kind 5050",
        "to accept by 00:16:50",
        "says processing",
        "(9 bytes)",
        "succeeded: the job has its result",
    ];
    let told: Vec<&str> = story.iter().filter(|line| !line.starts_with(' ')).copied().collect();
    assert_eq!(told.len(), ends.len(), "{text}");
    assert!(told.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{text}");
    assert!(told[3].starts_with("00:17:45  +1m05s   provider"), "{text}");
    assert!(story.iter().any(|line| line.ends_with("why: record 500, score 8000")), "{text}");
    let lines = json(&world.out(&["job", &job, "--json"]));
    assert_eq!((lines.len(), &lines[1]["role"], &lines[2]["at"]), (5, &json!("relay"), &json!(1_002)));
    assert_eq!(json(&world.out(&["jobs", "--json", "--customer", &asks])).len(), 1);
    assert_eq!(json(&world.out(&["jobs", "--json", "--provider", &by])).len(), 1);
    assert_eq!(world.run(&["jobs", "--provider", &asks]).err, "no jobs\n");
    assert_eq!(json(&world.out(&["jobs", "--json", "--limit", "1"])).len(), 1);
    world.run(&["job", "ffff"]).fails(1);
    world.run(&["jobs", "--customer", "nobody"]).fails(2);
}

#[test]
fn a_watch_prints_each_change_into_a_pipe() {
    let world = World::new();
    let _relay = world.relay();
    let (own, job) = (own_key(&world), "a".repeat(64));
    let now = mercato::clock::now_s();
    world.import(&[state(&own, &job, "queued", now, &[])]);
    let mut watch = world.command(&["jobs", "--watch", "--json"]).spawn().expect("the program starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("read")).expect("JSON");
    assert_eq!(next()["state"], "queued");
    for (at, status) in [(now + 1, "leased"), (now + 2, "running"), (now + 3, "succeeded")] {
        world.import(&[state(&own, &job, status, at, &[])]);
        assert_eq!(next()["state"], status);
    }
    // SAFETY: kill takes no pointers; the child has not been waited for, so its id is its own.
    unsafe { libc::kill(watch.id() as i32, libc::SIGTERM) };
    assert!(watch.wait().expect("it ends").success());
}
