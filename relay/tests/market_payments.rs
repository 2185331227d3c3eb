//! Money in events: quotes, zap receipts, nutzaps and preimages, and what becomes of jobs by them.

#[macro_use]
#[path = "market_world/mod.rs"]
mod market_world;

use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use market_world::{World, pubkey, tag, value};
use mercato::nostr::{Event, EventId};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const CUSTOMER: u8 = 1;
const PROVIDER: u8 = 2;
const WALLET: u8 = 3;
const STRANGER: u8 = 4;

/// An invoice of this wallet's node, for the preimage of 32 times this byte.
fn invoice(world: &World, msat: u64, preimage: u8, currency: Currency) -> String {
    let node = SecretKey::from_slice(&[7; 32]).unwrap();
    let hash: [u8; 32] = Sha256::digest([preimage; 32]).into();
    let unsigned = InvoiceBuilder::new(currency)
        .description("a job".to_owned())
        .payment_hash(bitcoin::hashes::sha256::Hash::from_byte_array(hash))
        .payment_secret(PaymentSecret([0; 32]))
        .duration_since_epoch(Duration::from_secs(world.now_s()))
        .expiry_time(Duration::from_secs(600))
        .min_final_cltv_expiry_delta(144)
        .amount_milli_satoshis(msat);
    unsigned.build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &node)).unwrap().to_string()
}

fn bitcoin_invoice(world: &World, msat: u64, preimage: u8) -> String {
    invoice(world, msat, preimage, Currency::Bitcoin)
}

/// What goes into a receipt; each test spoils one thing of it.
struct Zap {
    payer: u8,
    payee: u8,
    about: EventId,
    asked_msat: u64,
    invoice: String,
    preimage: Option<u8>,
}

impl Zap {
    fn of(world: &World, about: EventId, msat: u64, preimage: u8) -> Self {
        let invoice = bitcoin_invoice(world, msat, preimage);
        Self { payer: CUSTOMER, payee: PROVIDER, about, asked_msat: msat, invoice, preimage: None }
    }

    fn request(&self, world: &World) -> Event {
        let tags = tags!["p", pubkey(self.payee); "e", self.about; "amount", self.asked_msat; "relays", "wss://r"];
        world.sign(self.payer, 9734, tags)
    }

    fn receipt(&self, world: &World) -> Event {
        let request = String::from_utf8(self.request(world).body().to_vec()).unwrap();
        self.receipt_with(world, &request)
    }

    fn receipt_with(&self, world: &World, request: &str) -> Event {
        let mut tags = tags!["p", pubkey(self.payee); "e", self.about; "bolt11", self.invoice; "description", request];
        tags.extend(self.preimage.map(|byte| vec!["preimage".to_owned(), const_hex::encode([byte; 32])]));
        world.sign(WALLET, 9735, tags)
    }
}

/// A job for 2,000 msat that the provider holds.
fn leased() -> (World, EventId) {
    let mut world = World::new();
    world.provider(PROVIDER, &[5050]);
    let job = world.say(CUSTOMER, 5050, tags!["bid", "2000"]).unwrap();
    (world, job)
}

/// The same, delivered, with the price in the result.
fn delivered() -> (World, EventId, EventId) {
    let (mut world, job) = leased();
    let result = world.say(PROVIDER, 6050, tags!["e", job; "amount", "2000"]).unwrap();
    (world, job, result)
}

fn money(world: &World, job: EventId) -> Vec<Option<String>> {
    let state = world.stored_state(job).unwrap();
    ["quoted", "claimed", "confirmed", "settled"].map(|name| value(&state, name)).into()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_zap_for_the_job_sets_the_provider_to_work() {
    let (mut world, job) = leased();
    world.say(PROVIDER, 7000, tags!["status", "payment-required"; "e", job; "amount", "2000"]).unwrap();
    assert_eq!(world.state(job).0, "awaiting-payment");
    let receipt = Zap::of(&world, job, 2_000, 9).receipt(&world);
    world.publish(&receipt).unwrap();
    assert_eq!(world.state(job).0, "running");
    assert_eq!(money(&world, job), [some("2000"), some("2000"), some("0"), None]);
    let told = world.find(mercato::nostr::Filter { kinds: Some(vec![7000]), ..Default::default() });
    let told = told.iter().find(|event| value(event, "status").as_deref() == Some("payment")).unwrap();
    assert_eq!(tag(told, "payment").unwrap()[1..], ["claimed", "2000"]);
    assert_eq!(value(told, "receipt").unwrap(), receipt.id.to_hex());
}

#[test]
fn a_zap_for_the_result_settles_what_is_due() {
    let (mut world, job, result) = delivered();
    let state = world.stored_state(job).unwrap();
    assert_eq!((value(&state, "status"), value(&state, "amount")), (some("succeeded"), some("2000")));
    assert!(value(&state, "pay_by").is_some());
    let receipt = Zap::of(&world, result, 2_000, 9).receipt(&world);
    world.publish(&receipt).unwrap();
    assert_eq!(world.state(job).0, "settled");
    assert_eq!(money(&world, job)[3], some("2000"));
}

#[test]
fn what_is_due_and_not_paid_is_unpaid() {
    let (mut world, job, _) = delivered();
    world.wait_ms(601_000);
    assert_eq!(world.state(job).0, "unpaid");
    let receipt = Zap::of(&world, job, 2_000, 9).receipt(&world);
    world.publish(&receipt).unwrap();
    assert_eq!(world.state(job).0, "settled");
}

#[test]
fn an_amount_and_its_invoice_must_agree() {
    let (mut world, job) = leased();
    let own = bitcoin_invoice(&world, 1_500, 9);
    let asks = |amount: &str| tags!["status", "payment-required"; "e", job; "amount", amount, own];
    let refused = world.say(PROVIDER, 7000, asks("2000")).unwrap_err();
    assert_eq!(refused, "invalid: amount: it asks for 2000 msat, and its invoice for 1500");
    world.say(PROVIDER, 7000, asks("")).unwrap();
    assert_eq!(money(&world, job)[0], some("1500"), "the invoice alone says it");
    let refused = world.say(PROVIDER, 6050, tags!["e", job; "amount", "1", own]).unwrap_err();
    assert!(refused.starts_with("invalid: amount: "), "{refused}");
}

#[test]
fn a_preimage_proves_the_payment_of_the_providers_own_invoice_only() {
    for (own, confirmed) in [(true, "2000"), (false, "0")] {
        let (mut world, job) = leased();
        let text = bitcoin_invoice(&world, 2_000, 9);
        let named = if own { text.as_str() } else { "" };
        world.say(PROVIDER, 7000, tags!["status", "payment-required"; "e", job; "amount", "2000", named]).unwrap();
        let zap = Zap { preimage: Some(9), ..Zap::of(&world, job, 2_000, 9) };
        let receipt = zap.receipt(&world);
        world.publish(&receipt).unwrap();
        assert_eq!(money(&world, job)[2], some(confirmed));
    }
}

#[test]
fn a_customer_shows_that_it_paid_the_providers_invoice() {
    let (mut world, job) = leased();
    let text = bitcoin_invoice(&world, 2_000, 9);
    world.say(PROVIDER, 6050, tags!["e", job; "amount", "2000", text]).unwrap();
    let shows = |invoice: &str, preimage: u8| tags!["e", job; "p", pubkey(PROVIDER); "bolt11", invoice; "preimage", const_hex::encode([preimage; 32])];
    assert_eq!(world.say(CUSTOMER, 7000, shows(&text, 8)).unwrap_err(), "invalid: preimage: is not the invoice's");
    let other = bitcoin_invoice(&world, 2_000, 8);
    let refused = world.say(CUSTOMER, 7000, shows(&other, 8)).unwrap_err();
    assert_eq!(refused, "invalid: bolt11: the provider named no such invoice for this job");
    let refused = world.say(STRANGER, 7000, shows(&text, 9)).unwrap_err();
    assert!(refused.starts_with("restricted: "), "{refused}");
    world.say(CUSTOMER, 7000, shows(&text, 9)).unwrap();
    assert_eq!((world.state(job).0, money(&world, job)[2].clone()), ("settled".to_owned(), some("2000")));
}

#[test]
fn a_receipt_that_cannot_be_right_is_refused() {
    let (mut world, job, _) = delivered();
    let good = || Zap::of(&world, job, 2_000, 9);
    let request = String::from_utf8(good().request(&world).body().to_vec()).unwrap();
    let forged = request.replace(&request[request.len() - 20..request.len() - 2], "000000000000000000");
    let elsewhere = Zap { about: EventId([5; 32]), ..good() }.request(&world);
    let other_payee = Zap { payee: STRANGER, ..good() }.request(&world);
    let text = |event: &Event| String::from_utf8(event.body().to_vec()).unwrap();
    let bad = [
        (good().receipt_with(&world, &forged), "invalid: description: "),
        (good().receipt_with(&world, "{}"), "invalid: description: "),
        (good().receipt_with(&world, &text(&elsewhere)), "invalid: e: "),
        (good().receipt_with(&world, &text(&other_payee)), "invalid: p: "),
        (Zap { asked_msat: 1_999, ..good() }.receipt(&world), "invalid: amount: "),
        (Zap { invoice: "lnbc1".to_owned(), ..good() }.receipt(&world), "invalid: bolt11: "),
        (
            Zap { invoice: invoice(&world, 2_000, 9, Currency::BitcoinTestnet), ..good() }.receipt(&world),
            "invalid: bolt11: ",
        ),
    ];
    let whole = good().receipt(&world);
    for (receipt, prefix) in bad {
        let refused = world.publish(&receipt).unwrap_err();
        assert!(refused.starts_with(prefix), "{refused}");
    }
    assert_eq!(money(&world, job)[1], None, "nothing counted");
    world.wait_ms(1_000_000);
    let late = Zap { invoice: value(&whole, "bolt11").unwrap(), ..Zap::of(&world, job, 2_000, 9) }.receipt(&world);
    assert!(world.publish(&late).unwrap_err().starts_with("invalid: bolt11: the receipt is dated"));
}

#[test]
fn a_zap_that_is_no_payment_for_a_job_is_an_ordinary_event() {
    let (mut world, job, result) = delivered();
    let zaps = [
        Zap { about: EventId([5; 32]), ..Zap::of(&world, job, 2_000, 9) },
        Zap { payer: STRANGER, ..Zap::of(&world, result, 2_000, 10) },
        Zap { payee: STRANGER, ..Zap::of(&world, result, 2_000, 11) },
    ];
    for zap in zaps {
        let receipt = zap.receipt(&world);
        world.publish(&receipt).unwrap();
        assert_eq!(world.events, [], "nothing is said of it");
    }
    assert_eq!((world.state(job).0, money(&world, job)[1].clone()), ("succeeded".to_owned(), None));
}

#[test]
fn a_payment_is_used_once_also_after_its_job_is_forgotten() {
    let mut world = World::with(|config| (config.pay_timeout_s, config.ended_retention_s) = (10, 1));
    world.provider(PROVIDER, &[5050]);
    let deliver = |world: &mut World, nth: u8| {
        let job = world.say(CUSTOMER, 5050, tags!["bid", "2000"; "i", nth, "text"]).unwrap();
        world.say(PROVIDER, 6050, tags!["e", job; "amount", "2000"]).unwrap();
        job
    };
    let first = deliver(&mut world, 1);
    let zap = Zap::of(&world, first, 2_000, 9);
    let receipt = zap.receipt(&world);
    world.publish(&receipt).unwrap();
    let second = deliver(&mut world, 2);
    let again = |world: &World, job| Zap { about: job, invoice: zap.invoice.clone(), ..Zap::of(world, job, 2_000, 9) };
    let replay = again(&world, second).receipt(&world);
    assert_eq!(world.publish(&replay).unwrap_err(), "blocked: this payment was used before");
    assert_eq!(world.state(second).0, "succeeded");
    // Within the invoice's time, but long after its job was forgotten.
    world.wait_ms(100_000);
    assert_eq!(world.view(first), None);
    let third = deliver(&mut world, 3);
    let replay = again(&world, third).receipt(&world);
    assert_eq!(world.publish(&replay).unwrap_err(), "blocked: this payment was used before");
}

#[test]
fn a_nutzap_is_a_claim_and_no_more() {
    let (mut world, job, result) = delivered();
    let proof = |amount: u64, secret: &str| format!(r#"{{"amount":{amount},"id":"00","secret":"{secret}","C":"02"}}"#);
    let zap = |proofs: [String; 2]| {
        let [one, two] = proofs;
        tags!["proof", one; "proof", two; "u", "https://mint"; "e", result; "p", pubkey(PROVIDER)]
    };
    assert!(world.say(CUSTOMER, 9321, tags!["proof", "{"; "e", job; "p", pubkey(PROVIDER)]).is_err());
    world.say(CUSTOMER, 9321, zap([proof(1, "a"), proof(1, "b")])).unwrap();
    assert_eq!(money(&world, job), [some("2000"), some("2000"), some("0"), some("2000")]);
    let again = world.say(CUSTOMER, 9321, zap([proof(1, "b"), proof(1, "a")]));
    assert_eq!(again.unwrap_err(), "blocked: this payment was used before");
}

#[test]
fn what_is_known_of_a_provider_is_asserted_once_a_minute_by_a_key_of_its_own() {
    let (mut world, job, _) = delivered();
    let receipt = Zap::of(&world, job, 2_000, 9).receipt(&world);
    world.publish(&receipt).unwrap();
    world.wait_ms(59_000);
    assert!(world.events.iter().all(|event| event.kind != 30382));
    world.wait_ms(2_000);
    let told: Vec<&Event> = world.events.iter().filter(|event| event.kind == 30382).collect();
    assert_eq!(told.len(), 2, "the provider and the customer");
    let of = |who: u8| told.iter().find(|event| value(event, "d") == Some(pubkey(who).to_hex())).unwrap();
    assert_eq!(of(PROVIDER).pubkey, world.keys.public_of(mercato::market::Author::Reputation));
    assert_ne!(of(PROVIDER).pubkey, world.keys.public());
    let values = ["rank", "ok", "failed", "late", "settled_msat"].map(|name| value(of(PROVIDER), name).unwrap());
    assert_eq!(values, ["25", "1", "0", "0", "2000"]);
    assert_eq!(tag(of(PROVIDER), "low").unwrap()[1..], ["253", "5050"]);
    let values = ["rank", "paid", "unpaid", "paid_msat"].map(|name| value(of(CUSTOMER), name).unwrap());
    assert_eq!(values, ["25", "1", "0", "2000"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_a_receipt_holds_it_does_no_harm(
        description in "(\\{[\"a-z0-9:,\\[\\]{}]{0,60}\\})|.{0,40}",
        invoice in "ln(bc|tb)[0-9munp1a-z]{0,80}|.{0,20}",
        tags in proptest::collection::vec(proptest::collection::vec("[epP]|amount|.{0,8}", 0..3), 0..6),
        kind in prop_oneof![Just(9735_u16), Just(9321)],
    ) {
        let (mut world, job, _) = delivered();
        let mut all = tags!["e", job; "description", description; "bolt11", invoice; "proof", description];
        all.extend(tags.into_iter().filter(|tag| !tag.is_empty()));
        let _ = world.say(STRANGER, kind, all);
        prop_assert_eq!(&money(&world, job)[1], &None);
    }
}
