//! Random events and filters from a seed: few keys, values and times, so that they meet often.

use nostr::Keys;
use serde_json::{Map, Value, json};

use crate::event::{Draft, Event};

/// Kinds of every way of being kept, none of which the market reads.
const KINDS: [u16; 9] = [1, 1, 1, 7, 0, 3, 10_002, 30_023, 30_024];
const TAG_NAMES: [&str; 7] = ["e", "p", "t", "T", "d", "x", "long"];
/// Values with what is hard in JSON and in keys: empty, escapes, several bytes a letter, NUL, a prefix of another.
const VALUES: [&str; 10] = ["", "a", "ab", "abc", "ä", "\u{1F980}", "a\"b\\c", "a\u{0}", "a\nb\u{7f}", "/a"];

/// Sebastiano Vigna's splitmix64: enough for tests, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `$MERCATO_SEED`, else a fresh seed; says on stderr which.
    pub fn from_environment() -> Self {
        let given = std::env::var("MERCATO_SEED").ok().and_then(|text| text.parse().ok());
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| time.map_or(0, |since| since.as_nanos() as u64) % 1_000_000_007);
        eprintln!("MERCATO_SEED={seed}");
        Self(seed)
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound.max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Another generator that goes its own way.
    pub fn split(&mut self) -> Self {
        Self(self.word())
    }
}

/// Who publishes what and when.
pub struct World {
    rng: Rng,
    keys: Vec<Keys>,
    /// Of the events it makes.
    own_kinds: Vec<u16>,
    /// That filters ask for.
    kinds: Vec<u16>,
    /// Authors, tag values and times that filters may ask for besides those of the world's own.
    met_authors: Vec<String>,
    met_values: Vec<String>,
    met_times: Vec<u64>,
    /// Start of the range of times, in seconds.
    since: u64,
    /// What was made so far.
    pub events: Vec<Event>,
}

impl World {
    pub fn new(mut rng: Rng, since: u64) -> Self {
        let keys = (0..4).map(|_| random_keys(&mut rng)).collect();
        let (met_authors, met_values, met_times) = (Vec::new(), Vec::new(), Vec::new());
        let (own_kinds, kinds) = (KINDS.to_vec(), KINDS.to_vec());
        Self { rng, keys, own_kinds, kinds, met_authors, met_values, met_times, since, events: Vec::new() }
    }

    /// Also makes events of these kinds.
    pub fn with_kinds(mut self, kinds: &[u16]) -> Self {
        self.own_kinds.extend(kinds);
        self.kinds.extend(kinds);
        self
    }

    /// One of those who publish.
    pub fn somebody(&self) -> Option<&Keys> {
        self.keys.first()
    }

    /// Lets filters ask for what these events hold, and tags refer to them.
    pub fn meet(&mut self, events: &[Event]) {
        for event in events {
            self.met_authors.push(event.pubkey.clone());
            self.met_times.push(event.created_at);
            self.kinds.push(event.kind);
            let values = event.tags.iter().filter_map(|tag| tag.get(1));
            self.met_values.extend(values.filter(|value| value.len() <= 200).cloned());
        }
        self.kinds.sort_unstable();
        self.kinds.dedup();
        // What is published once more must be taken as it is.
        let is_plain = |event: &&Event| {
            !(20_000..30_000).contains(&event.kind) && event.value("expiration").is_none() && event.value("-").is_none()
        };
        self.events.extend(events.iter().filter(is_plain).cloned());
    }

    /// An event, now and then one from before, or a deletion.
    pub fn event(&mut self) -> Event {
        if !self.events.is_empty() && self.rng.percent(5) {
            return self.rng.pick(&self.events).clone();
        }
        let event = match self.events.is_empty() || self.rng.percent(92) {
            true => self.fresh(),
            false => self.deletion(),
        };
        self.events.push(event.clone());
        event
    }

    fn fresh(&mut self) -> Event {
        let kind = *self.rng.pick(&self.own_kinds);
        let tags: Vec<Vec<String>> = (0..self.rng.below(5)).map(|_| self.tag()).collect();
        let content = *self.rng.pick(&VALUES);
        let draft = Draft::new(kind).at(self.time()).tags(tags).content(content);
        draft.sign(self.rng.pick(&self.keys))
    }

    fn tag(&mut self) -> Vec<String> {
        let name = *self.rng.pick(&TAG_NAMES);
        let mut tag = vec![name.to_owned()];
        // NIP-01 does not say what a `d` without a value is called.
        if name == "d" || self.rng.percent(95) {
            tag.push(self.tag_value());
        }
        if self.rng.percent(20) {
            tag.push("more".to_owned());
        }
        tag
    }

    fn tag_value(&mut self) -> String {
        if !self.met_values.is_empty() && self.rng.percent(40) {
            return self.rng.pick(&self.met_values).clone();
        }
        match self.rng.below(4) {
            0 if !self.events.is_empty() => self.rng.pick(&self.events).id.clone(),
            1 => self.rng.pick(&self.keys).public_key().to_hex(),
            _ => (*self.rng.pick(&VALUES)).to_owned(),
        }
    }

    /// By the author of what it names, or by somebody else.
    fn deletion(&mut self) -> Event {
        let target = self.rng.pick(&self.events).clone();
        let author = match self.rng.percent(80) {
            true => self.keys.iter().find(|keys| keys.public_key().to_hex() == target.pubkey),
            false => None,
        };
        let author = author.cloned().unwrap_or_else(|| self.rng.pick(&self.keys).clone());
        let address = format!("{}:{}:{}", target.kind, target.pubkey, target.value("d").unwrap_or(""));
        let draft = Draft::new(5).at(self.time());
        match self.rng.percent(50) {
            true => draft.tag(["e", &target.id]),
            false => draft.tag(["a", &address]),
        }
        .sign(&author)
    }

    fn time(&mut self) -> u64 {
        self.since + self.rng.below(60)
    }

    /// A filter with up to four conditions.
    pub fn filter(&mut self) -> Value {
        let mut filter = Map::new();
        if self.rng.percent(15) {
            filter.insert(
                "ids".to_owned(),
                self.several(|world| world.any_event().map_or(json!("0".repeat(64)), |event| json!(event.id))),
            );
        }
        if self.rng.percent(35) {
            filter.insert("authors".to_owned(), self.several(|world| json!(world.author())));
        }
        if self.rng.percent(35) {
            filter.insert("kinds".to_owned(), self.several(|world| json!(world.rng.pick(&world.kinds))));
        }
        for _ in 0..self.rng.below(3) {
            let name = *self.rng.pick(&TAG_NAMES[..6]);
            filter.insert(format!("#{name}"), self.several(|world| json!(world.tag_value())));
        }
        if self.rng.percent(25) {
            filter.insert("since".to_owned(), json!(self.any_time()));
        }
        if self.rng.percent(25) {
            filter.insert("until".to_owned(), json!(self.any_time()));
        }
        if self.rng.percent(30) {
            filter.insert("limit".to_owned(), json!(self.rng.below(12)));
        }
        Value::Object(filter)
    }

    /// An ephemeral event, which no filter of `filter` names by its kind.
    pub fn fence(&mut self) -> Event {
        Draft::new(20_000).content(self.rng.word().to_string()).sign(&Keys::generate())
    }

    fn author(&mut self) -> String {
        if !self.met_authors.is_empty() && self.rng.percent(60) {
            return self.rng.pick(&self.met_authors).clone();
        }
        self.rng.pick(&self.keys).public_key().to_hex()
    }

    fn any_time(&mut self) -> u64 {
        if !self.met_times.is_empty() && self.rng.percent(60) {
            return *self.rng.pick(&self.met_times);
        }
        self.time()
    }

    fn any_event(&mut self) -> Option<Event> {
        (!self.events.is_empty()).then(|| self.rng.pick(&self.events).clone())
    }

    fn several(&mut self, mut one: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.rng.below(4);
        Value::Array((0..count).map(|_| one(self)).collect())
    }
}

/// Keys that follow from the generator alone, so that a seed brings back every id.
pub fn random_keys(rng: &mut Rng) -> Keys {
    loop {
        let bytes: Vec<u8> = (0..4).flat_map(|_| rng.word().to_be_bytes()).collect();
        if let Ok(secret) = nostr::SecretKey::from_slice(&bytes) {
            return Keys::new(secret);
        }
    }
}
