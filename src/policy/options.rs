//! The options of the policy, and its file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use zeroize::Zeroizing;

use super::rules::Policy;
use crate::files::{self, FileError};
use crate::options::Problems;
use crate::options::problems::non_empty;
use crate::rpc::operation::Operation;
use crate::tls::{FileProblem, FileSource, Loaded, Reloading, When};

const POLICY: &str = "--policy";

/// Maximum file size: some thousand rules.
const BYTES: u64 = 1024 * 1024;

/// The options of the policy.
#[derive(Debug, Args)]
pub(crate) struct PolicyOptions {
    /// Rules for who may call what, TOML
    ///
    /// Re-read on change. Without it everyone who reaches the port may call everything
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// Log and count what the policy would refuse, and refuse nothing
    #[arg(long, hide_short_help = true)]
    policy_dry_run: bool,
}

impl PolicyOptions {
    /// Loads the policy. `operations`: all RPCs, which rules may name.
    pub(crate) fn setup(
        &self,
        operations: &'static [&'static Operation],
        problems: &mut Problems<'_>,
    ) -> Option<Enforcement> {
        let Some(path) = non_empty(&self.policy) else {
            if self.policy_dry_run {
                problems.report("--policy-dry-run", format_args!("has no effect without {POLICY}"));
            }
            return None;
        };
        let file = PolicyFile::load(path, operations).map(Arc::new);
        let file = file.map_err(|found| FileProblem::report(found, problems)).ok()?;
        Some(Enforcement { file, dry_run: self.policy_dry_run })
    }
}

/// A policy, and whether it refuses calls.
#[derive(Debug, Clone)]
pub struct Enforcement {
    pub file: Arc<PolicyFile>,
    /// Nothing is refused.
    pub dry_run: bool,
}

/// The policy in a file, or the last valid one.
pub type PolicyFile = Reloading<Source>;

impl PolicyFile {
    /// Reads the policy.
    ///
    /// # Errors
    /// All mistakes, with their lines.
    pub fn load(
        path: impl Into<PathBuf>,
        operations: &'static [&'static Operation],
    ) -> Result<Self, Vec<FileProblem>> {
        Self::of(Source { path: path.into(), operations })
    }
}

#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    operations: &'static [&'static Operation],
}

impl Source {
    fn problem(&self, why: impl fmt::Display) -> FileProblem {
        FileProblem { flag: POLICY, why: format!("{}: {why}", self.path.display()) }
    }
}

/// What the file holds, or why it cannot be read.
#[derive(PartialEq)]
pub struct Content(Result<Zeroizing<Vec<u8>>, FileError>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map(|bytes| bytes.len()).fmt(f)
    }
}

impl FileSource for Source {
    type Content = Content;
    type Output = Policy;

    const WHAT: &str = "policy";
    const WHOSE: &str = "callers";
    const FLAG: &str = POLICY;

    fn read(&self, when: When) -> Self::Content {
        let path: &Path = &self.path;
        Content(match when {
            When::Start => files::read_at_start(path, BYTES),
            When::Running => files::read(path, BYTES),
        })
    }

    fn load(&self, content: &Self::Content) -> Result<Loaded<Policy>, Vec<FileProblem>> {
        let bytes = content.0.as_ref().map_err(|error| vec![self.problem(error)])?;
        match Policy::parse(bytes, self.operations) {
            Ok(policy) => Ok(Loaded::new(policy)),
            Err(mistakes) => Err(mistakes.iter().map(|mistake| self.problem(mistake)).collect()),
        }
    }
}
