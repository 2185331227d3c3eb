//! The header of a safetensors file, checked once: afterwards every piece is known to lie within the file.

use std::collections::{BTreeMap, HashMap};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::source::Source;
use super::{BLOCK, CHUNK};

/// A model of a hundred thousand tensors has some ten megabytes; what claims more is not read.
const MOST_HEADER: u64 = 32 << 20;

/// One tensor of the update.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub name: String,
    pub shape: Vec<usize>,
    pub len: usize,
    pub way: Way,
}

/// How it is stored, and at which offsets of the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    F32(u64),
    F16(u64),
    Bf16(u64),
    Int8 { values: u64, scales: u64 },
    TopK { k: usize, bits: u32, indices: u64, codes: u64, scales: u64 },
}

/// The tensors in the order of their names.
pub(super) fn read(source: &dyn Source) -> Result<Vec<Piece>, String> {
    let size = source.size().map_err(|error| error.to_string())?;
    let mut length = [0; 8];
    source.read_at(0, &mut length).map_err(|_| "too short for a safetensors file".to_owned())?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER || length > size.saturating_sub(8) {
        return Err(format!("a header of {length} bytes in a file of {size}"));
    }
    let mut header = vec![0; length as usize];
    source.read_at(8, &mut header).map_err(|error| error.to_string())?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| format!("bad header: {error}"))?;
    let body = 8 + length;
    let told = body.checked_add(metadata.data_len() as u64);
    if told != Some(size) {
        return Err(format!("{size} bytes, but the header tells of {}", told.unwrap_or(u64::MAX)));
    }
    Header { tensors: metadata.tensors(), notes: metadata.metadata().clone().unwrap_or_default(), body }.pieces()
}

struct Header<'a> {
    tensors: HashMap<String, &'a TensorInfo>,
    notes: HashMap<String, String>,
    body: u64,
}

impl Header<'_> {
    fn pieces(&self) -> Result<Vec<Piece>, String> {
        let mut pieces = BTreeMap::new();
        let mut parts = 0;
        for (name, info) in &self.tensors {
            if let Some(way) = self.own_way(name, info)? {
                parts += if matches!(way, Way::Int8 { .. }) { 2 } else { 1 };
                pieces.insert(name.clone(), self.piece(name, info.shape.clone(), way)?);
            }
        }
        for (note, shape) in &self.notes {
            let Some(name) = note.strip_suffix(".shape") else { continue };
            let shape = shape.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>();
            let shape = shape.map_err(|_| format!("`{note}` is no shape"))?;
            let way = self.top_k(name, element_count(&shape)?)?;
            parts += 3;
            if pieces.insert(name.to_owned(), self.piece(name, shape, way)?).is_some() {
                return Err(format!("tensor `{name}` is stored twice"));
            }
        }
        if parts != self.tensors.len() {
            return Err("scales, indices or codes that belong to no tensor".to_owned());
        }
        Ok(pieces.into_values().collect())
    }

    fn piece(&self, name: &str, shape: Vec<usize>, way: Way) -> Result<Piece, String> {
        Ok(Piece { name: name.to_owned(), len: element_count(&shape)?, shape, way })
    }

    /// `None` for what belongs to another tensor.
    fn own_way(&self, name: &str, info: &TensorInfo) -> Result<Option<Way>, String> {
        let offset = self.body + info.data_offsets.0 as u64;
        if let Some((base, part)) = name.rsplit_once('.') {
            let listed = self.notes.contains_key(&format!("{base}.shape"));
            let scaled = self.tensors.get(base).is_some_and(|base| base.dtype == Dtype::I8);
            if (listed && ["indices", "codes", "scales"].contains(&part)) || (scaled && part == "scales") {
                return Ok(None);
            }
        }
        match info.dtype {
            Dtype::F32 => Ok(Some(Way::F32(offset))),
            Dtype::F16 => Ok(Some(Way::F16(offset))),
            Dtype::BF16 => Ok(Some(Way::Bf16(offset))),
            Dtype::I8 => {
                let blocks = element_count(&info.shape)?.div_ceil(BLOCK);
                Ok(Some(Way::Int8 { values: offset, scales: self.part(name, "scales", Dtype::F32, blocks)? }))
            }
            other => Err(format!("tensor `{name}` is of type {other:?}")),
        }
    }

    fn top_k(&self, name: &str, len: usize) -> Result<Way, String> {
        let number = |what: &str, least: usize, most: usize| {
            let note = format!("{name}.{what}");
            let number = self.notes.get(&note).and_then(|number| number.parse().ok());
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or(format!("`{note}` is missing or out of range"))
        };
        let k = number("k", 1, CHUNK)?;
        let bits = number("bits", 2, 4)?;
        if bits == 3 {
            return Err(format!("`{name}.bits` is neither 2 nor 4"));
        }
        let chunks = len.div_ceil(CHUNK);
        let (entries, bytes) = match len % CHUNK {
            0 => (chunks * k, chunks * bytes_of(k, bits)),
            rest => {
                let last = k.min(rest);
                ((chunks - 1) * k + last, (chunks - 1) * bytes_of(k, bits) + bytes_of(last, bits))
            }
        };
        Ok(Way::TopK {
            k,
            bits: bits as u32,
            indices: self.part(name, "indices", Dtype::U16, entries)?,
            codes: self.part(name, "codes", Dtype::U8, bytes)?,
            scales: self.part(name, "scales", Dtype::F32, chunks)?,
        })
    }

    /// The offset of a tensor that belongs to another and has so many elements.
    fn part(&self, name: &str, part: &str, dtype: Dtype, len: usize) -> Result<u64, String> {
        let full = format!("{name}.{part}");
        let info = self.tensors.get(&full).ok_or_else(|| format!("tensor `{full}` is missing"))?;
        if info.dtype != dtype || element_count(&info.shape)? != len {
            return Err(format!("tensor `{full}` should be {len} elements of {dtype:?}"));
        }
        Ok(self.body + info.data_offsets.0 as u64)
    }
}

/// Bytes that codes take.
pub(super) fn bytes_of(entries: usize, bits: usize) -> usize {
    (entries * bits).div_ceil(8)
}

/// Bounded well below what would overflow when multiplied by sizes.
fn element_count(shape: &[usize]) -> Result<usize, String> {
    let count = shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
    count.filter(|&count| count < 1 << 48).ok_or_else(|| format!("a shape of {shape:?}"))
}
