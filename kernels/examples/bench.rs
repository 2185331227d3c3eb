//! Times each rule beside the memory bandwidth of the machine: `cargo run --release -p mercato-kernels --example bench`.
//!
//! Arguments: shapes such as `16x10000000`; without any, `16x10000000` and `64x1000000`. What is printed is the least
//! of several runs: neighbours on the machine only ever make a run slower.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

use mercato_kernels::*;

const RUNS: usize = 7;

type Work<'a> = Box<dyn Fn(&mut [f32], &Plan) -> Result<(), Error> + 'a>;

fn main() {
    let mut shapes: Vec<(usize, usize)> = std::env::args().skip(1).filter_map(|shape| parse(&shape)).collect();
    if shapes.is_empty() {
        shapes = vec![(16, 10_000_000), (64, 1_000_000)];
    }
    println!("instructions: {}", Isa::best().name());
    for (n, d) in shapes {
        for threads in [1, 2] {
            measure(n, d, NonZeroUsize::new(threads).expect("not zero"));
        }
    }
}

fn parse(shape: &str) -> Option<(usize, usize)> {
    let (n, d) = shape.split_once('x')?;
    Some((n.parse().ok()?, d.parse().ok()?))
}

fn measure(n: usize, d: usize, threads: NonZeroUsize) {
    let plan = Plan::with_threads(threads);
    let data: Vec<Vec<f32>> = (0..n).map(|update| random(d, update as u64 + 1)).collect();
    let rows: Vec<&[f32]> = data.iter().map(Vec::as_slice).collect();
    let updates = Dense::new(&rows).expect("of one length");
    let mut out = vec![0.0; d];
    let bytes = (n * d * size_of::<f32>()) as f64;
    let read = least(|| {
        black_box(read_all(&rows, threads.get()));
    });
    println!("\n{n} x {d}, {threads} thread(s): reading {:.1} ms, {:.1} GB/s", read * 1e3, bytes / read / 1e9);
    println!("{:<18} {:>9} {:>10} {:>8}", "rule", "ms", "of reading", "of mean");
    let mut mean = f64::NAN;
    for (name, work) in rules(&updates) {
        let time = least(|| work(&mut out, &plan).expect("all is finite"));
        if mean.is_nan() {
            mean = time;
        }
        println!("{name:<18} {:>9.1} {:>10.2} {:>8.2}", time * 1e3, time / read, time / mean);
    }
}

fn rules<'a>(updates: &'a Dense<'a>) -> Vec<(&'static str, Work<'a>)> {
    let n = updates.count();
    let f = (n - 3) / 4;
    vec![
        ("mean", Box::new(move |out, plan| weighted_mean(updates, &vec![1.0; n], out, plan))),
        ("median", Box::new(|out, plan| median(updates, out, plan))),
        ("trimmed mean", Box::new(move |out, plan| trimmed_mean(updates, f, out, plan))),
        ("gram", Box::new(|_, plan| Gram::of(updates, plan).map(drop))),
        (
            "multi-krum",
            Box::new(move |out, plan| multi_krum(&Gram::of(updates, plan)?, f, n - f)?.apply(updates, out, plan)),
        ),
        ("bulyan", Box::new(move |out, plan| bulyan(updates, &Gram::of(updates, plan)?, f, out, plan).map(drop))),
        (
            "geometric median",
            Box::new(move |out, plan| {
                geometric_median(&Gram::of(updates, plan)?, &vec![1.0; n], 0.1, 8)?.apply(updates, out, plan)
            }),
        ),
        (
            "nnm + median",
            Box::new(move |out, plan| {
                let mixing = Mixing::new(&Gram::of(updates, plan)?, f)?;
                median(&mixing.of(updates, plan.isa), out, plan)
            }),
        ),
    ]
}

fn least(mut work: impl FnMut()) -> f64 {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| time(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Reads everything once, as fast as it goes: the measure that the rules are held against.
fn read_all(rows: &[&[f32]], threads: usize) -> u32 {
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    rows.iter().fold(0, |sum, row| {
                        let part = row.len() / threads;
                        fold(sum, &row[part * thread..part * (thread + 1)])
                    })
                })
            })
            .collect();
        parts.into_iter().fold(0, |sum, part| sum ^ part.join().expect("no panic"))
    })
}

fn fold(sum: u32, values: &[f32]) -> u32 {
    values.iter().fold(sum, |sum, value| sum ^ value.to_bits())
}

/// Uniform in -1..1 by xorshift: the same for everybody.
fn random(d: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..d)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        })
        .collect()
}
