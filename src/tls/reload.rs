//! Values built from PEM files, and rebuilt when one of them changes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::metrics::CertificateMetrics;
use super::pem::FileProblem;
use crate::clock::Clock;
use crate::files::{POLL, Reader, SETTLE};
use crate::refresh::{FetchError, Refresh, Upkeep};

/// PEM files, and how a value is built from them.
pub trait PemSource: fmt::Debug + Clone + Send + Sync + 'static {
    type Content: PartialEq + Send + Sync + 'static;
    type Output: Send + Sync;

    /// Whose certificate it is, for the log.
    const WHOSE: &str;

    /// Reads the files. [`PemSource::load`] reports those that cannot be read.
    fn read(&self) -> Self::Content;

    fn load(&self, content: &Self::Content) -> Result<Loaded<Self::Output>, Vec<FileProblem>>;
}

/// A value, and the expiry of its certificate.
#[derive(Debug)]
pub struct Loaded<T> {
    pub(super) value: Arc<T>,
    pub(super) not_after: Option<Timestamp>,
}

/// The value of the current files, or of their last valid version.
pub struct Reloading<S: PemSource> {
    source: S,
    poll: Duration,
    settle: Duration,
    refresh: Refresh<Loaded<S::Output>>,
    /// The value at the start, before [`Refresh`] has one.
    first: Arc<S::Output>,
    reader: Reader<S::Content>,
    last: ArcSwap<Last<S::Content>>,
}

/// The content that was last examined, and the result.
struct Last<C> {
    content: C,
    result: Result<(), FetchError>,
}

impl<S: PemSource> fmt::Debug for Reloading<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<S: PemSource> Reloading<S> {
    pub(super) fn of(source: S) -> Result<Self, Vec<FileProblem>> {
        let content = source.read();
        let loaded = source.load(&content)?;
        Ok(Self {
            source,
            poll: POLL,
            settle: SETTLE,
            first: Arc::clone(&loaded.value),
            refresh: Refresh::new(Some(loaded)),
            reader: Reader::default(),
            last: ArcSwap::from_pointee(Last { content, result: Ok(()) }),
        })
    }

    /// Overrides the poll interval, and how long a change must be stable.
    #[must_use]
    pub fn with_times(self, poll: Duration, settle: Duration) -> Self {
        Self { poll, settle, ..self }
    }

    pub(super) fn current(&self) -> Arc<S::Output> {
        self.refresh.map(|loaded| Arc::clone(&loaded.value)).unwrap_or_else(|| self.first.clone())
    }

    pub(crate) fn reload(&self) {
        self.refresh.reload();
    }

    /// Applies valid changes of the files. Exactly one task must run this.
    pub(crate) async fn run(self: Arc<Self>, metrics: CertificateMetrics, clock: Arc<dyn Clock>) {
        metrics.in_use(self.refresh.map(|loaded| loaded.not_after).flatten());
        self.refresh.run(&PemUpkeep { reloading: &self, metrics }, &*clock).await;
    }
}

struct PemUpkeep<'a, S: PemSource> {
    reloading: &'a Reloading<S>,
    metrics: CertificateMetrics,
}

impl<S: PemSource> Upkeep for PemUpkeep<'_, S> {
    type Value = Loaded<S::Output>;

    async fn fetch(&self) -> Result<Option<Self::Value>, FetchError> {
        let Reloading { source, reader, .. } = self.reloading;
        let read = {
            let source = source.clone();
            move || source.read()
        };
        let mut content = reader.read(read.clone()).await.map_err(FetchError::new)?;
        if content != self.reloading.last.load().content {
            let settled = reader.settled(self.reloading.settle, read).await;
            content = settled.map_err(FetchError::new)?;
        }
        let last = self.reloading.last.load();
        if content == last.content {
            return last.result.clone().map(|()| None);
        }
        let result = source.load(&content).map_err(|problems| {
            self.metrics.reloaded(false);
            let text = |FileProblem { flag, why }: &FileProblem| format!("{flag}: {why}");
            let texts: Vec<_> = problems.iter().map(text).collect();
            FetchError::new(texts.join("; "))
        });
        let last = Last { content, result: result.as_ref().map(drop).map_err(Clone::clone) };
        self.reloading.last.store(Arc::new(last));
        result.map(Some)
    }

    fn fetched(
        &self,
        new: Option<&Self::Value>,
        _: Option<&Self::Value>,
        _: bool,
    ) -> Option<Duration> {
        if let Some(loaded) = new {
            self.metrics.in_use(loaded.not_after);
            self.metrics.reloaded(true);
            let not_after = loaded.not_after.map(tracing::field::display);
            tracing::info!(whose = S::WHOSE, not_after, "certificate reloaded");
        }
        Some(self.reloading.poll)
    }

    fn failed(&self, error: &FetchError, _: Option<&Self::Value>, repeated: bool) {
        if !repeated {
            tracing::warn!(whose = S::WHOSE, error = %error, "keeping the previous certificate");
        }
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.reloading.poll)
    }
}
