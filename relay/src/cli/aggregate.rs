//! `mercato aggregate`: one update, or the next model, from the updates of many.
//!
//! Every file is checked first, and who is not finite is left out; then the rule looks at all updates as far as it needs
//! to, and the aggregate is written a window at a time: models larger than memory work. The bits of the result depend on
//! the files and their order alone, so its sha256 is a receipt that anybody can recompute.

mod check;
mod counted;
mod inputs;
mod report;
mod sink;
mod step;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use mercato_kernels::format::{Precision, Writer};
use mercato_kernels::{
    Aggregator, Chosen, Decision, Difference, Joined, Parameters, Plan, Rule, Updates, Window, Zeros,
};

use super::output::Output;
use super::progress::Progress;

use self::counted::Counted;
use self::inputs::{Inputs, Names};
use self::report::Report;
use self::sink::{Sink, Written};
use self::step::{Step, StepArgs};

/// Coordinates that are aggregated together: bounds the memory, whatever the size of the model.
const WINDOW: usize = 1 << 22;

#[derive(Debug, clap::Args)]
pub struct AggregateArgs {
    /// The updates, as safetensors files: dense (f32, f16, bf16), int8 with scales, or top-k. Their order is part of the
    /// input.
    #[arg(required = true, value_name = "UPDATE")]
    updates: Vec<PathBuf>,
    /// mean, median, trimmed-mean, krum, multi-krum, bulyan, geometric-median, norm-clip, centered-clip, fltrust, any of
    /// them after nnm+, or diloco.
    #[arg(long, value_parser = Asked::parse)]
    rule: Asked,
    /// Where the aggregate goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How many of the updates may be faulty.
    #[arg(long, value_name = "N")]
    f: Option<usize>,
    /// How much each update counts, such as its number of examples: 600,600,200.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    weights: Option<Vec<f32>>,
    /// Of multi-krum: how many updates are selected (all but f without it).
    #[arg(long, value_name = "N")]
    m: Option<usize>,
    /// Of norm-clip: the greatest norm.
    #[arg(long, value_name = "NORM", default_value_t = Parameters::default().c)]
    c: f64,
    /// Of centered-clip: the greatest distance from the centre.
    #[arg(long, value_name = "DISTANCE", default_value_t = Parameters::default().tau)]
    tau: f64,
    /// Of centered-clip: how often to clip.
    #[arg(long, alias = "L", value_name = "TIMES", default_value_t = Parameters::default().l)]
    l: usize,
    /// Of centered-clip: the last round's aggregate (zero without it).
    #[arg(long, value_name = "FILE")]
    centre: Option<PathBuf>,
    /// Of fltrust: the server's own update.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Of geometric-median: what smooths it.
    #[arg(long, value_name = "DISTANCE", default_value_t = Parameters::default().nu)]
    nu: f64,
    /// Of geometric-median: how often to approximate.
    #[arg(long, alias = "T", value_name = "TIMES", default_value_t = Parameters::default().t)]
    t: usize,
    #[command(flatten)]
    step: StepArgs,
    /// How the values of the aggregate are stored.
    #[arg(long, value_enum, default_value_t = Stored::F32)]
    precision: Stored,
    /// Refuse all when an update is not finite, in place of leaving it out.
    #[arg(long)]
    strict: bool,
    /// Threads to use (one for each processor without it); they show in no bit.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// A JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stored {
    F32,
    F16,
    Bf16,
}

/// A rule, or the mean with DiLoCo's step.
#[derive(Debug, Clone, Copy)]
struct Asked {
    rule: Rule,
    is_diloco: bool,
}

impl Asked {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "diloco" {
            return Ok(Self { rule: Rule { nnm: false, aggregator: Aggregator::Mean }, is_diloco: true });
        }
        let rule = text.parse().map_err(|error: mercato_kernels::UnknownRule| error.to_string())?;
        Ok(Self { rule, is_diloco: false })
    }
}

pub fn run(args: &AggregateArgs) -> anyhow::Result<()> {
    args.check()?;
    let step = args.step.read(args.rule.is_diloco)?;
    let inputs = Inputs::open(args)?;
    let available = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let plan = Plan::with_threads(args.threads.unwrap_or_else(available));
    let report = {
        let readings = if args.rule.rule.looks_first() { 3 } else { 2 };
        let progress = Progress::bytes(Some(readings * inputs.bytes()));
        aggregate(args, step, &inputs, &plan, &progress)?
    };
    let mut output = Output::new();
    if args.json {
        output.line(serde_json::to_string(&report)?)?;
    } else {
        report.table().into_iter().try_for_each(|line| output.line(line))?;
    }
    output.flush()
}

fn aggregate(
    args: &AggregateArgs,
    step: Option<Step>,
    inputs: &Inputs,
    plan: &Plan,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let counted = Counted::new(inputs.artefacts(), progress);
    progress.say("checking".to_owned());
    let checked = check::check(inputs, &counted, plan.threads)?;
    let clients = checked.clients(inputs, args.strict, progress)?;
    // Who is left out was one of the faulty ones.
    let f = args.f.map(|f| f.saturating_sub(inputs.clients().len() - clients.len()));
    let weights = args.weights.as_ref().map(|all| clients.iter().map(|&client| all[client]).collect());
    let parameters = args.parameters(f, weights);

    let rows: Vec<usize> = clients.iter().copied().chain(inputs.root()).collect();
    let names = Names::new(inputs, &rows);
    let chosen = Chosen::new(&counted, &rows).map_err(|error| names.tell(error))?;
    let model = inputs.model().map(|row| [row]);
    let base = model.as_ref().map(|row| Chosen::new(&counted, row)).transpose()?;
    let difference = base.as_ref().map(|base| Difference::new(base, &chosen)).transpose()?;
    let updates: &dyn Updates = difference.as_ref().map_or(&chosen, |difference| difference);
    let centre_row = inputs.centre().map(|row| [row]);
    let centre = centre_row.as_ref().map(|row| Chosen::new(&counted, row)).transpose()?;
    let zeros = Zeros(updates.coordinates());
    let joined = Joined::new(updates, centre.as_ref().map_or(&zeros as &dyn Updates, |centre| centre))?;
    let updates = if args.rule.rule.aggregator == Aggregator::CenteredClip { &joined } else { updates };

    progress.say("comparing".to_owned());
    let decision = args.rule.rule.decide(updates, &parameters, plan).map_err(|error| names.tell(error))?;
    progress.say("aggregating".to_owned());
    let sources = Sources { updates, base: base.as_ref(), inputs, names: &names };
    let written = write(args, step, &decision, &sources, plan)?;
    Ok(Report::new(inputs, &checked, &clients, &decision, args.rule.rule, parameters, written))
}

/// What is written from.
struct Sources<'a> {
    updates: &'a dyn Updates,
    /// The model that the updates are differences to.
    base: Option<&'a Chosen<'a>>,
    inputs: &'a Inputs,
    names: &'a Names<'a>,
}

/// Writes the aggregate, or what the step by it makes of the model; all of it or nothing.
fn write(
    args: &AggregateArgs,
    step: Option<Step>,
    decision: &Decision,
    sources: &Sources,
    plan: &Plan,
) -> anyhow::Result<Vec<Written>> {
    let Sources { updates, base, inputs, names } = sources;
    let begin = |path: &PathBuf, precision: Precision| -> anyhow::Result<Writer<Sink>> {
        Writer::new(Sink::create(path)?, precision, inputs.tensors())
            .with_context(|| format!("writing {}", path.display()))
    };
    let mut output = begin(&args.output, args.precision.precision())?;
    let mut momentum = args.step.buffer_output.as_ref().map(|path| begin(path, Precision::F32)).transpose()?;
    for start in (0..updates.coordinates()).step_by(WINDOW) {
        let range = start..(start + WINDOW).min(updates.coordinates());
        let mut aggregate = vec![0.0; range.len()];
        let window = Window::new(*updates, range.clone());
        decision.write(&window, &mut aggregate, plan).map_err(|error| names.tell(error))?;
        match (step, base) {
            (Some(step), Some(base)) => {
                let mut model = vec![0.0; range.len()];
                base_values(*base, range.clone(), &mut model)?;
                let mut buffer = inputs.buffer(range)?;
                step.apply(&aggregate, &mut model, &mut buffer, plan).context("the step")?;
                output.write(&model)?;
                momentum.as_mut().map_or(Ok(()), |momentum| momentum.write(&buffer))?;
            }
            (_, _) => output.write(&aggregate)?,
        }
    }
    let written = [Some(output), momentum].into_iter().flatten().map(|writer| writer.finish()?.close());
    let written: anyhow::Result<Vec<sink::Closed>> = written.collect();
    written?.into_iter().map(sink::Closed::name).collect()
}

fn base_values(base: &dyn Updates, range: std::ops::Range<usize>, out: &mut [f32]) -> anyhow::Result<()> {
    let mut scratch = vec![0.0; range.len()];
    out.copy_from_slice(base.read(0, range, &mut scratch)?);
    Ok(())
}

impl AggregateArgs {
    /// Whether the arguments go together.
    fn check(&self) -> anyhow::Result<()> {
        let aggregator = self.rule.rule.aggregator;
        if let Some(weights) = &self.weights {
            let (weights, updates) = (weights.len(), self.updates.len());
            ensure!(weights == updates, "{weights} weights for {updates} updates");
        }
        ensure!(
            self.f.is_some() || !self.rule.rule.takes_f(),
            "--rule {} needs --f: how many updates may be faulty",
            self.rule.rule
        );
        ensure!(
            self.weights.is_none() || aggregator.takes_weights(),
            "--rule {} takes no --weights: it counts all updates alike",
            self.rule.rule
        );
        let is_fltrust = aggregator == Aggregator::Fltrust;
        ensure!(
            self.root.is_some() == is_fltrust,
            "--root is the server's own update of --rule fltrust, which needs it"
        );
        let is_clipping = aggregator == Aggregator::CenteredClip;
        ensure!(self.centre.is_none() || is_clipping, "--centre is the last aggregate, for --rule centered-clip only");
        Ok(())
    }

    fn parameters(&self, f: Option<usize>, weights: Option<Vec<f32>>) -> Parameters {
        let Self { m, c, tau, l, nu, t, .. } = *self;
        Parameters { f, weights, m, c, tau, l, nu, t }
    }
}

impl Stored {
    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::F16 => Precision::F16,
            Self::Bf16 => Precision::Bf16,
        }
    }
}
