//! Whole worlds, seed by seed; `cargo run --release --example simulate` runs more of them.

#[path = "sim/mod.rs"]
mod sim;

use sim::{Cast, Counts, Sabotage, Setup, run};

/// Without optimisation fewer must do.
const SEEDS: u64 = if cfg!(debug_assertions) { 8 } else { 100 };

fn setup(seed: u64) -> Setup {
    Setup { seed, cast: Cast::of(40), hours: 3, check_every: 50, sabotage: None, digest: false }
}

#[test]
fn the_first_seeds_keep_every_promise() {
    let mut total = Counts::new();
    for seed in 0..SEEDS {
        let counts = run(setup(seed)).unwrap_or_else(|violation| panic!("{violation}"));
        for (what, times) in counts {
            *total.entry(what).or_default() += times;
        }
    }
    // What never happens is not tested.
    for what in [
        "ended: succeeded",
        "ended: failed",
        "ended: cancelled",
        "ended: expired",
        "withdrawn: accept timeout",
        "withdrawn: run timeout",
        "withdrawn: heartbeat timeout",
        "withdrawn: disconnected",
        "withdrawn: error",
        "withdrawn: unpaid",
        "withdrawn: late result won",
        "withdrawn: quorum reached",
        "withdrawn: no quorum",
        "verdict: pass",
        "verdict: outlier",
        "quorum: right",
        "quorum: wrong",
        "rests",
        "leases by offer",
        "refused: no bidding",
        "refused: offer too high",
        "orders of validators",
        "validated",
        "unvalidated",
        "verdict: fail",
        "validators: right",
        "refused: under examination",
        "chained leases",
        "upstream failed",
        "refused: input failed",
        "backups",
        "withdrawn: outrun",
        "derived run timeouts",
        "alone: wrong",
        "withdrawn: gave up waiting",
        "settled",
        "unpaid",
        "payment: counts",
        "payment: one too many",
        "refused: not the customer's payment",
        "refused: paid a stranger",
        "refused: duplicate receipt",
        "refused: replayed payment",
        "withdrawn: cancelled",
        "withdrawn: expired",
        "relay crashes",
        "leaves",
        "leases of walk-ins",
        "unasked answers",
        "opened",
        "believed: right",
        "torn journals",
        "clock steps",
        "refused: never leased",
        "refused: stale lease",
        "refused: wrong result kind",
        "refused: duplicate job",
        "refused: already ended",
        "refused: second result",
        "refused: unfit answer",
    ] {
        assert!(total.contains_key(what), "{what} never happened: {total:#?}");
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..3 {
        assert_eq!(run(setup(seed)).ok(), run(setup(seed)).ok());
    }
}

#[test]
fn every_planted_mistake_is_found() {
    for sabotage in Sabotage::ALL.iter().copied() {
        let found = (0..100).find_map(|seed| {
            let sabotaged = Setup { sabotage: Some(sabotage), ..setup(seed) };
            run(sabotaged).err()
        });
        let violation = found.unwrap_or_else(|| panic!("{sabotage:?} was not found"));
        println!("{sabotage:?}: {violation}");
    }
}
