//! The real program, a folder for it, and events to feed it.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mercato::nostr::Event;
use secp256k1::Keypair;
use serde_json::Value;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A store in a folder of its own.
pub struct World {
    folder: tempfile::TempDir,
}

/// What a finished program said.
pub struct Said {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl World {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The program with these arguments, which knows no configuration but the place of the store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mercato"));
        command.env_remove("MERCATO_CONFIG").env_remove("RUST_LOG").current_dir(self.folder.path());
        command.arg("--set").arg(format!("store.path={}", self.store().display())).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).spawn().expect("the program starts"))
    }

    /// Runs it with `input`.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        let feeding = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let said = said(child);
        feeding.join().expect("no panic").expect("the program reads its input");
        said
    }

    /// What it prints, when it succeeds.
    pub fn out(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    pub fn import(&self, lines: &[String]) -> String {
        self.feed(&["import"], &(lines.join("\n") + "\n")).ok()
    }

    pub fn export(&self) -> Vec<Value> {
        json(&self.out(&["export"]))
    }

    /// A relay on the store.
    pub fn relay(&self) -> Running {
        let mut child = self.command(&["relay", "--set", "relay.port=0"]).spawn().expect("the program starts");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Running { child, log, address: String::new() };
        running.address = running.wait_for("listening on ws://");
        // The next line is the last of the start.
        running.wait_for("self ");
        running
    }
}

fn said(child: Child) -> Said {
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{}{}", self.out, self.err);
        self.out
    }

    /// What it complains of with this exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{}{}", self.out, self.err);
        self.err
    }
}

/// A relay that is killed if the test forgets it.
pub struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    /// Host and port.
    pub address: String,
}

impl Running {
    /// Reads the log up to a line with `text`; what follows it there.
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).expect("a log in UTF-8");
            assert!(read > 0, "no {text:?} in the log:\n{seen}");
            if let Some((_, rest)) = line.split_once(text) {
                return rest.trim_end().to_owned();
            }
            seen.push_str(&line);
        }
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: kill takes no pointers; the child has not been waited for, so its id is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Asks for a stop and waits for it.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.ended()
    }

    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the relay does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn key(byte: u8) -> Keypair {
    Keypair::from_secret_bytes([byte; 32]).expect("a small number is a secret key")
}

pub fn line(event: &Event) -> String {
    String::from_utf8(event.body().to_vec()).expect("UTF-8")
}

/// `count` notes by several authors, newest last, with text that is easily mangled.
pub fn notes(count: u64) -> Vec<String> {
    let note = |n: u64| {
        let content = format!("note {n} \"\\\n\t\r\u{8}\u{c}\u{1}\u{7f} é 🦀 \u{2028}{}", "x".repeat(300));
        let tags = [vec!["t".to_owned(), format!("topic{}", n % 3)], vec!["empty".to_owned()], vec![]];
        line(&Event::sign(&key((n % 5) as u8 + 1), 1_700_000_000 + n, 1 + (n % 2) as u16 * 6, &tags, &content))
    };
    (0..count).map(note).collect()
}

/// Real events, which lie beside the project on its developers' machines only.
pub fn real() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let text = read("real_events.jsonl") + &read("dvm_events.jsonl");
    if text.is_empty() {
        eprintln!("no real events in {}: only generated ones are tested", folder.display());
    }
    text.lines().map(str::to_owned).collect()
}

/// Without those that have expired, which a relay does not serve.
pub fn lasting(mut lines: Vec<String>) -> Vec<String> {
    let now = mercato::clock::now_s();
    lines.retain(|line| !Event::parse(line).expect("an event").is_expired(now));
    lines
}

pub fn json(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// For comparing sets of events.
pub fn by_id(mut events: Vec<Value>) -> Vec<Value> {
    events.sort_by(|a, b| a["id"].as_str().cmp(&b["id"].as_str()));
    events
}

pub fn values(lines: &[String]) -> Vec<Value> {
    json(&lines.join("\n"))
}
