//! Writes an aggregate as it comes, a piece at a time.

use std::io::{self, Write};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

/// How the values are stored: `f32` exactly, the others rounded to nearest, ties to even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    F16,
    Bf16,
}

impl Precision {
    fn dtype(self) -> (Dtype, usize) {
        match self {
            Self::F32 => (Dtype::F32, 4),
            Self::F16 => (Dtype::F16, 2),
            Self::Bf16 => (Dtype::BF16, 2),
        }
    }
}

/// A safetensors file of dense tensors. The same tensors and values give the same bytes.
pub struct Writer<W> {
    to: W,
    precision: Precision,
    missing: usize,
}

impl<W: Write> Writer<W> {
    /// Begins with the header. `tensors` are names and shapes in the order of coordinates ([`super::Artefact::tensors`]).
    ///
    /// # Errors
    ///
    /// Those of `to`; `InvalidInput` for a name that is not unique or a shape too large.
    pub fn new<'a>(
        mut to: W,
        precision: Precision,
        tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> io::Result<Self> {
        let (dtype, size) = precision.dtype();
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
        let mut infos: Vec<(String, TensorInfo)> = Vec::new();
        let mut end = 0_usize;
        for (name, shape) in tensors {
            if infos.last().is_some_and(|(last, _)| last.as_str() >= name) {
                return Err(invalid("tensors not in the order of their names"));
            }
            let bytes = shape.iter().try_fold(size, |bytes, &length| bytes.checked_mul(length));
            let start = end;
            end = bytes.and_then(|bytes| start.checked_add(bytes)).ok_or_else(|| invalid("a shape too large"))?;
            infos.push((name.to_owned(), TensorInfo { dtype, shape: shape.to_vec(), data_offsets: (start, end) }));
        }
        let metadata = Metadata::new(None, infos).map_err(|error| invalid(&error.to_string()))?;
        write_header(&mut to, &metadata)?;
        Ok(Self { to, precision, missing: end / size })
    }

    /// The next values, in the order of coordinates.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn write(&mut self, values: &[f32]) -> io::Result<()> {
        assert!(values.len() <= self.missing, "no more values than the tensors have");
        self.missing -= values.len();
        let bytes: Vec<u8> = match self.precision {
            Precision::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Precision::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            Precision::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
        };
        self.to.write_all(&bytes)
    }

    /// # Errors
    ///
    /// Those of the file; `UnexpectedEof` if values are missing.
    pub fn finish(mut self) -> io::Result<W> {
        if self.missing > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} values are missing", self.missing)));
        }
        self.to.flush()?;
        Ok(self.to)
    }
}

/// Padded with spaces, so that the tensors begin at a multiple of eight.
pub(super) fn write_header(to: &mut impl Write, metadata: &Metadata) -> io::Result<()> {
    let mut header = serde_json::to_vec(metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&header)
}
