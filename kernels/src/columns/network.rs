//! Sorting networks: the same comparisons whatever the data, so that each lane of a register sorts a column of its own.
//!
//! All are Batcher's odd-even merge exchange (Knuth, *The Art of Computer Programming*, volume 3, 5.2.2, algorithm M).

use crate::lanes::Lanes;

#[inline(always)]
fn exchange<L: Lanes>(values: &mut [L], low: usize, high: usize) {
    let (a, b) = (values[low], values[high]);
    values[low] = a.min(b);
    values[high] = a.max(b);
}

/// One layer of the network: within blocks of `2 P`, those that lie `K` apart. All is constant and without conditions,
/// so that the compiler unrolls it and the values stay in registers.
#[inline(always)]
fn layer<L: Lanes, const N: usize, const P: usize, const K: usize>(values: &mut [L; N]) {
    for block in 0..N / (2 * P) {
        for low in 0..if K == P { P } else { 0 } {
            exchange(values, block * 2 * P + low, block * 2 * P + low + P);
        }
        for group in 1..P / K {
            let start = block * 2 * P + (2 * group - 1) * K;
            for low in start..start + K {
                exchange(values, low, low + K);
            }
        }
    }
}

/// Sorts the columns of up to 32 registers, a power of two of them.
#[inline(always)]
pub(crate) fn sort<L: Lanes, const N: usize>(values: &mut [L; N]) {
    const { assert!(N.is_power_of_two() && N >= 2 && N <= 32) }
    layer::<L, N, 1, 1>(values);
    if N >= 4 {
        layer::<L, N, 2, 2>(values);
        layer::<L, N, 2, 1>(values);
    }
    if N >= 8 {
        layer::<L, N, 4, 4>(values);
        layer::<L, N, 4, 2>(values);
        layer::<L, N, 4, 1>(values);
    }
    if N >= 16 {
        layer::<L, N, 8, 8>(values);
        layer::<L, N, 8, 4>(values);
        layer::<L, N, 8, 2>(values);
        layer::<L, N, 8, 1>(values);
    }
    if N >= 32 {
        layer::<L, N, 16, 16>(values);
        layer::<L, N, 16, 8>(values);
        layer::<L, N, 16, 4>(values);
        layer::<L, N, 16, 2>(values);
        layer::<L, N, 16, 1>(values);
    }
}

/// Sorts 32 registers whose columns rise and then fall, or fall and then rise.
#[inline(always)]
pub(crate) fn sort_bitonic<L: Lanes>(values: &mut [L; 32]) {
    halve::<L, 16>(values);
    halve::<L, 8>(values);
    halve::<L, 4>(values);
    halve::<L, 2>(values);
    halve::<L, 1>(values);
}

#[inline(always)]
fn halve<L: Lanes, const K: usize>(values: &mut [L; 32]) {
    for block in 0..16 / K {
        for low in block * 2 * K..block * 2 * K + K {
            exchange(values, low, low + K);
        }
    }
}

/// Sorts the columns of any number of registers, which then lie in the cache.
#[inline(always)]
pub(crate) fn sort_any<L: Lanes>(values: &mut [L]) {
    let len = values.len();
    let top = len.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            for low in 0..len - d {
                if low & p == r {
                    exchange(values, low, low + d);
                }
            }
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{Portable, WIDEST};

    /// The zero-one principle: a network that sorts every sequence of zeros and ones sorts everything. Its sequences are
    /// too many beyond sixteen, where the runs of ones and what random bits give must do.
    fn zeros_and_ones(len: usize) -> Vec<Vec<bool>> {
        let bits = |word: u64| (0..len).map(|at| word >> (at % 64) & 1 == 1).collect();
        if len <= 16 {
            return (0..1_u64 << len).map(bits).collect();
        }
        let mut state = 1_u64;
        let random = (0..4000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bits(state ^ state >> 29)
        });
        let runs =
            (0..len).flat_map(|from| (from..=len).map(move |to| (0..len).map(|at| at >= from && at < to).collect()));
        random.chain(runs).collect()
    }

    fn check(len: usize, sort: impl Fn(&mut [Portable])) {
        for sequence in zeros_and_ones(len) {
            let mut values: Vec<Portable> =
                sequence.iter().map(|&bit| Portable::splat(f32::from(u8::from(bit)))).collect();
            sort(&mut values);
            let sorted: Vec<f32> = values
                .iter()
                .map(|value| {
                    let mut lanes = [0.0; WIDEST];
                    value.store(&mut lanes);
                    lanes[0]
                })
                .collect();
            let ones = sequence.iter().filter(|&&bit| bit).count();
            assert!((0..len).all(|at| sorted[at] == f32::from(u8::from(at >= len - ones))), "{sequence:?}: {sorted:?}");
        }
    }

    fn sorted<const N: usize>(values: &mut [Portable]) {
        let mut array: [Portable; N] = std::array::from_fn(|at| values[at]);
        sort(&mut array);
        values.copy_from_slice(&array);
    }

    #[test]
    fn networks_in_registers_sort() {
        check(2, sorted::<2>);
        check(4, sorted::<4>);
        check(8, sorted::<8>);
        check(16, sorted::<16>);
        check(32, sorted::<32>);
    }

    #[test]
    fn networks_of_any_size_sort() {
        for len in (1..13).chain([31, 33, 65, 100]) {
            check(len, sort_any);
        }
    }
}
