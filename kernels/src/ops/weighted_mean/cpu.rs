//! The chain of fused multiply-adds, a tile of coordinates at a time.
//!
//! `f32::mul_add` is one instruction only where the target has it; for the baseline x86-64 it is a call into libm, exact
//! but slow. The same source is therefore compiled twice and the processor chooses; both give the same bits.

/// 8 KiB of output stays in the first-level cache while the updates stream past it, each in long sequential reads.
const TILE: usize = 2048;

/// Writes `Σ_i shares[i] · updates[i]` to `out`, all of one length, and tells whether all of it is finite.
pub(super) fn weighted_sum(updates: &[&[f32]], shares: &[f32], out: &mut [f32]) -> bool {
    assert_eq!(updates.len(), shares.len());
    assert!(updates.iter().all(|update| update.len() == out.len()));
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the features that the function is compiled for.
        return unsafe { weighted_sum_fma(updates, shares, out) };
    }
    weighted_sum_portable(updates, shares, out)
}

/// For x86-64. AVX2 is wide enough: the loop waits for memory.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) fn weighted_sum_fma(updates: &[&[f32]], shares: &[f32], out: &mut [f32]) -> bool {
    by_tile(updates, shares, out)
}

/// For the rest: vectorised where the baseline has a fused multiply-add (aarch64), exact everywhere.
pub(super) fn weighted_sum_portable(updates: &[&[f32]], shares: &[f32], out: &mut [f32]) -> bool {
    by_tile(updates, shares, out)
}

/// Inlined, so that it takes the target features of its caller; the same holds for what it calls.
#[inline(always)]
fn by_tile(updates: &[&[f32]], shares: &[f32], out: &mut [f32]) -> bool {
    let mut finite = true;
    for (index, tile) in out.chunks_mut(TILE).enumerate() {
        tile.fill(0.0);
        let start = index * TILE;
        for (update, &share) in updates.iter().zip(shares) {
            accumulate(tile, share, &update[start..start + tile.len()]);
        }
        finite &= all_finite(tile);
    }
    finite
}

#[inline(always)]
fn accumulate(tile: &mut [f32], share: f32, update: &[f32]) {
    for (sum, &value) in tile.iter_mut().zip(update) {
        *sum = share.mul_add(value, *sum);
    }
}

/// Without an early exit, so that it vectorises.
#[inline(always)]
fn all_finite(tile: &[f32]) -> bool {
    tile.iter().fold(true, |finite, value| finite & value.is_finite())
}
