//! Updates that are decoded where they are accumulated.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};

use super::header::{self, Piece, Way, bytes_of};
use super::source::Source;
use super::{BLOCK, CHUNK, FormatError, level};
use crate::{Error, Updates};

/// One update, in a file or in memory.
pub struct Artefact {
    name: String,
    source: Box<dyn Source>,
    pieces: Vec<Piece>,
    len: usize,
}

impl Artefact {
    /// # Errors
    ///
    /// [`FormatError`] with the file's path, for whatever is wrong with it.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::new(name, Box::new(file)),
            Err(error) => Err(FormatError { artefact: name, reason: error.to_string() }),
        }
    }

    /// `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`FormatError`] for a source that is no safetensors file, or one whose tensors are none of an update.
    pub fn new(name: String, source: Box<dyn Source>) -> Result<Self, FormatError> {
        match header::read(source.as_ref()) {
            Ok(pieces) => Ok(Self { len: pieces.iter().map(|piece| piece.len).sum(), name, source, pieces }),
            Err(reason) => Err(FormatError { artefact: name, reason }),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many coordinates it has.
    pub fn coordinates(&self) -> usize {
        self.len
    }

    /// Names and shapes of its tensors, in the order of coordinates.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.pieces.iter().map(|piece| (piece.name.as_str(), piece.shape.as_slice()))
    }

    /// Decodes coordinates `range` to `out`, which is as long.
    ///
    /// # Errors
    ///
    /// [`FormatError`] for a source that is cut short meanwhile, and for indices that are not in order.
    pub fn read(&self, range: Range<usize>, out: &mut [f32]) -> Result<(), FormatError> {
        assert!(range.end <= self.len && range.len() == out.len(), "a range within the artefact");
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.len;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                let out = &mut out[from - range.start..to - range.start];
                let decoded = self.decode(piece, from - start, out);
                decoded.map_err(|error| FormatError {
                    artefact: self.name.clone(),
                    reason: format!("tensor `{}`: {error}", piece.name),
                })?;
            }
            start = end;
        }
        Ok(())
    }

    fn decode(&self, piece: &Piece, from: usize, out: &mut [f32]) -> io::Result<()> {
        match piece.way {
            Way::F32(at) => self.each(at, from, out, f32::from_le_bytes),
            Way::F16(at) => self.each(at, from, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Way::Bf16(at) => self.each(at, from, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Way::Int8 { values, scales } => {
                self.each(values, from, out, |bytes| f32::from(i8::from_le_bytes(bytes)))?;
                let first = from / BLOCK;
                let mut found = vec![0.0; (from + out.len()).div_ceil(BLOCK) - first];
                self.each(scales, first, &mut found, f32::from_le_bytes)?;
                for (j, value) in out.iter_mut().enumerate() {
                    *value *= found[(from + j) / BLOCK - first];
                }
                Ok(())
            }
            Way::TopK { .. } => {
                out.fill(0.0);
                let end = from + out.len();
                (from / CHUNK..end.div_ceil(CHUNK)).try_for_each(|chunk| self.scatter(piece, chunk, from, out))
            }
        }
    }

    /// Elements of one size, from the `from`th on.
    fn each<const SIZE: usize>(
        &self,
        at: u64,
        from: usize,
        out: &mut [f32],
        decode: impl Fn([u8; SIZE]) -> f32,
    ) -> io::Result<()> {
        let mut bytes = vec![0; out.len() * SIZE];
        self.source.read_at(at + (from * SIZE) as u64, &mut bytes)?;
        for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<SIZE>().0) {
            *value = decode(*bytes);
        }
        Ok(())
    }

    /// What is listed of one chunk.
    fn scatter(&self, piece: &Piece, chunk: usize, from: usize, out: &mut [f32]) -> io::Result<()> {
        let Way::TopK { k, bits, indices, codes, scales } = piece.way else { return Ok(()) };
        let chunk_len = CHUNK.min(piece.len - chunk * CHUNK);
        let entries = k.min(chunk_len);
        let mut scale = [0.0];
        self.each(scales, chunk, &mut scale, f32::from_le_bytes)?;
        let mut listed = vec![0; entries * 2];
        self.source.read_at(indices + (chunk * k * 2) as u64, &mut listed)?;
        let mut packed = vec![0; bytes_of(entries, bits as usize)];
        self.source.read_at(codes + (chunk * bytes_of(k, bits as usize)) as u64, &mut packed)?;
        let mut next = 0;
        for (entry, bytes) in listed.as_chunks::<2>().0.iter().enumerate() {
            let index = usize::from(u16::from_le_bytes(*bytes));
            if index < next || index >= chunk_len {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("bad index {index} in chunk {chunk}")));
            }
            next = index + 1;
            let bit = entry * bits as usize;
            let code = packed[bit / 8] >> (bit % 8) & ((1 << bits) - 1);
            if let Some(value) = (chunk * CHUNK + index).checked_sub(from).and_then(|at| out.get_mut(at)) {
                *value = scale[0] * level(code, bits);
            }
        }
        Ok(())
    }
}

/// Artefacts with the same tensors, as the updates of one round.
pub struct Artefacts(Vec<Artefact>);

impl Artefacts {
    /// # Errors
    ///
    /// [`FormatError`] of the first that has other tensors than the first of all, or if there is none.
    pub fn new(artefacts: Vec<Artefact>) -> Result<Self, FormatError> {
        let Some(first) = artefacts.first() else {
            return Err(FormatError { artefact: "nothing".to_owned(), reason: "no artefacts to aggregate".to_owned() });
        };
        match artefacts.iter().find(|artefact| !artefact.tensors().eq(first.tensors())) {
            None => Ok(Self(artefacts)),
            Some(other) => {
                let differs = other.tensors().zip(first.tensors()).find(|(other, first)| other != first);
                let what = differs.map_or("their number".to_owned(), |((name, _), _)| format!("`{name}`"));
                let reason = format!("its tensors are not those of {}: {what}", first.name);
                Err(FormatError { artefact: other.name.clone(), reason })
            }
        }
    }

    pub fn get(&self, update: usize) -> Option<&Artefact> {
        self.0.get(update)
    }
}

impl Updates for Artefacts {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn coordinates(&self) -> usize {
        self.0[0].len
    }

    fn read<'a>(&'a self, update: usize, range: Range<usize>, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
        match self.0[update].read(range, scratch) {
            Ok(()) => Ok(scratch),
            Err(error) => Err(Error::Unreadable { update, reason: error.to_string() }),
        }
    }
}
