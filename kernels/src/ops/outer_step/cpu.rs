//! The step over one tile, while the mean is still in the first-level cache.

use super::OuterStep;
use crate::Isa;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::ops::weighted_sum::cpu::{all_finite, weighted_sum};

pub(super) fn mean_and_step(
    isa: Isa,
    step: OuterStep,
    rows: &[&[f32]],
    shares: &[f32],
    theta: &mut [f32],
    buffer: &mut [f32],
) -> bool {
    let mut delta = vec![0.0; theta.len()];
    weighted_sum(isa, rows, shares, &mut delta) && isa.run(Step { step, delta: &delta, theta, buffer })
}

struct Step<'a> {
    step: OuterStep,
    delta: &'a [f32],
    theta: &'a mut [f32],
    buffer: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        let Self { step, delta, theta, buffer } = self;
        for ((theta, buffer), delta) in theta.iter_mut().zip(buffer.iter_mut()).zip(delta) {
            *buffer = step.momentum.mul_add(*buffer, *delta);
            let gradient = if step.nesterov { step.momentum.mul_add(*buffer, *delta) } else { *buffer };
            *theta = (-step.learning_rate).mul_add(gradient, *theta);
        }
        all_finite(theta)
    }
}
