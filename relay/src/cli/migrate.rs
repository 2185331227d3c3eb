//! `mercato migrate`: brings a store of an older format to this program's.
//!
//! Format 1 is the first and the newest, so there is nothing to do yet; a store of a format that is not known is told.

use super::output::Output;
use super::storage;
use crate::config::Config;
use crate::store::Store;

pub fn run(config: &Config) -> anyhow::Result<()> {
    let format = storage::open_to_read(config)?.stats()?.format;
    let mut output = Output::new();
    output.line(format!("the store has format {format}, which is this program's: there is nothing to do"))?;
    output.flush()
}
