//! What came of each update.

use std::path::PathBuf;

use mercato_kernels::validate::{self, Finding, Limits};
use mercato_kernels::{Decision, Parameters, Rule};
use serde::Serialize;

use super::check::Checked;
use super::inputs::Inputs;
use super::sink::Written;

#[derive(Debug, Serialize)]
pub struct Report {
    rule: String,
    /// How many updates may be faulty beside those that were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    f: Option<usize>,
    coordinates: usize,
    updates: Vec<Row>,
    written: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Row {
    file: PathBuf,
    sha256: String,
    #[serde(flatten)]
    fate: Fate,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
enum Fate {
    LeftOut {
        tensor: String,
        coordinate: usize,
    },
    Aggregated {
        used: bool,
        /// Of the aggregate, where it is the same for all coordinates.
        #[serde(skip_serializing_if = "Option::is_none")]
        share: Option<f32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        score: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        norm: Option<f64>,
        findings: Vec<String>,
    },
}

impl Report {
    pub fn new(
        inputs: &Inputs,
        checked: &Checked,
        clients: &[usize],
        decision: &Decision,
        rule: Rule,
        parameters: Parameters,
        written: Vec<Written>,
    ) -> Self {
        let gram = decision.gram().map(|gram| gram.leading(clients.len()));
        let findings = gram.as_ref().map(|gram| validate::inspect(gram, &Limits::default()));
        let name = |place: usize| inputs.path(clients[place]).display().to_string();
        let aggregated = |place: usize| Fate::Aggregated {
            used: decision.is_used(place),
            share: decision.coefficients().and_then(|shares| shares.get(place)).copied(),
            score: decision.scores().get(place).copied(),
            norm: gram.as_ref().map(|gram| gram.norm(place)),
            findings: findings.iter().flat_map(|all| &all[place]).map(|finding| in_words(finding, &name)).collect(),
        };
        let row = |row: usize| {
            let file = checked.of(row);
            let fate = match (file.flaw, clients.binary_search(&row)) {
                (None, Ok(place)) => aggregated(place),
                (flaw, _) => {
                    let coordinate = flaw.unwrap_or_default();
                    Fate::LeftOut { tensor: inputs.tensor_of(coordinate).to_owned(), coordinate }
                }
            };
            Row { file: inputs.path(row).to_owned(), sha256: const_hex::encode(file.sha256), fate }
        };
        let coordinates = inputs.tensors().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let f = parameters.f.filter(|_| rule.takes_f());
        Self { rule: rule.to_string(), f, coordinates, updates: inputs.clients().map(row).collect(), written }
    }

    /// For people.
    pub fn table(&self) -> Vec<String> {
        let used = self.updates.iter().filter(|row| matches!(row.fate, Fate::Aggregated { used: true, .. })).count();
        let out = self.updates.iter().filter(|row| matches!(row.fate, Fate::LeftOut { .. })).count();
        let beside = if out == 0 { String::new() } else { format!(" beside {out} left out") };
        let f = self.f.map_or(String::new(), |f| format!(", f = {f}{beside}"));
        let (rule, all, coordinates) = (&self.rule, self.updates.len(), self.coordinates);
        let mut lines = vec![format!("{rule} of {all} updates with {coordinates} parameters{f}: {used} used")];
        let file = |row: &Row| row.file.display().to_string();
        let width = self.updates.iter().map(|row| file(row).chars().count()).max().unwrap_or(0).max("update".len());
        lines.push(format!("{:<width$}  {:>9}  {:>12}  {:>12}", "update", "share", "score", "norm"));
        for row in &self.updates {
            let text = match &row.fate {
                Fate::LeftOut { tensor, .. } => format!("left out: not finite in tensor `{tensor}`"),
                Fate::Aggregated { used, share, score, norm, findings } => {
                    let share = match share {
                        _ if !used => "-".to_owned(),
                        Some(share) => format!("{share:.6}"),
                        None => "varies".to_owned(),
                    };
                    let number = |number: &Option<f64>| number.map_or("-".to_owned(), shown);
                    let line =
                        format!("{share:>9}  {:>12}  {:>12}  {}", number(score), number(norm), findings.join("; "));
                    line.trim_end().to_owned()
                }
            };
            lines.push(format!("{:<width$}  {text}", file(row)));
        }
        for Written { file, sha256, bytes } in &self.written {
            lines.push(format!("{}: {bytes} bytes, sha256 {sha256}", file.display()));
        }
        lines
    }
}

/// In the width of a column; the JSON has it whole.
fn shown(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) { format!("{number:.3}") } else { format!("{number:.3e}") }
}

fn in_words(finding: &Finding, name: &dyn Fn(usize) -> String) -> String {
    match finding {
        Finding::TooLong { times } => format!("{times:.1} times the usual norm"),
        Finding::TooShort { times } => format!("only {times:.3} of the usual norm"),
        Finding::PointsElsewhere { cosine } => format!("points elsewhere (cosine {cosine:.2})"),
        Finding::CopyOf { update } => format!("a copy of {}", name(*update)),
    }
}
