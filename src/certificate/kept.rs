//! What is made of files, and made again when one of them changes.
//!
//! The one rule for all of them: a change that is good is taken over, one that is not leaves
//! the old in use, is logged and counted, and the next change is looked at like any other.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::FileProblem;
use crate::telemetry::CertificateMetrics;

/// How often the files are read. By content, as those of credentials.
const POLL: Duration = Duration::from_secs(2);

/// Files, and what they are for.
pub(crate) trait Files: fmt::Debug + Clone + Send + Sync + 'static {
    /// What was read.
    type Read: PartialEq + Send;
    /// What is made of it.
    type Made: Send + Sync;

    /// What the log says when a change was taken over.
    const TAKEN: &str;
    /// What the log says when a change was refused.
    const REFUSED: &str;

    /// Reads the files. What cannot be read is told by [`Files::make`].
    fn read(&self) -> Self::Read;

    /// Makes it.
    ///
    /// # Errors
    /// All that is wrong with the files.
    fn make(&self, read: &Self::Read) -> Result<Made<Self::Made>, Vec<FileProblem>>;
}

/// What was made, and when its certificate ends.
pub(crate) struct Made<T> {
    pub(crate) value: Arc<T>,
    pub(crate) not_after: Option<Timestamp>,
}

/// What the files say now, or said when they were last good.
pub(crate) struct Kept<F: Files> {
    files: F,
    poll: Duration,
    current: ArcSwap<Made<F::Made>>,
    reload: Notify,
}

impl<F: Files> fmt::Debug for Kept<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl<F: Files> Kept<F> {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn load(files: F) -> Result<Self, Vec<FileProblem>> {
        let current = ArcSwap::from_pointee(files.make(&files.read())?);
        Ok(Self { files, poll: POLL, current, reload: Notify::new() })
    }

    /// Reads the files so often, instead of the default.
    pub(crate) fn with_poll(self, poll: Duration) -> Self {
        Self { poll, ..self }
    }

    /// What is in use.
    pub(crate) fn current(&self) -> Arc<F::Made> {
        Arc::clone(&self.current.load().value)
    }

    /// Reads the files at once.
    pub(crate) fn reload(&self) {
        self.reload.notify_one();
    }

    /// Takes over each change of the files that is good, for ever. One task must run this.
    pub(crate) async fn keep(&self, metrics: &CertificateMetrics) {
        metrics.serves(self.current.load().not_after);
        // Not what was loaded: a change since then is one, too.
        let mut known: Option<F::Read> = None;
        loop {
            let files = self.files.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else {
                return;
            };
            if known.as_ref() != Some(&read) {
                self.take(&read, known.is_none(), metrics);
                known = Some(read);
            }
            tokio::select! {
                () = tokio::time::sleep(self.poll) => {}
                () = self.reload.notified() => {}
            }
        }
    }

    fn take(&self, read: &F::Read, first: bool, metrics: &CertificateMetrics) {
        match self.files.make(read) {
            Ok(made) => {
                metrics.serves(made.not_after);
                if !first {
                    metrics.reloaded(true);
                    let not_after = made.not_after.map(tracing::field::display);
                    tracing::info!(not_after, "{}", F::TAKEN);
                }
                self.current.store(Arc::new(made));
            }
            Err(problems) => {
                metrics.reloaded(false);
                for problem in problems {
                    tracing::warn!(flag = problem.flag, error = %problem, "{}", F::REFUSED);
                }
            }
        }
    }
}
