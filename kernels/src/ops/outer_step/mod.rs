//! The server's step: FedAvgM (Hsu et al., 2019; Flower's `FedAvgM(server_learning_rate, server_momentum)`) and the outer
//! Nesterov step of DiLoCo (Douillard et al., 2023), fused with the weighted mean.
//!
//! # Mathematics
//!
//! With pseudo-gradients `δ_i = θ - θ_i` as updates, their weighted mean `Δ`, learning rate `η` and momentum `μ`; as
//! PyTorch's SGD, no dampening:
//!
//! ```text
//! Δ  = weighted mean of δ_i                    see `ops/weighted_mean`
//! b  = fma(μ, b, Δ)                            one rounding each
//! g  = fma(μ, b, Δ)  if Nesterov, else  b
//! θ  = fma(-η, g, θ)
//! ```
//!
//! All in `f32`. The first round has `b = 0`. FedAvg is `η = 1, μ = 0`; DiLoCo `η = 0.7, μ = 0.9` with Nesterov.

mod cpu;

use super::weighted_mean::shares;
use crate::updates::blame;
use crate::{Error, Plan, Updates};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OuterStep {
    pub learning_rate: f32,
    pub momentum: f32,
    pub nesterov: bool,
}

impl OuterStep {
    pub const DILOCO: Self = Self { learning_rate: 0.7, momentum: 0.9, nesterov: true };
    pub const FEDAVG: Self = Self { learning_rate: 1.0, momentum: 0.0, nesterov: false };

    /// Steps by the weighted mean of `updates`. Reads each update, `theta` and `buffer` once.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] of a rate that is not finite; those of `weighted_mean`. After [`Error::NotFinite`] and
    /// [`Error::Overflow`] the contents of `theta` and `buffer` are unspecified: keep a copy where it matters.
    pub fn mean(
        &self,
        updates: &dyn Updates,
        weights: &[f32],
        theta: &mut [f32],
        buffer: &mut [f32],
        plan: &Plan,
    ) -> Result<(), Error> {
        self.check()?;
        let shares = shares(updates.count(), weights)?;
        let step = |rows: &[&[f32]], [theta, buffer]: [&mut [f32]; 2]| {
            cpu::mean_and_step(plan.isa, *self, rows, &shares, theta, buffer)
        };
        if plan.over_tiles(updates, [&mut *theta, buffer], step)? {
            return Ok(());
        }
        Err(blame(updates, theta))
    }

    /// Steps by an aggregate that another rule has made.
    ///
    /// # Errors
    ///
    /// Those of [`OuterStep::mean`].
    pub fn apply(&self, delta: &[f32], theta: &mut [f32], buffer: &mut [f32], plan: &Plan) -> Result<(), Error> {
        self.mean(&crate::Dense::new(&[delta])?, &[1.0], theta, buffer, plan)
    }

    fn check(&self) -> Result<(), Error> {
        if !self.learning_rate.is_finite() {
            return Err(Error::Parameter { name: "learning rate", must: "finite" });
        }
        if !self.momentum.is_finite() {
            return Err(Error::Parameter { name: "momentum", must: "finite" });
        }
        Ok(())
    }
}
