//! Updates as files: [safetensors](https://github.com/huggingface/safetensors), never pickle.
//!
//! An artefact is one safetensors file; the coordinates of an update are its tensors in the order of their names' bytes,
//! each in row-major order. A tensor `w` is stored in one of these ways, and decoded a tile at a time:
//!
//! | way | tensors | value of element `j` |
//! |---|---|---|
//! | dense | `w`: F32, F16 or BF16 | itself, exactly |
//! | int8 | `w`: I8; `w.scales`: F32, one for each 256 elements | `scale · f32(w_j)`, one rounding |
//! | top-k | `w.indices`: U16, `w.codes`: U8, `w.scales`: F32 | `scale · level(code)`, one rounding; zero if not listed |
//!
//! Top-k (as SparseLoCo) cuts a tensor into chunks of 4,096 elements. Of each the `k` largest are listed, all of them if
//! the last chunk is shorter: their indices within the chunk, ascending, and codes of 2 or 4 bits, the lowest bits of a
//! byte first, each chunk's beginning with a byte of its own. `level(c) = f32(2c - m) / f32(m)` with `m = 2^bits - 1`.
//! What the tensors do not say is in the file's metadata: `w.shape` (as `3,4`), `w.k`, `w.bits`.

mod artefact;
mod compress;
mod header;
mod source;
mod writer;

pub use artefact::{Artefact, Artefacts};
pub use compress::{ErrorFeedback, Packing};
pub use source::Source;
pub use writer::{Precision, Writer};

/// What is wrong with an artefact, which is named: nobody else's is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{artefact}: {reason}")]
pub struct FormatError {
    pub artefact: String,
    pub reason: String,
}

/// Elements that share a scale in int8.
pub const BLOCK: usize = 256;
/// Elements of which the `k` largest are listed in top-k.
pub const CHUNK: usize = 4096;

/// The value of a code, of a scale of one.
fn level(code: u8, bits: u32) -> f32 {
    let most = (1_u32 << bits) - 1;
    (2.0 * f32::from(code) - most as f32) / most as f32
}
