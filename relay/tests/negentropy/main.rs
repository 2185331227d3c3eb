//! Set reconciliation without a socket: each part against a twin that is too simple to be wrong, or against the
//! `negentropy` crate as the other side.

mod kept;
mod protocol;
mod set;
mod support;
