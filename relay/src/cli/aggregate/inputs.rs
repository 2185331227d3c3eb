//! The files, and what each of them is for. All of them have the same tensors.

use std::ops::Range;
use std::path::{Path, PathBuf};

use mercato_kernels::format::{Artefact, Artefacts};
use mercato_kernels::{Error, Updates};

use super::AggregateArgs;

/// Rows are counted in this order: the clients' updates, the server's own, the centre, the model, the momentum.
pub struct Inputs {
    artefacts: Artefacts,
    paths: Vec<PathBuf>,
    clients: usize,
    root: Option<usize>,
    centre: Option<usize>,
    model: Option<usize>,
    buffer: Option<usize>,
}

impl Inputs {
    pub fn open(args: &AggregateArgs) -> anyhow::Result<Self> {
        let mut paths = args.updates.clone();
        let mut add = |path: &Option<PathBuf>| {
            let row = paths.len();
            path.as_ref().map(|path| {
                paths.push(path.clone());
                row
            })
        };
        let (root, centre) = (add(&args.root), add(&args.centre));
        let (model, buffer) = (add(&args.step.model), add(&args.step.buffer));
        let artefacts = paths.iter().map(|path| Artefact::open(path)).collect::<Result<_, _>>()?;
        let artefacts = Artefacts::new(artefacts)?;
        Ok(Self { artefacts, paths, clients: args.updates.len(), root, centre, model, buffer })
    }

    pub fn artefacts(&self) -> &Artefacts {
        &self.artefacts
    }

    /// Rows of the clients' updates.
    pub fn clients(&self) -> Range<usize> {
        0..self.clients
    }

    pub fn root(&self) -> Option<usize> {
        self.root
    }

    pub fn centre(&self) -> Option<usize> {
        self.centre
    }

    pub fn model(&self) -> Option<usize> {
        self.model
    }

    pub fn path(&self, row: usize) -> &Path {
        &self.paths[row]
    }

    pub fn rows(&self) -> Range<usize> {
        0..self.paths.len()
    }

    /// Names and shapes, in the order of coordinates.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.artefacts.get(0).into_iter().flat_map(Artefact::tensors)
    }

    /// The tensor that a coordinate is in.
    pub fn tensor_of(&self, coordinate: usize) -> &str {
        let mut end = 0;
        let mut tensors = self.tensors();
        let found = tensors.find(|(_, shape)| {
            end += shape.iter().product::<usize>();
            coordinate < end
        });
        found.map_or("", |(name, _)| name)
    }

    /// Decoded, in bytes of `f32`: what one reading of all of it is.
    pub fn bytes(&self) -> u64 {
        (self.artefacts.count() * self.artefacts.coordinates() * size_of::<f32>()) as u64
    }

    /// The momentum, zero in the first round.
    pub fn buffer(&self, range: Range<usize>) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; range.len()];
        if let Some(row) = self.buffer {
            self.artefacts.read(row, range, &mut values)?;
        }
        Ok(values)
    }
}

/// The files behind the rows that a rule was given, for errors.
pub struct Names<'a> {
    inputs: &'a Inputs,
    rows: &'a [usize],
}

impl<'a> Names<'a> {
    pub fn new(inputs: &'a Inputs, rows: &'a [usize]) -> Self {
        Self { inputs, rows }
    }

    /// Who made it.
    pub fn tell(&self, error: Error) -> anyhow::Error {
        let update = match &error {
            Error::UpdateLength { update, .. }
            | Error::WeightNotFinite { update }
            | Error::WeightNegative { update }
            | Error::NotFinite { update, .. } => *update,
            // The reason names the file.
            Error::Unreadable { reason, .. } => return anyhow::Error::msg(reason.clone()),
            Error::NoUpdates
            | Error::WeightCount { .. }
            | Error::OutputLength { .. }
            | Error::ZeroTotalWeight
            | Error::Overflow { .. }
            | Error::TooManyFaulty { .. }
            | Error::Parameter { .. }
            | Error::NobodyTrusted { .. } => return error.into(),
        };
        match self.rows.get(update) {
            Some(&row) => anyhow::Error::msg(format!("{}: {error}", self.inputs.path(row).display())),
            None => error.into(),
        }
    }
}
