//! Random items, and the other implementation of the protocol.

use mercato::negentropy::{Client, Item, Span, Tree, reconcile};
use mercato::nostr::EventId;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

/// xorshift64*: the same items for the same seed, anywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn id(&mut self) -> EventId {
        let mut id = [0; 32];
        id.as_chunks_mut::<8>().0.iter_mut().for_each(|part| *part = self.next().to_le_bytes());
        EventId(id)
    }

    /// Seconds are few, so that many items share one.
    pub fn item(&mut self, seconds: u64) -> Item {
        Item { created_at: self.below(seconds), id: self.id() }
    }
}

pub fn span(items: &[Item]) -> Span {
    items.iter().copied().collect::<Tree>().into()
}

/// What `a` has and `b` has not, sorted.
pub fn minus(a: &[Item], b: &[Item]) -> Vec<EventId> {
    let b: std::collections::HashSet<_> = b.iter().collect();
    let mut ids: Vec<_> = a.iter().filter(|item| !b.contains(item)).map(|item| item.id).collect();
    ids.sort_unstable();
    ids
}

/// The crate's set.
pub fn theirs(items: &[Item]) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity(items.len());
    for item in items {
        storage.insert(item.created_at, Id::from_byte_array(item.id.0)).unwrap();
    }
    storage.seal().unwrap();
    storage
}

/// How a reconciliation went.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub have: Vec<EventId>,
    pub need: Vec<EventId>,
    pub rounds: usize,
    pub largest: usize,
}

impl Outcome {
    fn new(mut have: Vec<EventId>, mut need: Vec<EventId>, rounds: usize, largest: usize) -> Self {
        have.sort_unstable();
        need.sort_unstable();
        Self { have, need, rounds, largest }
    }
}

/// The crate asks, we answer.
pub fn crate_asks(asks: &[Item], answers: &[Item], frame_bytes: usize) -> Outcome {
    let (storage, span) = (theirs(asks), span(answers));
    let mut client = Negentropy::borrowed(&storage, frame_bytes as u64).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut message = client.initiate().unwrap();
    let (mut rounds, mut largest) = (0, 0);
    loop {
        let answer = reconcile::answer(&span, &message, frame_bytes).unwrap();
        (rounds, largest) = (rounds + 1, largest.max(answer.len()));
        match client.reconcile_with_ids(&answer, &mut have, &mut need).unwrap() {
            Some(next) => message = next,
            None => break,
        }
    }
    let ids = |ids: Vec<Id>| ids.into_iter().map(|id| EventId(id.to_bytes())).collect();
    let mut outcome = Outcome::new(ids(have), ids(need), rounds, largest);
    // The crate finds some again where a frame ends.
    outcome.have.dedup();
    outcome.need.dedup();
    outcome
}

/// We ask, and `answer` does.
pub fn we_ask(asks: &[Item], frame_bytes: usize, mut answer: impl FnMut(&[u8]) -> Vec<u8>) -> Outcome {
    let (mut client, mut message) = Client::new(span(asks), frame_bytes);
    let (mut have, mut need, mut largest) = (Vec::new(), Vec::new(), 0);
    loop {
        largest = largest.max(message.len() / 2);
        let answer = answer(&const_hex::decode(&message).unwrap());
        let step = client.on_message(&const_hex::encode(answer)).unwrap();
        have.extend(step.found.have);
        need.extend(step.found.need);
        match step.next {
            Some(next) => message = next,
            None => break,
        }
    }
    Outcome::new(have, need, client.rounds() as usize, largest)
}

/// We ask, the crate answers.
pub fn crate_answers(asks: &[Item], answers: &[Item], frame_bytes: usize) -> Outcome {
    let storage = theirs(answers);
    we_ask(asks, frame_bytes, |message| {
        Negentropy::borrowed(&storage, frame_bytes as u64).unwrap().reconcile(message).unwrap()
    })
}

/// We ask and answer.
pub fn among_ourselves(asks: &[Item], answers: &[Item], frame_bytes: usize) -> Outcome {
    let span = span(answers);
    we_ask(asks, frame_bytes, |message| reconcile::answer(&span, message, frame_bytes).unwrap())
}
