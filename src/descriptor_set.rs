//! The contract as a file, for tools that have neither the protos nor a gateway to ask.

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Args;

use crate::pb;

/// The options of `descriptor`.
#[derive(Debug, Args)]
pub struct DescriptorOptions {
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// A terminal shows binary data as garbage, or obeys it.
    #[error(
        "standard output is a terminal, and a descriptor set is binary: write it to a file with \
         `--output savepoint.binpb`, or redirect it"
    )]
    Terminal,
    /// Standard output does not take it.
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    /// The file cannot be written.
    #[error("--output: cannot write {path:?}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DescriptorError {
    /// 2 for a wrong use, else 1.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Terminal) { 2 } else { 1 }
    }
}

/// Writes the descriptor set to where the options say.
///
/// # Errors
/// If it cannot, or if that is a terminal.
pub fn write(options: &DescriptorOptions) -> Result<(), DescriptorError> {
    if let Some(path) = &options.output {
        return fs::write(path, pb::DESCRIPTOR)
            .map_err(|source| DescriptorError::File { path: path.clone(), source });
    }
    let mut out = io::stdout().lock();
    let is_terminal = out.is_terminal();
    write_to(&mut out, is_terminal)
}

fn write_to(out: &mut impl Write, is_terminal: bool) -> Result<(), DescriptorError> {
    if is_terminal {
        return Err(DescriptorError::Terminal);
    }
    out.write_all(pb::DESCRIPTOR).and_then(|()| out.flush()).map_err(DescriptorError::Stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_a_hint_rather_than_binary_data() {
        let mut out = Vec::new();
        let error = write_to(&mut out, true).unwrap_err();
        assert!(out.is_empty());
        assert!(error.to_string().contains("--output"), "{error}");
        assert_eq!(error.exit_code(), 2);
        write_to(&mut out, false).unwrap();
        assert_eq!(out, pb::DESCRIPTOR);
    }
}
