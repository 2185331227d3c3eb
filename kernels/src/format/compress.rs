//! The sender's side: an update made small, and what that loses kept for the next round.

use std::collections::HashMap;
use std::io;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::header::bytes_of;
use super::writer::write_header;
use super::{Artefact, BLOCK, CHUNK};

/// How an update is made small; see the [module](super) for the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Int8,
    /// `k` of each 4,096 elements (SparseLoCo: 1 to 3 of a hundred), in codes of 2 or 4 bits.
    TopK {
        k: usize,
        bits: u32,
    },
}

/// What earlier rounds could not say: it is added to the next update, so that nothing is lost for good.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorFeedback {
    residual: Vec<f32>,
    /// How much of the residual is kept: one keeps all, SparseLoCo keeps 0.95.
    decay: f32,
}

impl ErrorFeedback {
    pub fn new(coordinates: usize, decay: f32) -> Self {
        Self { residual: vec![0.0; coordinates], decay }
    }

    /// The file to send for `update`, which has these tensors in the order of their names. The residual becomes
    /// `update + decay · residual` less what the file says.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for tensors that are not those of the update, values that are not finite, or a packing that does
    /// not exist.
    pub fn pack(&mut self, packing: Packing, tensors: &[(&str, &[usize])], update: &[f32]) -> io::Result<Vec<u8>> {
        let wanted: Vec<f32> =
            update.iter().zip(&self.residual).map(|(update, rest)| self.decay.mul_add(*rest, *update)).collect();
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
        if update.len() != self.residual.len() || wanted.iter().any(|value| !value.is_finite()) {
            return Err(invalid("an update of another length, or not finite"));
        }
        let file = pack(packing, tensors, &wanted)?;
        let artefact = Artefact::new("what was packed".to_owned(), Box::new(file.clone()));
        let mut said = vec![0.0; wanted.len()];
        let read = artefact.and_then(|artefact| match artefact.coordinates() == said.len() {
            true => artefact.read(0..said.len(), &mut said).map(|()| true),
            false => Ok(false),
        });
        if !read.map_err(|error| invalid(&error.to_string()))? {
            return Err(invalid("tensors that are not those of the update"));
        }
        self.residual = wanted.iter().zip(&said).map(|(wanted, said)| wanted - said).collect();
        Ok(file)
    }
}

fn pack(packing: Packing, tensors: &[(&str, &[usize])], values: &[f32]) -> io::Result<Vec<u8>> {
    if let Packing::TopK { k, bits } = packing
        && (!(1..=CHUNK).contains(&k) || ![2, 4].contains(&bits))
    {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "top-k keeps 1 to 4096 elements in 2 or 4 bits"));
    }
    let mut file = File::default();
    let mut rest = values;
    for &(name, shape) in tensors {
        let len = shape.iter().try_fold(1_usize, |len, &length| len.checked_mul(length));
        let split = len.and_then(|len| rest.split_at_checked(len));
        let (values, others) = split.ok_or(io::Error::new(io::ErrorKind::InvalidInput, "more elements than values"))?;
        rest = others;
        match packing {
            Packing::Int8 => file.add_int8(name, shape, values),
            Packing::TopK { k, bits } => file.add_top_k(name, shape, values, k, bits),
        }
    }
    file.finish()
}

#[derive(Default)]
struct File {
    infos: Vec<(String, TensorInfo)>,
    notes: HashMap<String, String>,
    body: Vec<u8>,
}

impl File {
    fn add(&mut self, name: String, dtype: Dtype, shape: Vec<usize>, bytes: &[u8]) {
        let start = self.body.len();
        self.body.extend_from_slice(bytes);
        self.infos.push((name, TensorInfo { dtype, shape, data_offsets: (start, self.body.len()) }));
    }

    fn add_int8(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let scale = |block: &[f32]| greatest(block) / 127.0;
        let scales: Vec<f32> = values.chunks(BLOCK).map(scale).collect();
        let code = |(j, value): (usize, &f32)| {
            let scale = scales[j / BLOCK];
            if scale == 0.0 { 0 } else { (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8 }
        };
        let codes: Vec<u8> = values.iter().enumerate().map(code).map(i8::cast_unsigned).collect();
        self.add(name.to_owned(), Dtype::I8, shape.to_vec(), &codes);
        self.add(format!("{name}.scales"), Dtype::F32, vec![scales.len()], &bytes(&scales));
    }

    fn add_top_k(&mut self, name: &str, shape: &[usize], values: &[f32], k: usize, bits: u32) {
        let (mut indices, mut codes, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in values.chunks(CHUNK) {
            let listed = largest(chunk, k);
            let scale = greatest(chunk);
            let mut packed = vec![0_u8; bytes_of(listed.len(), bits as usize)];
            for (entry, &index) in listed.iter().enumerate() {
                let bit = entry * bits as usize;
                packed[bit / 8] |= nearest_code(chunk[index], scale, bits) << (bit % 8);
                indices.extend((index as u16).to_le_bytes());
            }
            codes.extend(packed);
            scales.push(scale);
        }
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        self.notes.insert(format!("{name}.shape"), shape.join(","));
        self.notes.insert(format!("{name}.k"), k.to_string());
        self.notes.insert(format!("{name}.bits"), bits.to_string());
        self.add(format!("{name}.scales"), Dtype::F32, vec![scales.len()], &bytes(&scales));
        self.add(format!("{name}.indices"), Dtype::U16, vec![indices.len() / 2], &indices);
        self.add(format!("{name}.codes"), Dtype::U8, vec![codes.len()], &codes);
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        let metadata = Metadata::new(Some(self.notes), self.infos)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let mut file = Vec::new();
        write_header(&mut file, &metadata)?;
        file.extend(self.body);
        Ok(file)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn greatest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |greatest, value| value.abs().max(greatest))
}

/// The places of the `k` of largest magnitude, ascending; of equal ones the first.
fn largest(chunk: &[f32], k: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..chunk.len()).collect();
    places.sort_by(|&a, &b| chunk[b].abs().total_cmp(&chunk[a].abs()));
    places.truncate(k);
    places.sort_unstable();
    places
}

fn nearest_code(value: f32, scale: f32, bits: u32) -> u8 {
    let most = ((1_u32 << bits) - 1) as f32;
    if scale == 0.0 { 0 } else { ((value / scale + 1.0) * most * 0.5).round_ties_even().clamp(0.0, most) as u8 }
}
