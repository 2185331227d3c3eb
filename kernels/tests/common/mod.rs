//! What the tests of rules share: every rule under one signature, and updates to try them with.

#![allow(dead_code, reason = "each test takes what it needs")]

use mercato_kernels::*;

/// A rule with the least demanding parameters that the number of updates admits.
pub type Work = fn(&dyn Updates, &mut [f32], &Plan) -> Result<(), Error>;

pub const RULES: [(&str, Work); 15] = [
    ("weighted mean", |updates, out, plan| weighted_mean(updates, &weights(updates.count()), out, plan)),
    ("median", |updates, out, plan| median(updates, out, plan)),
    ("trimmed mean", |updates, out, plan| trimmed_mean(updates, (updates.count() - 1) / 3, out, plan)),
    ("krum", |updates, out, plan| krum(&Gram::of(updates, plan)?, krum_f(updates))?.apply(updates, out, plan)),
    ("multi-krum", |updates, out, plan| {
        let f = krum_f(updates);
        multi_krum(&Gram::of(updates, plan)?, f, updates.count() - f)?.apply(updates, out, plan)
    }),
    ("bulyan", |updates, out, plan| {
        let f = updates.count().saturating_sub(3) / 4;
        bulyan(updates, &Gram::of(updates, plan)?, f, out, plan).map(drop)
    }),
    ("geometric median", |updates, out, plan| {
        geometric_median(&Gram::of(updates, plan)?, &weights(updates.count()), 0.1, 8)?.apply(updates, out, plan)
    }),
    ("clipping", |updates, out, plan| {
        clipping(&Gram::of(updates, plan)?, &weights(updates.count()), 2.0)?.apply(updates, out, plan)
    }),
    ("centered clipping", |updates, out, plan| {
        centered_clipping(&Gram::of(updates, plan)?, 3, 1.5)?.apply(updates, out, plan)
    }),
    ("fltrust", |updates, out, plan| fltrust(&Gram::of(updates, plan)?)?.apply(updates, out, plan)),
    ("contra", |updates, out, plan| {
        let contra = Contra { k: 1, threshold: 0.9, delta: 0.1 };
        contra.weigh(&Gram::of(updates, plan)?, &mut vec![0.5; updates.count()])?.apply(updates, out, plan)
    }),
    ("nnm + geometric median", |updates, out, plan| {
        let gram = Gram::of(updates, plan)?;
        let mixing = Mixing::new(&gram, updates.count() / 4)?;
        let mixed = geometric_median(&mixing.gram(&gram), &weights(updates.count()), 0.1, 3)?;
        mixing.unmix(&mixed).apply(updates, out, plan)
    }),
    ("nnm + median", |updates, out, plan| {
        let mixing = Mixing::new(&Gram::of(updates, plan)?, updates.count() / 4)?;
        median(&mixing.of(updates, plan.isa), out, plan)
    }),
    ("diloco", |updates, out, plan| {
        out.fill(0.25);
        let mut buffer = vec![0.5; out.len()];
        OuterStep::DILOCO.mean(updates, &weights(updates.count()), out, &mut buffer, plan)
    }),
    ("fedavgm", |updates, out, plan| {
        out.fill(0.25);
        let mut buffer = vec![0.5; out.len()];
        let step = OuterStep { learning_rate: 0.5, momentum: 0.9, nesterov: false };
        step.mean(updates, &weights(updates.count()), out, &mut buffer, plan)?;
        out.copy_from_slice(&buffer);
        Ok(())
    }),
];

pub fn krum_f(updates: &dyn Updates) -> usize {
    (updates.count().saturating_sub(3)) / 2
}

pub fn weights(n: usize) -> Vec<f32> {
    (0..n).map(|update| 1.0 + (update % 5) as f32).collect()
}

pub fn run(rule: Work, updates: &[Vec<f32>], plan: &Plan) -> Result<Vec<f32>, Error> {
    let mut out = vec![f32::NAN; updates[0].len()];
    rule(&Dense::new(&borrow(updates))?, &mut out, plan)?;
    Ok(out)
}

pub fn borrow(updates: &[Vec<f32>]) -> Vec<&[f32]> {
    updates.iter().map(Vec::as_slice).collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Between -1 and 1 around a common direction; some subnormal, some equal, some zeros of either sign.
pub fn updates(n: usize, d: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let common: Vec<f32> = (0..d).map(|_| next()).collect();
    let value = |coordinate: usize, noise: f32| match coordinate % 11 {
        3 => noise * 1e-39,
        5 => (noise * 2.0).round() * 0.5,
        7 => noise.signum() * 0.0,
        _ => common[coordinate] + noise,
    };
    (0..n).map(|_| (0..d).map(|coordinate| value(coordinate, next())).collect()).collect()
}
