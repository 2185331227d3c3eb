//! Events like those of a busy public relay: kinds, sizes, tags and escapes in about their proportions, 900 B in the
//! mean. The same seed gives the same events on the same day.

use std::ops::Range;

use secp256k1::{Keypair, SecretKey};
use sha2::{Digest, Sha256};

use super::random::Random;
use crate::clock;
use crate::nostr::Event;

/// How far back the events of a load reach.
const SPAN_S: u64 = 30 * 86_400;
/// Conversations that replies and reactions belong to.
const THREADS: usize = 5_000;

const WORDS: [&str; 24] = [
    "relay",
    "zap",
    "the",
    "is",
    "of",
    "and",
    "a",
    "to",
    "in",
    "that",
    "nostr",
    "today",
    "protocol",
    "\u{1f680}",
    "caf\u{e9}",
    "\"quoted\"",
    "people\n",
    "https://example.com/image.jpg",
    "value4value",
    "freedom",
    "\u{4f60}\u{597d}",
    "sats",
    "write",
    "block",
];

/// A community and what it writes.
pub struct Data {
    seed: u64,
    authors: Vec<Keypair>,
    /// Authors as tags name them.
    names: Vec<String>,
    /// Time of the newest event, in seconds.
    until_s: u64,
}

/// A note, and whom it concerns.
pub struct Note {
    pub event: Event,
    /// Place of its author.
    pub author: usize,
    /// Place of who is mentioned among the people given.
    pub mentioned: usize,
}

/// An event without author, time and signature.
struct Draft {
    kind: u16,
    tags: Vec<Vec<String>>,
    content: String,
}

impl Data {
    /// `authors` people.
    pub fn new(seed: u64, authors: usize) -> Self {
        let authors: Vec<Keypair> = (0..authors).map(|at| keypair(seed, &format!("author {at}"))).collect();
        let names = authors.iter().map(|key| key.x_only_public_key().0.to_string()).collect();
        // Relays refuse what is years old, so the events move with the calendar, a day at a time.
        let until_s = clock::now_s() / 86_400 * 86_400;
        Self { seed, authors, names, until_s }
    }

    /// The public key of an author in hex; more than there are begin anew.
    pub fn name(&self, author: usize) -> &str {
        &self.names[author % self.names.len()]
    }

    /// How many authors there are.
    pub fn authors(&self) -> usize {
        self.authors.len()
    }

    /// The id of a conversation, as `e` tags name it. No event has it.
    pub fn thread(&self, at: usize) -> String {
        hash(self.seed, &format!("thread {}", at % THREADS)).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The oldest and the newest time of any event, in seconds.
    pub fn span_s(&self) -> (u64, u64) {
        (self.until_s - SPAN_S, self.until_s)
    }

    /// Signs `count` events, oldest first, on all cores.
    pub fn sign(&self, count: usize) -> Vec<Event> {
        self.sign_some(0..count, count)
    }

    /// Signs some of `count` events.
    pub fn sign_some(&self, some: Range<usize>, count: usize) -> Vec<Event> {
        parallel(some.len(), |at| self.event(some.start + at, count))
    }

    /// Signs every `step`th of `count` events.
    pub fn sign_every(&self, step: usize, count: usize) -> Vec<Event> {
        parallel(count.div_ceil(step), |at| self.event(at * step, count))
    }

    /// Signs `count` notes of evenly chosen authors, each naming one of `people`.
    pub fn sign_notes(&self, count: usize, people: &[String]) -> Vec<Note> {
        parallel(count, |at| {
            let mut random = Random::new(self.seed ^ 0x6e6f_7465, at as u64);
            let (author, mentioned) = (random.below(self.authors.len()), random.below(people.len()));
            let tags = vec![tag(&["p", &people[mentioned]])];
            let content = prose(&mut random, 400);
            let event = Event::sign(&self.authors[author], clock::now_s(), 1, &tags, &content);
            Note { event, author, mentioned }
        })
    }

    fn event(&self, at: usize, count: usize) -> Event {
        let mut random = Random::new(self.seed, at as u64);
        let author = random.skewed(self.authors.len());
        let created_at = self.until_s - SPAN_S + SPAN_S * at as u64 / count as u64;
        let draft = self.draft(&mut random);
        Event::sign(&self.authors[author], created_at, draft.kind, &draft.tags, &draft.content)
    }

    fn draft(&self, random: &mut Random) -> Draft {
        match random.below(100) {
            0..46 => self.note(random),
            46..72 => self.reaction(random),
            72..78 => self.repost(random),
            78..87 => self.zap(random),
            87..92 => self.profile(random),
            92..93 => self.contacts(random),
            93..96 => self.relays(random),
            96..97 => self.article(random),
            _ => Draft { kind: 1111, ..self.note(random) },
        }
    }

    fn note(&self, random: &mut Random) -> Draft {
        let mut tags = Vec::new();
        if random.below(2) == 0 {
            tags.push(tag(&["e", &self.some_thread(random), "wss://relay.example.com", "root"]));
            tags.push(tag(&["p", self.somebody(random)]));
        }
        if random.below(4) == 0 {
            tags.push(tag(&["t", random.pick(&WORDS[..9])]));
        }
        let length = 60 + random.skewed(1_600);
        Draft { kind: 1, tags, content: prose(random, length) }
    }

    fn reaction(&self, random: &mut Random) -> Draft {
        let tags = vec![
            tag(&["e", &self.some_thread(random), "wss://relay.example.com"]),
            tag(&["p", self.somebody(random)]),
            tag(&["k", "1"]),
        ];
        Draft { kind: 7, tags, content: random.pick(&["+", "\u{1f919}", "\u{2764}\u{fe0f}"]).to_owned() }
    }

    fn repost(&self, random: &mut Random) -> Draft {
        let reposted = self.note(random);
        let tags = vec![tag(&["e", &self.some_thread(random)]), tag(&["p", self.somebody(random)])];
        let content = serde_json::json!({ "kind": 1, "tags": reposted.tags, "content": reposted.content });
        Draft { kind: 6, tags, content: content.to_string() }
    }

    fn zap(&self, random: &mut Random) -> Draft {
        let (sender, receiver) = (self.somebody(random), self.somebody(random));
        let thread = self.some_thread(random);
        let asked = serde_json::json!({
            "kind": 9734, "pubkey": sender, "content": "",
            "tags": [["e", thread], ["p", receiver], ["amount", "21000"], ["relays", "wss://relay.example.com"]],
        });
        let invoice = format!("lnbc210n1{}", &self.some_thread(random).repeat(5)[..290]);
        let tags = vec![
            tag(&["p", receiver]),
            tag(&["P", sender]),
            tag(&["e", &thread]),
            tag(&["bolt11", &invoice]),
            tag(&["description", &asked.to_string()]),
        ];
        Draft { kind: 9735, tags, content: String::new() }
    }

    fn profile(&self, random: &mut Random) -> Draft {
        let about = prose(random, 150);
        let content = serde_json::json!({
            "name": random.pick(&WORDS), "about": about, "picture": "https://example.com/picture.jpg",
            "nip05": "somebody@example.com", "lud16": "somebody@example.com",
        });
        Draft { kind: 0, tags: Vec::new(), content: content.to_string() }
    }

    fn contacts(&self, random: &mut Random) -> Draft {
        let tags = (0..60).map(|_| tag(&["p", self.somebody(random)])).collect();
        Draft { kind: 3, tags, content: String::new() }
    }

    fn relays(&self, random: &mut Random) -> Draft {
        let relay = |number: usize| tag(&["r", &format!("wss://relay{number}.example.com")]);
        let tags = (0..6).map(|_| relay(random.below(500))).collect();
        Draft { kind: 10002, tags, content: String::new() }
    }

    fn article(&self, random: &mut Random) -> Draft {
        let tags = vec![
            tag(&["d", &random.below(1_000_000).to_string()]),
            tag(&["title", &prose(random, 50)]),
            tag(&["t", random.pick(&WORDS[..9])]),
        ];
        Draft { kind: 30023, tags, content: prose(random, 4_000) }
    }

    fn somebody(&self, random: &mut Random) -> &str {
        self.name(random.skewed(self.authors.len()))
    }

    fn some_thread(&self, random: &mut Random) -> String {
        self.thread(random.skewed(THREADS))
    }
}

/// The key that a seed gives to a name.
pub fn keypair(seed: u64, name: &str) -> Keypair {
    let secret = (0..).find_map(|salt: u32| {
        // Nearly every hash is a key; the few that are not are passed over.
        SecretKey::from_secret_bytes(hash(seed, &format!("{name} {salt}"))).ok()
    });
    Keypair::from_secret_key(&secret.expect("some hash is a key"))
}

fn hash(seed: u64, text: &str) -> [u8; 32] {
    Sha256::digest(format!("mercato bench {seed} {text}")).into()
}

fn tag(elements: &[&str]) -> Vec<String> {
    elements.iter().map(|element| (*element).to_owned()).collect()
}

/// About `length` bytes of text.
fn prose(random: &mut Random, length: usize) -> String {
    let mut text = String::with_capacity(length + 32);
    while text.len() < length {
        text.push_str(random.pick(&WORDS));
        text.push(' ');
    }
    text
}

/// `make` of every number below `count`, in order, on all cores.
pub fn parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(1);
    let part = |from: usize| (from..(from + share).min(count)).map(&make).collect::<Vec<T>>();
    std::thread::scope(|scope| {
        let part = &part;
        let parts: Vec<_> = (0..count).step_by(share).map(|from| scope.spawn(move || part(from))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("signing does not panic")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_valid_events_of_about_900_bytes_and_the_same_again() {
        let sign = |seed| Data::new(seed, 100).sign(2_000);
        let events = sign(1);
        let mean = events.iter().map(|event| event.body().len()).sum::<usize>() / events.len();
        assert!((850..=950).contains(&mean), "{mean} bytes in the mean");
        assert!(events.iter().take(50).all(|event| event.verify_signature().is_ok()));
        assert!(events.is_sorted_by_key(|event| event.created_at));
        assert_eq!(events[7], sign(1)[7]);
        assert_ne!(events[7], sign(2)[7]);
    }
}
