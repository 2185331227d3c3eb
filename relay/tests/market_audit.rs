//! Whoever has a relay's events can play its tape again and come to the same leases; what a relay changes is found.

mod market_world;

use market_world::{World, pubkey, someone, value};
use mercato::market::{Audit, Report};
use mercato::nostr::{Event, EventId, Filter, kind};
use mercato_scheduler::splitmix64;
use secp256k1::Keypair;

const PROVIDERS: u8 = 12;
const CUSTOMERS: u8 = 5;

/// Seeded: the same seed makes the same market.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = splitmix64(self.0);
        self.0 % n
    }

    fn in_ten(&mut self, n: u64) -> bool {
        self.below(10) < n
    }
}

fn world() -> World {
    World::with(|config| config.tape = true)
}

fn who(chance: &mut Chance) -> u8 {
    10 + u8::try_from(chance.below(u64::from(PROVIDERS))).unwrap()
}

/// Jobs, some with replicas or offers, with providers that answer, fail, vanish or fall silent, and a relay that restarts.
fn live(world: &mut World, seed: u64, steps: u32) {
    let mut chance = Chance(seed);
    // An advert is replaced by a later one.
    world.wait_ms(1_000);
    for provider in 0..PROVIDERS {
        world.provider(10 + provider, if provider % 4 == 3 { &[5702] } else { &[5050, 5100] });
    }
    let mut jobs: Vec<EventId> = Vec::new();
    for _ in 0..steps {
        world.wait_ms(chance.below(1_500));
        match chance.below(14) {
            0..=3 => {
                let customer = 1 + u8::try_from(chance.below(u64::from(CUSTOMERS))).unwrap();
                let mut tags = tags!["deadline", world.now_s() + 120; "i", chance.below(1 << 40), "text"];
                if chance.in_ten(4) {
                    tags.extend(tags!["replicas", 3, 2]);
                }
                if chance.in_ten(2) {
                    tags.extend(tags!["validate", "validator", 1 + chance.below(2)]);
                }
                if chance.in_ten(2) {
                    let rule = if chance.in_ten(5) { "second-price" } else { "best-value" };
                    tags.extend(tags!["auction", 1 + chance.below(5), rule]);
                }
                jobs.push(world.say(customer, 5050, tags).unwrap());
            }
            4 => {
                let provider = who(&mut chance);
                world.disconnect(provider);
                if chance.in_ten(8) {
                    world.connect(provider);
                }
            }
            5 if chance.in_ten(2) => {
                world.restart();
                for provider in (0..PROVIDERS).filter(|_| chance.in_ten(9)) {
                    world.connect(10 + provider);
                }
            }
            6 | 7 => {
                if let Some(job) = jobs.last().copied() {
                    for _ in 0..3 {
                        let amount = chance.below(1_000);
                        let _ = world.say(who(&mut chance), 7000, tags!["status", "offer"; "e", job; "amount", amount]);
                    }
                }
            }
            8 => {
                if let Some(job) = jobs.last().copied() {
                    let provider = who(&mut chance);
                    let _ = world.feedback(provider, job, "error");
                }
            }
            _ => answer(world, &mut chance, &jobs),
        }
    }
    // Every job ends, and the last page is published.
    world.wait_ms(400_000);
}

/// A leaseholder of one of the newest jobs delivers; now and then something else than the others.
fn answer(world: &mut World, chance: &mut Chance, jobs: &[EventId]) {
    let Some(job) = jobs.iter().rev().nth(usize::try_from(chance.below(6)).unwrap()) else { return };
    let examined_by = world.view(*job).and_then(|view| view.examination?.by);
    if let Some(order) = examined_by {
        return validate(world, chance, EventId(order.0));
    }
    let leases = world.view(*job).map_or_else(Vec::new, |view| view.leases);
    let holders: Vec<u8> = (10..10 + PROVIDERS)
        .filter(|number| leases.iter().any(|lease| lease.provider.0 == pubkey(*number).0))
        .collect();
    for holder in holders {
        let text = if chance.in_ten(2) { "wrong" } else { "right" };
        let tags = tags!["e", job; "nonce", chance.below(1 << 40)];
        let result = Event::sign(&someone(holder), world.now_s(), 6050, &tags, text);
        let _ = world.publish(&result);
    }
}

/// The validators of a result say what they find.
fn validate(world: &mut World, chance: &mut Chance, order: EventId) {
    let leases = world.view(order).map_or_else(Vec::new, |view| view.leases);
    for holder in (10..10 + PROVIDERS).filter(|number| leases.iter().any(|lease| lease.provider.0 == pubkey(*number).0))
    {
        let word = if chance.in_ten(3) { "fail" } else { "pass" };
        let tags = tags!["e", order; "nonce", chance.below(1 << 40)];
        let _ = world.publish(&Event::sign(&someone(holder), world.now_s(), 6702, &tags, word));
    }
}

fn events(world: &World) -> Vec<Event> {
    let of = |kinds: &[u16]| {
        let filter =
            Filter { kinds: Some(kinds.to_vec()), authors: Some(vec![world.keys.public()]), ..Filter::default() };
        world.find(filter)
    };
    let mut events = of(&[kind::JOB_FEEDBACK]);
    events.extend(of(&[kind::MARKET_TAPE]));
    events
}

fn audit(world: &World, events: Vec<Event>) -> Report {
    let mut audit = Audit::default();
    for event in events {
        audit.add(&world.keys.public(), event).unwrap();
    }
    audit.run()
}

fn is_lease(event: &Event) -> bool {
    value(event, "status").as_deref() == Some("assigned")
}

fn page(event: &Event) -> bool {
    event.kind == kind::MARKET_TAPE
}

/// The event with other tags, signed by the relay again, as only it can.
fn changed(world: &World, event: &Event, change: impl FnOnce(&mut Vec<Vec<String>>)) -> Event {
    let mut tags = event.tags();
    change(&mut tags);
    world.keys.sign(event.created_at, event.kind, &tags, &event.content())
}

#[test]
fn every_lease_of_a_busy_market_comes_out_of_its_tape_again() {
    let mut agreed = 0;
    for seed in 0..4 {
        let mut world = world();
        live(&mut world, seed, 400);
        let events = events(&world);
        let leases = events.iter().filter(|event| is_lease(event)).count();
        assert!(leases > 100, "too few leases to prove anything: {leases}");
        agreed += events.iter().filter(|event| is_lease(event) && value(event, "amount").is_some()).count();
        let report = audit(&world, events);
        let expected = Report { tapes: 1, lines: report.lines, equal: leases as u64, ..Report::default() };
        assert_eq!(report, expected, "seed {seed}");
    }
    assert!(agreed > 10, "too few leases by offer: {agreed}");
}

#[test]
fn the_leases_of_validators_come_out_of_the_tape_again() {
    let mut world = world();
    world.provider(10, &[5050]);
    world.provider(11, &[5702]);
    let job = world.say(1, 5050, tags!["validate", "validator"; "i", "x", "text"]).unwrap();
    world.publish(&Event::sign(&someone(10), world.now_s(), 6050, &tags!["e", job], "42")).unwrap();
    let by = world.view(job).and_then(|view| view.examination?.by).expect("ordered");
    let order = EventId(by.0);
    world.publish(&Event::sign(&someone(11), world.now_s(), 6702, &tags!["e", order], "pass")).unwrap();
    assert_eq!(world.state(job).0, "succeeded");
    world.wait_ms(400_000);
    let report = audit(&world, events(&world));
    let expected = Report { tapes: 1, lines: report.lines, equal: 2, ..Report::default() };
    assert_eq!(report, expected);
}

#[test]
fn a_tape_that_is_begun_late_starts_from_what_the_scheduler_knew() {
    let mut world = World::new();
    for provider in 0..PROVIDERS {
        world.provider(10 + provider, &[5050]);
    }
    let before = world.say(1, 5050, tags!["i", "before", "text"]).unwrap();
    world.config.tape = true;
    world.restart();
    live(&mut world, 7, 100);
    assert!(world.view(before).is_some() || world.stored_state(before).is_some());
    let report = audit(&world, events(&world));
    assert_eq!((report.tapes, report.difference, report.missing), (1, None, 0));
    assert_eq!(report.beyond, 1, "the lease from before the tape");
    assert!(report.equal > 10, "{}", report.equal);
    // Ended and begun again: a tape of its own.
    world.config.tape = false;
    world.restart();
    world.config.tape = true;
    world.restart();
    live(&mut world, 8, 100);
    let report = audit(&world, events(&world));
    assert_eq!((report.tapes, report.difference, report.loose), (2, None, 0));
}

#[test]
fn a_tape_that_begins_with_much_to_tell_has_pages_of_bounded_length() {
    let mut world = World::new();
    for number in 0..400_u32 {
        world
            .say(
                1,
                5050,
                tags!["i", format!("{number} {}", "x".repeat(200)), "text"; "require", "v".repeat(200), "=", number],
            )
            .unwrap();
    }
    world.config.tape = true;
    world.restart();
    world.wait_ms(4_000_000);
    let pages: Vec<Event> = events(&world).into_iter().filter(page).collect();
    let longest = pages.iter().map(|page| page.content().len()).max().unwrap();
    assert!(pages.len() > 3 && longest < 48 * 1024, "{} pages, the longest has {longest}", pages.len());
    let report = audit(&world, events(&world));
    assert_eq!((report.tapes, report.difference, report.loose), (1, None, 0));
}

#[test]
fn a_commit_that_never_happened_is_not_on_the_tape() {
    let mut world = world();
    world.provider(10, &[5050]);
    let lost = world.sign(1, 5050, tags!["i", "lost", "text"]);
    // Decided, and never written.
    world.market.on_event(world.now_ms, &lost).unwrap();
    world.restart();
    world.connect(10);
    world.say(1, 5050, tags!["i", "kept", "text"]).unwrap();
    world.wait_ms(4_000_000);
    let report = audit(&world, events(&world));
    assert_eq!((report.equal, report.missing, report.difference), (1, 0, None));
}

#[test]
fn a_result_that_others_still_work_at_is_sealed_until_the_job_has_ended() {
    let mut world = world();
    for provider in 10..13 {
        world.provider(provider, &[5050]);
    }
    let job = world.say(1, 5050, tags!["replicas", 3, 2]).unwrap();
    world.feedback(10, job, "processing").unwrap();
    let result = Event::sign(&someone(10), world.now_s(), 6050, &tags!["e", job], "42");
    world.publish(&result).unwrap();
    world.wait_ms(61_000);
    let open = events(&world);
    let report = audit(&world, open.clone());
    let sealed = report.sealed.expect("the result is no secret");
    assert_eq!(report.difference, None);
    assert!(report.lines >= sealed, "what stands before was played");
    for event in open.iter().filter(|event| page(event)) {
        use base64::Engine;
        let bytes = base64::prelude::BASE64_STANDARD.decode(event.content()).unwrap();
        let digest: [u8; 32] = sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), "42")).into();
        assert!(!bytes.windows(32).any(|window| window == digest), "the tape tells the result");
        assert!(!bytes.windows(32).any(|window| window == result.id.0), "the tape tells who has delivered what");
    }
    world.wait_ms(4_000_000);
    let report = audit(&world, events(&world));
    assert_eq!((report.sealed, report.difference, report.missing), (None, None, 0));
    assert!(report.equal >= 3);
}

#[test]
fn what_a_relay_changes_is_named() {
    let mut world = world();
    live(&mut world, 3, 200);
    let honest = events(&world);
    let at = honest.iter().position(is_lease).unwrap();
    let lease = &honest[at];
    let stranger = pubkey(99).to_hex();
    let with = |event: Event| {
        let mut events = honest.clone();
        events[at] = event;
        audit(&world, events).difference
    };
    let friend = with(changed(&world, lease, |tags| tags[2][1].clone_from(&stranger))).unwrap();
    assert!(friend.contains(&stranger) && friend.contains("by the tape"), "{friend}");
    let why = with(changed(&world, lease, |tags| {
        let why = tags.iter_mut().find(|tag| tag[0] == "why").unwrap();
        why[2] = "1000".to_owned();
    }));
    assert!(why.unwrap().contains("why"));
    let seed = with(changed(&world, lease, |tags| {
        tags.iter_mut().find(|tag| tag[0] == "seed").unwrap()[1] = "0".repeat(16);
    }));
    assert!(seed.unwrap().contains("seed"));
    let snapshot = with(changed(&world, lease, |tags| {
        tags.iter_mut().find(|tag| tag[0] == "snapshot").unwrap()[1] = "0".repeat(64);
    }));
    assert!(snapshot.unwrap().contains("snapshot"));

    let mut less = honest.clone();
    less.remove(at);
    let report = audit(&world, less);
    assert_eq!((report.missing, report.difference), (1, None));

    let mut more = honest.clone();
    let middle = honest.iter().filter(|event| is_lease(event)).map(|event| event.created_at).max().unwrap() - 1;
    let invented =
        changed(&world, lease, |tags| tags.iter_mut().find(|tag| tag[0] == "lease").unwrap()[1] = "77777".to_owned());
    more.push(world.keys.sign(middle, invented.kind, &invented.tags(), ""));
    assert!(audit(&world, more).difference.unwrap().contains("is not on the tape"));
}

#[test]
fn a_page_that_was_changed_or_lost_is_noticed() {
    let mut world = world();
    live(&mut world, 5, 300);
    let honest = events(&world);
    let mut pages: Vec<&Event> = honest.iter().filter(|event| page(event)).collect();
    pages.sort_by_key(|event| value(event, "first").unwrap().parse::<u64>().unwrap());
    assert!(pages.len() > 2, "{} pages", pages.len());
    let without: Vec<Event> = honest.iter().filter(|event| event.id != pages[1].id).cloned().collect();
    let report = audit(&world, without);
    assert_eq!((report.loose, report.difference), (pages.len() as u64 - 2, None));
    for other in ["head", "prev", "lines", "format", "epoch"] {
        let damaged = changed(&world, pages[1], |tags| {
            tags.iter_mut().find(|tag| tag[0] == other).unwrap()[1] = "x".to_owned();
        });
        assert!(Audit::default().add(&world.keys.public(), damaged).is_err(), "{other}");
    }
    // Of another author it is nothing.
    let key: Keypair = someone(99);
    let foreign = Event::sign(&key, 1, kind::MARKET_TAPE, &[], "nonsense");
    assert_eq!(Audit::default().add(&world.keys.public(), foreign), Ok(()));
}
