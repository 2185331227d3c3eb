//! A rule by its name and parameters, as a command line or a job states it.

use std::fmt;
use std::str::FromStr;

use crate::decision::Way;
use crate::ops::bulyan::Selection;
use crate::ops::weighted_mean::shares;
use crate::{
    Combination, Decision, Error, Gram, Mixing, Plan, Updates, centered_clipping, clipping, fltrust, geometric_median,
    krum, multi_krum,
};

/// What becomes one update of many. The names are [`Rule`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregator {
    Mean,
    Median,
    TrimmedMean,
    Krum,
    MultiKrum,
    Bulyan,
    GeometricMedian,
    NormClip,
    CenteredClip,
    Fltrust,
}

use Aggregator::{
    Bulyan, CenteredClip, Fltrust, GeometricMedian, Krum, Mean, Median, MultiKrum, NormClip, TrimmedMean,
};

impl Aggregator {
    pub const ALL: [Self; 10] =
        [Mean, Median, TrimmedMean, Krum, MultiKrum, Bulyan, GeometricMedian, NormClip, CenteredClip, Fltrust];

    pub fn name(self) -> &'static str {
        match self {
            Mean => "mean",
            Median => "median",
            TrimmedMean => "trimmed-mean",
            Krum => "krum",
            MultiKrum => "multi-krum",
            Bulyan => "bulyan",
            GeometricMedian => "geometric-median",
            NormClip => "norm-clip",
            CenteredClip => "centered-clip",
            Fltrust => "fltrust",
        }
    }

    /// Whether it needs to know how many updates may be faulty.
    pub fn takes_f(self) -> bool {
        matches!(self, TrimmedMean | Krum | MultiKrum | Bulyan)
    }

    /// Whether updates may count differently.
    pub fn takes_weights(self) -> bool {
        matches!(self, Mean | GeometricMedian | NormClip)
    }

    /// Whether the last of the updates is the server's own: what it is itself, it is not aggregated.
    pub fn has_own(self) -> bool {
        matches!(self, CenteredClip | Fltrust)
    }
}

/// An aggregator, and whether every update is first mixed with its nearest neighbours: `nnm+median`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub nnm: bool,
    pub aggregator: Aggregator,
}

/// No rule has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no rule `{0}`: it is one of mean, median, trimmed-mean, krum, multi-krum, bulyan, geometric-median, norm-clip, centered-clip, fltrust, or nnm+ and one of these"
)]
pub struct UnknownRule(String);

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let (nnm, name) = text.strip_prefix("nnm+").map_or((false, text), |name| (true, name));
        let aggregator = Aggregator::ALL.into_iter().find(|aggregator| aggregator.name() == name);
        aggregator.map(|aggregator| Self { nnm, aggregator }).ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.nnm { "nnm+" } else { "" }, self.aggregator.name())
    }
}

/// What rules are told. Defaults are ByzFL's, and so are the names.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// How many updates may be faulty.
    pub f: Option<usize>,
    /// How much each update counts; alike if there are none.
    pub weights: Option<Vec<f32>>,
    /// Of Multi-Krum: how many updates are selected, `n - f` by default (Flower's `num_nodes_to_select`).
    pub m: Option<usize>,
    /// Of norm clipping: the greatest norm.
    pub c: f64,
    /// Of centered clipping: the greatest distance from the centre.
    pub tau: f64,
    /// Of centered clipping: how often.
    pub l: usize,
    /// Of the geometric median: what smooths it.
    pub nu: f64,
    /// Of the geometric median: how often.
    pub t: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { f: None, weights: None, m: None, c: 2.0, tau: 100.0, l: 1, nu: 0.1, t: 3 }
    }
}

impl Rule {
    /// Whether it needs to know how many updates may be faulty.
    pub fn takes_f(&self) -> bool {
        self.nnm || self.aggregator.takes_f()
    }

    /// Whether it reads the updates once before it writes anything.
    pub fn looks_first(&self) -> bool {
        self.nnm || !matches!(self.aggregator, Mean | Median | TrimmedMean)
    }

    /// Looks at the updates as far as the rule needs to before it writes anything: not at all, or once, for their Gram
    /// matrix. Where the aggregator [has its own](Aggregator::has_own), that is the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an `f` that is missing and for weights that the rule does not take; those of the rule.
    pub fn decide(&self, updates: &dyn Updates, parameters: &Parameters, plan: &Plan) -> Result<Decision, Error> {
        if parameters.weights.is_some() && !self.aggregator.takes_weights() {
            return Err(Error::Parameter { name: "weights", must: "left out: this rule counts all updates alike" });
        }
        let missing = Error::Parameter { name: "f", must: "given: how many updates may be faulty" };
        let f = if self.takes_f() { parameters.f.ok_or(missing)? } else { 0 };
        let gram = self.looks_first().then(|| Gram::of(updates, plan)).transpose()?;
        let n = updates.count() - usize::from(self.aggregator.has_own());
        let mixing = gram.as_ref().filter(|_| self.nnm).map(|gram| Mixing::among(gram, n, f)).transpose()?;
        let mixed = mixing.as_ref().zip(gram.as_ref()).map(|(mixing, gram)| mixing.gram(gram));
        let way = self.way(n, mixed.as_ref().or(gram.as_ref()), f, parameters)?;
        Ok(Decision::new(way, gram, mixing))
    }

    /// `gram` is there if the aggregator needs one.
    fn way(&self, n: usize, gram: Option<&Gram>, f: usize, parameters: &Parameters) -> Result<Way, Error> {
        let Parameters { weights, m, c, tau, l, nu, t, .. } = parameters;
        let equal = || vec![1.0; n];
        let weights = weights.clone().unwrap_or_else(equal);
        let gram = || gram.expect("made for every rule that looks at distances");
        let combination = match self.aggregator {
            Mean => Combination { coefficients: shares(n, &weights)?, scores: Vec::new() },
            Median => return Ok(Way::Median),
            TrimmedMean => return Ok(Way::TrimmedMean { f }),
            Bulyan => return Selection::new(gram(), f).map(Way::Bulyan),
            Krum => krum(gram(), f)?,
            MultiKrum => multi_krum(gram(), f, m.unwrap_or(n.saturating_sub(f)))?,
            GeometricMedian => geometric_median(gram(), &weights, *nu, *t)?,
            NormClip => clipping(gram(), &weights, *c)?,
            CenteredClip => centered_clipping(gram(), *l, *tau)?,
            Fltrust => fltrust(gram())?,
        };
        Ok(Way::Sum(combination))
    }
}
