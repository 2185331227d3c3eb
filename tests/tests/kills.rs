//! The relay is killed at random moments while events are stored, replaced, deleted, expired and swept, authors vanish,
//! and its operator compacts and backs up the store. After every kill a check finds the store sound; whatever was
//! acknowledged is there, whatever was deleted stays deleted even when it is offered again, and the relay reconciles by
//! exactly what it has.
//!
//! `MERCATO_KILLS` says how often it is killed (6), `MERCATO_SEED` brings back the moments of an earlier run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::random::Rng;
use mercato_tests::reconcile;
use mercato_tests::relay::{binary, run_verb};
use mercato_tests::said::prefix;
use mercato_tests::{Keys, Relay};
use serde_json::json;
use tokio::sync::RwLock;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

const GARDENERS: usize = 5;
/// Addresses of each, so that versions and deletions meet often.
const ADDRESSES: u64 = 4;
/// Ids asked for in one REQ.
const CHUNK: usize = 400;
/// Events of earlier rounds that are looked at again after each kill; all are in the end.
const OLD_CHECKED: usize = 300;
/// Every so many kills what is reconciled is held against the store.
const RECONCILED_EVERY: usize = 5;
/// Older than the rule of retention for reactions lets them get.
const OLD_S: u64 = 100_000;
const RULE: &str = "[[retention]]\nkinds = [7]\nmax_age_s = 10000\n";

/// What must be true, as far as the relay has said so.
#[derive(Default)]
struct Garden {
    /// Acknowledged, and nobody has asked since that they go.
    alive: BTreeMap<String, Event>,
    /// Replaced, deleted, or of an author who vanished, all acknowledged; with the last known of how.
    gone: Vec<(Event, &'static str)>,
    /// Acknowledged, and to be swept: they had expired, or were too old, by this second.
    passing: Vec<(String, u64)>,
    /// How often each sort of work was acknowledged.
    tally: BTreeMap<&'static str, usize>,
}

struct Arena {
    port: u16,
    garden: Mutex<Garden>,
    /// Held to read while something is on its way; to write, it is quiet.
    quiet: RwLock<()>,
    faults: Mutex<Vec<String>>,
    closing: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    fn is_open(&self) -> bool {
        !self.closing.load(Ordering::Relaxed)
    }

    fn garden(&self) -> MutexGuard<'_, Garden> {
        lock(&self.garden)
    }

    async fn connect(&self) -> Option<Client> {
        while self.is_open() {
            match Client::connect_to(self.port).await {
                Ok(client) => return Some(client),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        None
    }
}

/// Publishes, and asks that some of it go again.
struct Gardener {
    arena: Arc<Arena>,
    rng: Rng,
    keys: Keys,
    /// Dates of versions and of deletions go up: seconds.
    date: u64,
    versions: HashMap<u64, Event>,
}

impl Gardener {
    async fn run(mut self) {
        while let Some(mut client) = self.arena.clone().connect().await {
            // Ends with the connection; what was on its way then is in doubt, and nothing is expected of it.
            let _ = self.tend(&mut client).await;
        }
    }

    async fn tend(&mut self, client: &mut Client) -> anyhow::Result<()> {
        while self.arena.is_open() {
            let arena = self.arena.clone();
            let _on_its_way = arena.quiet.read().await;
            match self.rng.below(12) {
                0..=3 => self.plant(client).await?,
                4 | 5 => self.replace(client).await?,
                6 | 7 => self.delete(client).await?,
                8 => self.delete_address(client).await?,
                9 => self.vanish(client).await?,
                _ => self.plant_passing(client).await?,
            }
        }
        Ok(())
    }

    fn next_date(&mut self) -> u64 {
        self.date += 1;
        self.date
    }

    fn word(&mut self) -> String {
        self.rng.word().to_string()
    }

    /// Publishes what must be taken.
    async fn store(&self, client: &mut Client, event: &Event) -> anyhow::Result<()> {
        let verdict = client.publish(event).await?;
        if !verdict.accepted {
            lock(&self.arena.faults).push(format!("refused: {} for {}", verdict.text, event.to_json()));
        }
        Ok(())
    }

    fn count(&self, sort: &'static str) {
        *self.arena.garden().tally.entry(sort).or_default() += 1;
    }

    async fn plant(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let notes: Vec<Event> = (0..5).map(|_| Draft::note(self.word()).sign(&self.keys)).collect();
        for note in &notes {
            client.offer(note).await?;
        }
        for note in notes {
            ensure!(client.verdict(&note.id).await?.accepted, "a note was refused");
            self.arena.garden().alive.insert(note.id.clone(), note);
            self.count("notes");
        }
        Ok(())
    }

    async fn replace(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let (address, date, word) = (self.rng.below(ADDRESSES), self.next_date(), self.word());
        let version = Draft::new(30_000).at(date).tag(["d", &address.to_string()]).content(word).sign(&self.keys);
        let before = self.versions.remove(&address);
        before.iter().for_each(|before| drop(self.arena.garden().alive.remove(&before.id)));
        self.store(client, &version).await?;
        let mut garden = self.arena.garden();
        garden.gone.extend(before.map(|before| (before, "replaced")));
        garden.alive.insert(version.id.clone(), version.clone());
        drop(garden);
        self.versions.insert(address, version);
        self.count("versions");
        Ok(())
    }

    /// By id (NIP-09).
    async fn delete(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let own = self.keys.public_key().to_hex();
        let target = {
            let garden = self.arena.garden();
            let notes = garden.alive.values().filter(|event| event.kind == 1 && event.pubkey == own);
            notes.take(1 + self.rng.below(50) as usize).last().cloned()
        };
        let Some(target) = target else { return Ok(()) };
        let deletion = Draft::new(5).tag(["e", &target.id]).content(self.word()).sign(&self.keys);
        self.arena.garden().alive.remove(&target.id);
        self.store(client, &deletion).await?;
        let mut garden = self.arena.garden();
        garden.gone.push((target, "deleted by id"));
        garden.alive.insert(deletion.id.clone(), deletion);
        drop(garden);
        self.count("deletions");
        Ok(())
    }

    /// By address (NIP-09): every version up to the deletion's date.
    async fn delete_address(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let address = self.rng.below(ADDRESSES);
        let Some(version) = self.versions.remove(&address) else { return Ok(()) };
        let named = format!("30000:{}:{address}", version.pubkey);
        let date = self.next_date();
        let deletion = Draft::new(5).at(date).tag(["a", &named]).content(self.word()).sign(&self.keys);
        self.arena.garden().alive.remove(&version.id);
        self.store(client, &deletion).await?;
        let mut garden = self.arena.garden();
        garden.gone.push((version, "deleted by address"));
        garden.alive.insert(deletion.id.clone(), deletion);
        drop(garden);
        self.count("deletions of addresses");
        Ok(())
    }

    /// Somebody comes, publishes, and asks to vanish (NIP-62); now and then with more events than go in one commit.
    async fn vanish(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let keys = Keys::generate();
        let count = if self.rng.percent(5) { 1_100 } else { 1 + self.rng.below(30) };
        let notes: Vec<Event> = (0..count).map(|_| Draft::note(self.word()).sign(&keys)).collect();
        for note in &notes {
            client.offer(note).await?;
        }
        for note in &notes {
            ensure!(client.verdict(&note.id).await?.accepted, "a note was refused");
        }
        let request = Draft::new(62).tag(["relay", "ALL_RELAYS"]).content("forget me").sign(&keys);
        self.store(client, &request).await?;
        let mut garden = self.arena.garden();
        garden.gone.extend(notes.into_iter().take(40).map(|note| (note, "of one who vanished")));
        garden.alive.insert(request.id.clone(), request);
        drop(garden);
        self.count("authors who vanished");
        Ok(())
    }

    /// What expires soon (NIP-40), or is too old for the operator's rule.
    async fn plant_passing(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let (word, now) = (self.word(), now_s());
        let (event, end, sort) = match self.rng.percent(50) {
            // A relay may take its time with the signature: not so soon that it has expired by then.
            true => {
                let end = now + 4 + self.rng.below(3);
                (Draft::note(word).tag(["expiration", &end.to_string()]), end, "events that expire")
            }
            false => (Draft::new(7).at(now - OLD_S).content(word), now, "events for the rule of retention"),
        };
        let event = event.sign(&self.keys);
        if client.publish(&event).await?.accepted {
            self.arena.garden().passing.push((event.id, end));
            self.count(sort);
        }
        Ok(())
    }
}

/// What an operator does beside the relay while it is killed: another verb, to its end, good or bad.
struct Upkeep {
    child: Child,
    /// Where a backup goes, and what must be in it.
    copy: Option<(PathBuf, Vec<String>)>,
}

impl Upkeep {
    fn start(relay: &Relay, arena: &Arena, kill: usize, rng: &mut Rng) -> anyhow::Result<Option<Self>> {
        let chance = rng.below(3);
        let copy = (chance == 1).then(|| {
            let alive = arena.garden().alive.keys().cloned().collect();
            (relay.folder().join(format!("copy-{kill}")), alive)
        });
        let mut command = Command::new(binary()?);
        match &copy {
            Some((folder, _)) => command.arg("backup").arg(folder),
            None if chance == 0 => command.arg("compact"),
            None => return Ok(None),
        };
        command.args(["--set", &set(relay)]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Some(Self { child: command.spawn().context("starting a verb")?, copy }))
    }

    /// Waits for its end. A backup that says that it was made holds all that was there before, and is sound.
    fn finish(mut self, arena: &Arena) -> anyhow::Result<bool> {
        let done = self.child.wait()?.success();
        let Some((folder, promised)) = self.copy else { return Ok(done) };
        if done {
            check(&folder)?;
            let stored = exported(&folder)?;
            let alive = &arena.garden().alive;
            // What was removed while the copy was made may be in it or not.
            let lost = promised.iter().filter(|id| alive.contains_key(*id) && !stored.contains(*id)).count();
            ensure!(lost == 0, "{lost} of {} events are not in the backup", promised.len());
        }
        // A backup that was cut short may have left anything, or nothing.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(done)
    }
}

fn set(relay: &Relay) -> String {
    format!("store.path={}", Relay::store_in(relay.folder()).display())
}

fn check(store: &Path) -> anyhow::Result<()> {
    let said = run_verb(&["check", "--set", &format!("store.path={}", store.display())], b"")?;
    ensure!(said.contains("are sound"), "{said}");
    Ok(())
}

/// Ids of all that is stored, what is to be swept included.
fn exported(store: &Path) -> anyhow::Result<BTreeSet<String>> {
    let lines = run_verb(&["export", "--set", &format!("store.path={}", store.display())], b"")?;
    lines.lines().map(|line| Ok(Event::from_json(&serde_json::from_str(line)?)?.id)).collect()
}

async fn check_alive(client: &mut Client, ids: &[String]) -> anyhow::Result<()> {
    for chunk in ids.chunks(CHUNK) {
        let served: BTreeSet<String> = client.query_ids([json!({"ids": chunk})]).await?.into_iter().collect();
        let lost: Vec<&String> = chunk.iter().filter(|id| !served.contains(*id)).collect();
        ensure!(lost.is_empty(), "{} acknowledged events are lost, among them {}", lost.len(), lost[0]);
    }
    Ok(())
}

/// None of these is served, and none is taken again.
async fn check_gone(client: &mut Client, gone: &[(Event, &'static str)]) -> anyhow::Result<()> {
    for chunk in gone.chunks(CHUNK) {
        let ids: Vec<&String> = chunk.iter().map(|(event, _)| &event.id).collect();
        // An author with more events than go in one commit vanishes by and by.
        let begun = Instant::now();
        while let [back, ..] = &client.query_ids([json!({"ids": ids})]).await?[..] {
            let how = chunk.iter().find(|(event, _)| event.id == *back).map(|(_, how)| how);
            ensure!(begun.elapsed() < PATIENCE, "{back}, {how:?}, is served");
            sleep(Duration::from_millis(20)).await;
        }
        for (event, _) in chunk {
            client.offer(event).await?;
        }
        for (event, how) in chunk {
            let verdict = client.verdict(&event.id).await?;
            let known = matches!(prefix(&verdict.text), Some("deleted" | "replaced"));
            ensure!(!verdict.accepted && known, "{how}, and offered again: {verdict:?} for {}", event.to_json());
        }
    }
    Ok(())
}

/// What had to go by itself is not served; in the end it is not stored either.
async fn check_passed(client: &mut Client, passing: &[(String, u64)]) -> anyhow::Result<()> {
    let begun = Instant::now();
    for chunk in passing.chunks(CHUNK) {
        let ids: Vec<&String> = chunk.iter().map(|(id, _)| id).collect();
        while let [left, ..] = &client.query_ids([json!({"ids": ids})]).await?[..] {
            ensure!(begun.elapsed() < 2 * PATIENCE, "{left} should have been swept");
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// The tree that is gathered anew at each start holds exactly what is stored. Nobody publishes meanwhile.
async fn check_reconciled(relay: &Relay, client: &mut Client) -> anyhow::Result<usize> {
    let (store, begun) = (Relay::store_in(relay.folder()), Instant::now());
    loop {
        let trees = block_in_place(|| run_verb(&["negentropy", "list", "--set", &set(relay)], b""))?;
        let told = reconcile::all(client, &json!({})).await?;
        let stored = block_in_place(|| exported(&store))?;
        // The sweep goes on meanwhile.
        if told == stored && trees.contains(&format!("events: {}\n", stored.len())) {
            return Ok(stored.len());
        }
        let (only_told, only_stored) = (told.difference(&stored).count(), stored.difference(&told).count());
        ensure!(
            begun.elapsed() < 2 * PATIENCE,
            "{only_told} are reconciled and not stored, {only_stored} the other way round; {trees}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_stays_and_what_was_deleted_stays_away_however_often_the_relay_is_killed()
-> anyhow::Result<()> {
    let kills: usize = std::env::var("MERCATO_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let mut rng = Rng::from_environment();
    let folder = tempfile::tempdir()?;
    let rule = folder.path().join("config.toml");
    std::fs::write(&rule, RULE)?;
    let mut relay = Relay::settings().config(&rule).set("limits.max_limit", 100_000).start()?;
    let arena = Arc::new(Arena {
        port: relay.port(),
        garden: Mutex::default(),
        quiet: RwLock::default(),
        faults: Mutex::default(),
        closing: AtomicBool::new(false),
    });
    let gardener = |rng: Rng| {
        let (arena, keys, versions) = (arena.clone(), Keys::generate(), HashMap::new());
        tokio::spawn(Gardener { arena, rng, keys, date: now_s() - 1_000_000, versions }.run())
    };
    let working: Vec<JoinHandle<()>> = (0..GARDENERS).map(|_| gardener(rng.split())).collect();

    let (mut seen_gone, mut seen, mut upkept, mut reconciled) = (0, BTreeSet::new(), 0, 0);
    for kill in 1..=kills {
        let upkeep = Upkeep::start(&relay, &arena, kill, &mut rng)?;
        sleep(Duration::from_millis(100 + rng.below(900))).await;
        block_in_place(|| relay.kill())?;
        let (alive, gone): (Vec<String>, Vec<_>) = {
            let garden = arena.garden();
            (garden.alive.keys().cloned().collect(), garden.gone.clone())
        };
        let after = || format!("after kill {kill}");
        if let Some(upkeep) = upkeep {
            upkept += usize::from(block_in_place(|| upkeep.finish(&arena)).with_context(after)?);
        }
        block_in_place(|| check(&Relay::store_in(relay.folder()))).with_context(after)?;
        block_in_place(|| relay.restart()).with_context(after)?;
        // So that nobody asks that something go which is about to be looked for.
        let quiet = arena.quiet.write().await;
        let mut client = Client::connect(&relay).await?;
        let still = |id: &String| arena.garden().alive.contains_key(id);
        let (old, fresh): (Vec<String>, Vec<String>) =
            alive.into_iter().filter(still).partition(|id| seen.contains(id));
        check_alive(&mut client, &fresh).await.with_context(after)?;
        let sample: Vec<String> = (0..OLD_CHECKED.min(old.len())).map(|_| rng.pick(&old).clone()).collect();
        check_alive(&mut client, &sample).await.with_context(after)?;
        seen.extend(fresh);
        check_gone(&mut client, &gone[seen_gone..]).await.with_context(after)?;
        let sample: Vec<_> = (0..OLD_CHECKED.min(seen_gone)).map(|_| rng.pick(&gone[..seen_gone]).clone()).collect();
        check_gone(&mut client, &sample).await.with_context(after)?;
        seen_gone = gone.len();
        if kill % RECONCILED_EVERY == 0 || kill == kills {
            check_reconciled(&relay, &mut client).await.with_context(after)?;
            reconciled += 1;
        }
        drop(quiet);
    }

    arena.closing.store(true, Ordering::Relaxed);
    for task in working {
        task.await?;
    }
    let garden = std::mem::take(&mut *arena.garden());
    let mut client = Client::connect(&relay).await?;
    let alive: Vec<String> = garden.alive.into_keys().collect();
    check_alive(&mut client, &alive).await.context("in the end")?;
    check_gone(&mut client, &garden.gone).await.context("in the end")?;
    let last = garden.passing.iter().map(|(_, end)| *end).max().unwrap_or(0);
    while now_s() <= last {
        sleep(Duration::from_millis(50)).await;
    }
    // Rules are gone through at a start, and then every ten minutes.
    relay.stop()?;
    relay.restart()?;
    check_passed(&mut Client::connect(&relay).await?, &garden.passing).await.context("in the end")?;
    relay.stop()?;
    check(&Relay::store_in(relay.folder()))?;
    let (alive, gone) = (alive.len(), garden.gone.len());
    eprintln!("{kills} kills, {alive} events there, {gone} gone; {upkept} verbs done, {reconciled} times reconciled");
    eprintln!("acknowledged: {:?}", garden.tally);
    ensure!(alive > 0 && gone > 0 && garden.tally.len() >= 5, "hardly anything happened");
    let faults = lock(&arena.faults).clone();
    ensure!(faults.is_empty(), "{} faults, the first: {:#?}", faults.len(), &faults[..faults.len().min(5)]);
    Ok(())
}
