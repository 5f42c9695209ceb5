//! Values built from files, and rebuilt when one of them changes: certificates, and the policy.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::pem::{FileProblem, When};
use crate::clock::Clock;
use crate::files::{POLL, Reader, SETTLE};
use crate::refresh::{FetchError, Refresh, Upkeep, reload_outcome};

/// Files, and how a value is built from them.
pub trait FileSource: fmt::Debug + Clone + Send + Sync + 'static {
    type Content: PartialEq + Send + Sync + 'static;
    type Output: Send + Sync;

    /// What it is, for the log.
    const WHAT: &str = "certificate";

    /// Whose it is, for the log.
    const WHOSE: &str;

    /// The option that names the file.
    const FLAG: &str;

    /// Reads the files. [`FileSource::load`] reports those that cannot be read.
    fn read(&self, when: When) -> Self::Content;

    fn load(&self, content: &Self::Content) -> Result<Loaded<Self::Output>, Vec<FileProblem>>;
}

/// A value, and the expiry of its certificate.
#[derive(Debug)]
pub struct Loaded<T> {
    pub(super) value: Arc<T>,
    pub(super) not_after: Option<Timestamp>,
    /// Certificates in the files that are ignored.
    pub(super) unusable: Vec<FileProblem>,
}

impl<T> Loaded<T> {
    /// A value that does not expire.
    pub(crate) fn new(value: T) -> Self {
        Self { value: Arc::new(value), not_after: None, unusable: Vec::new() }
    }
}

/// Metrics of files that are reloaded.
pub(crate) trait ReloadMetrics: Send + Sync {
    /// Sets the expiry of the value in use.
    fn in_use(&self, _not_after: Option<Timestamp>) {}

    /// Counts a change of the files, by whether it was loaded.
    fn reloaded(&self, taken: bool);
}

/// The value of the current files, or of their last valid version.
pub struct Reloading<S: FileSource> {
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

impl<S: FileSource> fmt::Debug for Reloading<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<S: FileSource> Reloading<S> {
    pub(crate) fn of(source: S) -> Result<Self, Vec<FileProblem>> {
        let content = source.read(When::Start);
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

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    pub(crate) fn current(&self) -> Arc<S::Output> {
        self.refresh.map(|loaded| Arc::clone(&loaded.value)).unwrap_or_else(|| self.first.clone())
    }

    /// When the certificate expires, if its file says so.
    pub(crate) fn not_after(&self) -> Option<Timestamp> {
        self.refresh.map(|loaded| loaded.not_after).flatten()
    }

    /// Certificates in the files that are ignored.
    pub(crate) fn ignored(&self) -> Vec<FileProblem> {
        self.refresh.map(|loaded| loaded.unusable.clone()).unwrap_or_default()
    }

    pub(crate) fn reload(&self) {
        self.refresh.reload();
    }

    /// Returns once `holds` is true for the current value.
    pub(crate) async fn until(&self, holds: impl Fn(&S::Output) -> bool + Send + Sync) {
        self.refresh.until(|loaded| holds(&loaded.value)).await;
    }

    /// Applies valid changes of the files. Exactly one task must run this.
    pub(crate) async fn run(self: Arc<Self>, metrics: impl ReloadMetrics, clock: Arc<dyn Clock>) {
        let upkeep = FileUpkeep { reloading: &self, metrics: &metrics, clock: &*clock };
        self.refresh.map(|loaded| upkeep.in_use(loaded));
        self.refresh.run(&upkeep, &*clock).await;
    }
}

struct FileUpkeep<'a, S: FileSource> {
    reloading: &'a Reloading<S>,
    metrics: &'a dyn ReloadMetrics,
    clock: &'a dyn Clock,
}

impl<S: FileSource> FileUpkeep<'_, S> {
    fn in_use(&self, loaded: &Loaded<S::Output>) {
        self.metrics.in_use(loaded.not_after);
        FileProblem::warn(&loaded.unusable);
        if let Some(not_after) = loaded.not_after.filter(|time| *time <= self.clock.now()) {
            tracing::warn!(
                option = S::FLAG,
                whose = S::WHOSE,
                %not_after,
                "the certificate has expired, and peers that check it refuse it: replace the files"
            );
        }
    }
}

impl<S: FileSource> Upkeep for FileUpkeep<'_, S> {
    type Value = Loaded<S::Output>;

    async fn fetch(&self) -> Result<Option<Self::Value>, FetchError> {
        let Reloading { source, reader, .. } = self.reloading;
        let read = {
            let source = source.clone();
            move || source.read(When::Running)
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
            self.metrics.reloaded(true);
            let not_after = loaded.not_after.map(tracing::field::display);
            tracing::info!(whose = S::WHOSE, not_after, "{} reloaded", S::WHAT);
            self.in_use(loaded);
        }
        Some(self.reloading.poll)
    }

    fn failed(&self, error: &FetchError, _: Option<&Self::Value>, repeated: bool) {
        if !repeated {
            tracing::warn!(whose = S::WHOSE, error = %error, "keeping the previous {}", S::WHAT);
        }
    }

    fn reloaded(&self, changed: Option<bool>) {
        tracing::info!(
            whose = S::WHOSE,
            outcome = reload_outcome(changed),
            "reload of certificate"
        );
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.reloading.poll)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::clock::SystemClock;
    use crate::telemetry::{LevelFilter, LogFormat, LogSink, Telemetry};
    use crate::tls::TlsMetrics;

    /// Three files, and which contents of them were taken.
    #[derive(Clone, Default)]
    struct Files(Arc<Mutex<[&'static str; 3]>>, Arc<Mutex<Vec<[&'static str; 3]>>>);

    impl fmt::Debug for Files {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("files")
        }
    }

    impl FileSource for Files {
        type Content = [&'static str; 3];
        type Output = ();

        const WHOSE: &str = "test";
        const FLAG: &str = "--tls-cert";

        fn read(&self, _: When) -> Self::Content {
            *self.0.lock().unwrap()
        }

        fn load(&self, content: &Self::Content) -> Result<Loaded<()>, Vec<FileProblem>> {
            self.1.lock().unwrap().push(*content);
            assert_ne!(content[0], "panics", "as this test wants it");
            let why = || "mismatch".to_owned();
            let fits = content[0] != "broken";
            fits.then(|| Loaded { value: Arc::new(()), not_after: None, unusable: Vec::new() })
                .ok_or_else(|| vec![FileProblem { flag: "--tls-cert", why: why() }])
        }
    }

    fn metrics() -> impl ReloadMetrics {
        let sink = LogSink::new(std::io::sink(), LogFormat::Json, LevelFilter::OFF).unwrap();
        TlsMetrics::register(Telemetry::new(sink, &[]).metrics()).server
    }

    /// Whatever the order of the steps, and whenever they come between two polls: nothing between
    /// the old files and the new ones is used, if no step takes as long as files must be stable.
    #[tokio::test(start_paused = true)]
    async fn files_that_are_written_in_steps_are_used_once_they_are_whole() {
        let step = Duration::from_millis(900);
        for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
            for phase in (0..20).map(|tenth| Duration::from_millis(100) * tenth) {
                let files = Files::default();
                *files.0.lock().unwrap() = ["old"; 3];
                let reloading = Arc::new(Reloading::of(files.clone()).unwrap());
                let running = tokio::spawn(reloading.run(metrics(), Arc::new(SystemClock)));
                sleep(POLL + phase).await;
                for file in order {
                    files.0.lock().unwrap()[file] = "new";
                    sleep(step).await;
                }
                let latest = Instant::now() + POLL + 2 * SETTLE;
                while files.1.lock().unwrap().len() < 2 {
                    assert!(Instant::now() < latest, "never used: {order:?} {phase:?}");
                    sleep(step / 9).await;
                }
                assert_eq!(*files.1.lock().unwrap(), [["old"; 3], ["new"; 3]], "{order:?}");
                running.abort();
            }
        }
    }

    /// Whatever a read or a load comes to, the next poll reads again.
    #[tokio::test(start_paused = true)]
    async fn a_reload_that_failed_is_tried_again() {
        let files = Files::default();
        let reloading = Arc::new(Reloading::of(files.clone()).unwrap());
        let running = tokio::spawn(reloading.clone().run(metrics(), Arc::new(SystemClock)));
        for (wrong, round) in [("broken", "one"), ("panics", "two"), ("broken", "three")] {
            *files.0.lock().unwrap() = [wrong; 3];
            sleep(POLL * 3).await;
            assert_eq!(files.1.lock().unwrap().last(), Some(&[wrong; 3]));
            *files.0.lock().unwrap() = [round; 3];
            sleep(POLL * 3).await;
            assert_eq!(files.1.lock().unwrap().last(), Some(&[round; 3]));
        }
        running.abort();
    }
}
