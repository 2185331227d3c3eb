//! The server's step: what becomes of the model that the updates began from.

use std::path::PathBuf;

use anyhow::ensure;
use mercato_kernels::{Error, OuterStep, Plan};

#[derive(Debug, clap::Args)]
pub struct StepArgs {
    /// The model that the updates began from: they are whole models then, their differences to it are aggregated, and
    /// what comes out is the next model.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// How far the model goes towards the aggregate (1; 0.7 with diloco).
    #[arg(long, value_name = "RATE", requires = "model")]
    learning_rate: Option<f32>,
    /// How much of the last round's step goes into this one (0; 0.9 with diloco).
    #[arg(long, value_name = "SHARE", requires = "model")]
    momentum: Option<f32>,
    /// Nesterov's momentum (always with diloco).
    #[arg(long, requires = "model")]
    nesterov: bool,
    /// The momentum as the last round left it; none in the first round.
    #[arg(long, value_name = "FILE", requires = "model")]
    pub buffer: Option<PathBuf>,
    /// Where the momentum goes, for the next round.
    #[arg(long, value_name = "FILE", requires = "model")]
    pub buffer_output: Option<PathBuf>,
}

/// A step that goes with its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Step(OuterStep);

impl StepArgs {
    pub fn read(&self, is_diloco: bool) -> anyhow::Result<Option<Step>> {
        ensure!(self.model.is_some() || !is_diloco, "--rule diloco needs --model: what the updates began from");
        let usual = if is_diloco { OuterStep::DILOCO } else { OuterStep::FEDAVG };
        let step = OuterStep {
            learning_rate: self.learning_rate.unwrap_or(usual.learning_rate),
            momentum: self.momentum.unwrap_or(usual.momentum),
            nesterov: self.nesterov || usual.nesterov,
        };
        let keeps = self.buffer_output.is_some();
        ensure!(
            self.model.is_none() || step.momentum == 0.0 || keeps,
            "momentum needs --buffer-output, for the next round's --buffer"
        );
        Ok(self.model.is_some().then_some(Step(step)))
    }
}

impl Step {
    /// Brings `model` and `buffer` up to date.
    pub fn apply(self, aggregate: &[f32], model: &mut [f32], buffer: &mut [f32], plan: &Plan) -> Result<(), Error> {
        self.0.apply(aggregate, model, buffer, plan)
    }
}
