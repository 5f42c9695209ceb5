//! Values that change while the gateway runs, each kept current by one background task:
//! credentials, certificates, the id of a project.
//!
//! One rule for all of them: the task fetches, in the background, so that callers wait only while
//! there is no value at all; a fetch that fails leaves the last value in use; failures back off;
//! and the operator can ask for a fetch.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::clock::Clock;

/// Limit for one fetch, with all its requests.
const LONGEST_FETCH: Duration = Duration::from_secs(30);

/// Minimum time between fetches, whatever they return and whoever asks for them.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// The longest back-off after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How often the time of day is checked between fetches. A machine that slept wakes up with
/// timers that did not run meanwhile.
pub(crate) const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Why a fetch failed. The text is for logs: it says what went wrong and holds nothing that was
/// sent or received, except an error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FetchError {
    text: String,
    /// How long to wait before the next fetch, where the service demands more than the back-off.
    pub(crate) retry_after: Option<Duration>,
}

impl FetchError {
    /// With a text for people: lower case, no full stop, no secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), retry_after: None }
    }

    /// The same, from a service that must not be asked again before this time: it counts
    /// refusals, and locks the user or key after too many.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

/// Where a value comes from, and what its changes mean.
pub(crate) trait Upkeep: Send + Sync {
    /// What is kept current.
    type Value: Send + Sync;

    /// Fetches the value; none when it is known to be the one in use.
    fn fetch(&self) -> impl Future<Output = Result<Option<Self::Value>, FetchError>> + Send;

    /// Takes note of a value that was fetched, none when the one in use is still current; of the
    /// one that was in use before; and of whether the fetch before it failed. The next fetch is
    /// due after the time that it returns; none when the value never changes again.
    fn fetched(
        &self,
        new: Option<&Self::Value>,
        old: Option<&Self::Value>,
        recovered: bool,
    ) -> Option<Duration>;

    /// Takes note of a fetch that failed. `repeated`: the one before failed with the same error.
    fn failed(&self, error: &FetchError, in_use: Option<&Self::Value>, repeated: bool);

    /// How often to fetch when a fetch costs nothing, also after failures.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// Returns when something that the value depends on has changed, with the minimum time from
    /// the last fetch to the next. `ready`: the last fetch succeeded.
    fn changed(&self, _ready: bool) -> impl Future<Output = Duration> + Send {
        std::future::pending()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Fetching,
    Ready,
    Failed(FetchError),
}

/// The value in use.
#[derive(Debug)]
pub(crate) struct Refresh<T> {
    value: ArcSwapOption<T>,
    state: watch::Sender<State>,
    /// The operator asks for a fetch.
    reload: Notify,
    /// A caller found no value that it can use.
    wanted: Notify,
}

impl<T: Send + Sync> Refresh<T> {
    /// With a value to begin with, if there is one.
    pub(crate) fn new(first: Option<T>) -> Self {
        Self {
            value: ArcSwapOption::new(first.map(Arc::new)),
            state: watch::Sender::new(State::Fetching),
            reload: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// What `with` makes of the value in use.
    pub(crate) fn map<U>(&self, with: impl FnOnce(&T) -> U) -> Option<U> {
        self.value.load().as_deref().map(with)
    }

    /// What `usable` makes of the value. Waits only while there is none and it is being fetched.
    ///
    /// # Errors
    /// When the last fetch failed.
    pub(crate) async fn wait<U: Send>(
        &self,
        usable: impl Fn(&T) -> Option<U> + Send + Sync,
    ) -> Result<U, FetchError> {
        let mut states = self.state.subscribe();
        loop {
            let state = states.borrow_and_update().clone();
            // After the state was read: a value that came in between is seen here.
            if let Some(found) = self.map(&usable).flatten() {
                return Ok(found);
            }
            match state {
                State::Fetching => {}
                // It became unusable between two fetches.
                State::Ready => self.wanted.notify_one(),
                State::Failed(error) => return Err(error),
            }
            if states.changed().await.is_err() {
                return Err(FetchError::new("the gateway is ending"));
            }
        }
    }

    /// Returns when `holds` is true of the value in use.
    pub(crate) async fn until(&self, holds: impl Fn(&T) -> bool + Send + Sync) {
        // The sender lives as long as this.
        let held = |_: &State| self.map(&holds).unwrap_or(false);
        let _ = self.state.subscribe().wait_for(held).await;
    }

    /// Returns when the first fetch has ended, successful or not.
    pub(crate) async fn attempted(&self) {
        let ended = |state: &State| !matches!(state, State::Fetching);
        let _ = self.state.subscribe().wait_for(ended).await;
    }

    /// Returns after the next fetch has begun or ended, or after this time.
    pub(crate) async fn changed_within(&self, limit: Duration) {
        let mut states = self.state.subscribe();
        let _ = tokio::time::timeout(limit, states.changed()).await;
    }

    /// Why the last fetch failed, if it did.
    pub(crate) fn last_error(&self) -> Option<FetchError> {
        match &*self.state.borrow() {
            State::Failed(error) => Some(error.clone()),
            State::Fetching | State::Ready => None,
        }
    }

    /// Asks for a fetch at once.
    pub(crate) fn reload(&self) {
        self.reload.notify_one();
    }

    /// Keeps the value current until it never changes again. One task must run this.
    pub(crate) async fn run(&self, upkeep: &impl Upkeep<Value = T>, clock: &dyn Clock) {
        let mut failures = 0;
        let mut last_error: Option<FetchError> = None;
        loop {
            self.state.send_replace(State::Fetching);
            let began = Instant::now();
            let result = tokio::time::timeout(LONGEST_FETCH, upkeep.fetch()).await;
            let result =
                result.unwrap_or_else(|_| Err(FetchError::new("the source took too long")));
            let wait = match result {
                Ok(new) => {
                    failures = 0;
                    let old = self.value.load();
                    let recovered = last_error.take().is_some();
                    let next = upkeep.fetched(new.as_ref(), old.as_deref(), recovered);
                    if let Some(new) = new {
                        self.value.store(Some(Arc::new(new)));
                    }
                    self.state.send_replace(State::Ready);
                    let Some(wait) = next else { return };
                    wait
                }
                Err(error) => {
                    failures += 1;
                    let repeated = last_error.as_ref() == Some(&error);
                    upkeep.failed(&error, self.value.load().as_deref(), repeated);
                    let wait = upkeep.poll().or(error.retry_after);
                    last_error = Some(error.clone());
                    self.state.send_replace(State::Failed(error));
                    wait.unwrap_or_else(|| backoff(failures, clock.chance()))
                }
            };
            self.rest(upkeep, clock, began, wait, failures == 0).await;
        }
    }

    /// Waits until the next fetch is due.
    async fn rest(
        &self,
        upkeep: &impl Upkeep<Value = T>,
        clock: &dyn Clock,
        began: Instant,
        wait: Duration,
        ready: bool,
    ) {
        // By both clocks: the time of day jumps, and timers stand still while a machine sleeps.
        let (due, due_of_day) = (Instant::now() + wait, later(clock.now(), wait));
        let mut changed = std::pin::pin!(upkeep.changed(ready));
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || until(clock.now(), due_of_day).is_zero() {
                return;
            }
            let not_before = tokio::select! {
                () = tokio::time::sleep(left.min(CLOCK_CHECK)) => continue,
                () = self.reload.notified() => return,
                interval = &mut changed => began + interval,
                // Callers must not cause a storm of fetches.
                () = self.wanted.notified() => began + MIN_INTERVAL,
            };
            tokio::select! {
                () = tokio::time::sleep_until(not_before) => {}
                () = self.reload.notified() => {}
            }
            return;
        }
    }
}

/// How long to wait after so many failures in a row: doubled each time, and somewhere in the
/// upper half of that, so that many gateways do not fetch together. `chance` is from 0 to 1.
fn backoff(failures: u32, chance: f64) -> Duration {
    let whole = MIN_INTERVAL.saturating_mul(1 << failures.clamp(1, 10).saturating_sub(1));
    whole.min(LONGEST_BACKOFF).mul_f64(0.5 + 0.5 * chance).max(Duration::from_secs(1))
}

/// The time that is left until a time of day.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// A time of day that much later, or the latest there is.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_back_off_up_to_a_minute() {
        for (failures, chance, want) in [
            (1, 1.0, 5.0),
            (1, 0.0, 2.5),
            (2, 1.0, 10.0),
            (3, 1.0, 20.0),
            (4, 1.0, 40.0),
            (5, 1.0, 60.0),
            (u32::MAX, 1.0, 60.0),
            (u32::MAX, 0.0, 30.0),
        ] {
            assert_eq!(backoff(failures, chance).as_secs_f64(), want, "{failures} {chance}");
        }
    }
}
