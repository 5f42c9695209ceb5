//! Who may call what: a policy in a file, which is re-read when it changes, and each caller's share
//! of the limits.

mod access;
mod metrics;
mod options;
mod parse;
mod rules;
mod shares;

pub(crate) use access::Access;
pub(crate) use metrics::PolicyMetrics;
pub(crate) use options::PolicyOptions;
pub use options::{Enforcement, PolicyFile, Source};
pub use parse::Mistake;
pub use rules::{Policy, Right, Scope};
pub(crate) use shares::{Share, Shares};
