//! Certificates: read from files, kept as the files change, and when one ends.

mod kept;
mod not_after;
mod pem;

pub(crate) use kept::{Files, Kept, Made};
pub(crate) use not_after::not_after;
pub use pem::FileProblem;
pub(crate) use pem::{PemFile, pair};
