//! Values that change while the gateway runs, each refreshed by a background task: credentials,
//! certificates, the id of a project.
//!
//! The same rules apply to all: callers wait only if there is no value at all; after a failed fetch
//! the last value stays in use; failures back off; and an operator can request a fetch.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::clock::Clock;

/// Time limit for one fetch, with all its requests.
const LONGEST_FETCH: Duration = Duration::from_secs(30);

/// Minimum time between fetches, regardless of results and requests.
pub(crate) const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum back-off after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How often the wall clock is checked between fetches, because timers do not run while a machine
/// is suspended.
pub(crate) const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Why a fetch failed. The text is for logs: of what was sent and received it contains only an
/// error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FetchError {
    text: String,
    /// The wait before the next fetch, if the service needs more than the back-off.
    pub(crate) retry_after: Option<Duration>,
}

impl FetchError {
    /// An error with a message for people: lower case, no full stop, no secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), retry_after: None }
    }

    /// Sets a minimum wait, for services that count failures and lock the user or key after too
    /// many.
    #[must_use]
    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

/// The outcome of a requested fetch, for the log.
pub(crate) fn reload_outcome(changed: Option<bool>) -> &'static str {
    match changed {
        Some(true) => "changed",
        Some(false) => "unchanged",
        None => "failed",
    }
}

/// How a value is fetched, and what follows.
pub(crate) trait Upkeep: Send + Sync {
    type Value: Send + Sync;

    /// Fetches the value; none if the current one is still valid.
    fn fetch(&self) -> impl Future<Output = Result<Option<Self::Value>, FetchError>> + Send;

    /// Called after a successful fetch. `new`: none if the current value is still valid.
    /// `recovered`: the previous fetch failed. Returns the wait before the next fetch; none if the
    /// value never changes again.
    fn fetched(
        &self,
        new: Option<&Self::Value>,
        old: Option<&Self::Value>,
        recovered: bool,
    ) -> Option<Duration>;

    /// Called after a failed fetch. `repeated`: the previous one failed with the same error.
    fn failed(&self, error: &FetchError, in_use: Option<&Self::Value>, repeated: bool);

    /// Whether a fetched value is another one than that in use.
    fn is_new(&self, _new: &Self::Value, _old: Option<&Self::Value>) -> bool {
        true
    }

    /// The poll interval, if fetches are cheap. It also applies after failures.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// Whether a fetch that an operator requests may be made now. `ready`: the last fetch succeeded.
    ///
    /// After a failure only if nobody counts fetches, as of files, or if this one would send
    /// something else: signals must not shorten the wait that a service needs.
    fn may_reload(&self, ready: bool) -> impl Future<Output = bool> + Send {
        std::future::ready(ready || self.poll().is_some())
    }

    /// Called when a requested fetch may not be made before this time has passed.
    fn reload_refused(&self, _left: Duration) {}

    /// Called after a fetch that an operator requested, so that its outcome is told even if nothing
    /// has changed. `changed`: whether there is a new value; none if the fetch failed.
    fn reloaded(&self, _changed: Option<bool>) {}

    /// Returns once something that the value depends on has changed, with the minimum time between
    /// fetches. `ready`: the last fetch succeeded.
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

#[derive(Debug)]
pub(crate) struct Refresh<T> {
    value: ArcSwapOption<T>,
    state: watch::Sender<State>,
    reload: Notify,
    wanted: Notify,
}

impl<T: Send + Sync> Refresh<T> {
    pub(crate) fn new(first: Option<T>) -> Self {
        Self {
            value: ArcSwapOption::new(first.map(Arc::new)),
            state: watch::Sender::new(State::Fetching),
            reload: Notify::new(),
            wanted: Notify::new(),
        }
    }

    pub(crate) fn map<U>(&self, with: impl FnOnce(&T) -> U) -> Option<U> {
        self.value.load().as_deref().map(with)
    }

    /// Maps the value with `usable`. Waits only if it returns none and a fetch is in progress.
    /// Returns its error if the last fetch failed.
    pub(crate) async fn wait<U: Send>(
        &self,
        usable: impl Fn(&T) -> Option<U> + Send + Sync,
    ) -> Result<U, FetchError> {
        let mut states = self.state.subscribe();
        loop {
            let state = states.borrow_and_update().clone();
            // After reading the state, so that a value set in between is seen.
            if let Some(found) = self.map(&usable).flatten() {
                return Ok(found);
            }
            match state {
                State::Fetching => {}
                // The value became unusable between two fetches.
                State::Ready => self.wanted.notify_one(),
                State::Failed(error) => return Err(error),
            }
            if states.changed().await.is_err() {
                return Err(FetchError::new("the gateway is shutting down"));
            }
        }
    }

    /// Returns once `holds` is true for the current value.
    pub(crate) async fn until(&self, holds: impl Fn(&T) -> bool + Send + Sync) {
        // The sender is owned by `self`.
        let held = |_: &State| self.map(&holds).unwrap_or(false);
        let _ = self.state.subscribe().wait_for(held).await;
    }

    /// Returns once the first fetch is done, successful or not.
    pub(crate) async fn attempted(&self) {
        let ended = |state: &State| !matches!(state, State::Fetching);
        let _ = self.state.subscribe().wait_for(ended).await;
    }

    /// Returns after the next start or end of a fetch, or after this time.
    pub(crate) async fn changed_within(&self, limit: Duration) {
        let mut states = self.state.subscribe();
        let _ = tokio::time::timeout(limit, states.changed()).await;
    }

    /// The error of the last fetch, if it failed.
    pub(crate) fn last_error(&self) -> Option<FetchError> {
        match &*self.state.borrow() {
            State::Failed(error) => Some(error.clone()),
            State::Fetching | State::Ready => None,
        }
    }

    /// Requests a fetch at once, which is made if [`Upkeep::may_reload`] allows it.
    pub(crate) fn reload(&self) {
        self.reload.notify_one();
    }

    /// Refreshes the value until it never changes again. Exactly one task must run this.
    pub(crate) async fn run(&self, upkeep: &impl Upkeep<Value = T>, clock: &dyn Clock) {
        let mut failures = 0;
        let mut reloaded = None;
        let mut last_error: Option<FetchError> = None;
        let mut is_requested = false;
        loop {
            self.state.send_replace(State::Fetching);
            let began = Instant::now();
            let fetch = AssertUnwindSafe(upkeep.fetch()).catch_unwind();
            let result = match tokio::time::timeout(LONGEST_FETCH, fetch).await {
                Ok(Ok(result)) => result,
                // A defect must not end the refreshes.
                Ok(Err(_)) => Err(FetchError::new("the fetch panicked, which is a defect")),
                Err(_) => Err(FetchError::new("the source timed out")),
            };
            let changed = result.as_ref().ok().map(|new| {
                new.as_ref().is_some_and(|new| upkeep.is_new(new, self.value.load().as_deref()))
            });
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
            if is_requested {
                upkeep.reloaded(changed);
            }
            let rest = Rest { began, wait, ready: failures == 0 };
            is_requested = self.rest(upkeep, clock, rest, &mut reloaded).await;
        }
    }

    /// Waits until the next fetch is due, and returns whether it was requested. `reloaded`: when the
    /// last requested fetch was due.
    async fn rest(
        &self,
        upkeep: &impl Upkeep<Value = T>,
        clock: &dyn Clock,
        Rest { began, wait, ready }: Rest,
        reloaded: &mut Option<Instant>,
    ) -> bool {
        // By both clocks: the wall clock can jump, and timers stop while a machine is suspended.
        let (mut due, due_of_day) = (Instant::now() + wait, later(clock.now(), wait));
        let (mut has_changed, mut was_requested) = (false, false);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || until(clock.now(), due_of_day).is_zero() {
                return was_requested;
            }
            let is_requested = tokio::select! {
                () = tokio::time::sleep(left.min(CLOCK_CHECK)) => false,
                () = self.reload.notified() => true,
                interval = upkeep.changed(ready), if !has_changed => {
                    has_changed = true;
                    due = due.min(began + interval);
                    false
                }
                // Callers must not cause too many fetches, and none after a failure.
                () = self.wanted.notified(), if ready => {
                    due = due.min(began + MIN_INTERVAL);
                    false
                }
            };
            // After the wait for a change, which may read the same file.
            if is_requested && upkeep.may_reload(ready).await {
                was_requested = true;
                let now = Instant::now();
                // Many requests must not cause many fetches.
                let last = reloaded.filter(|_| ready);
                let soon = last.map_or(now, |last| now.max(last + MIN_INTERVAL));
                if soon < due {
                    *reloaded = Some(soon);
                    due = soon;
                }
            } else if is_requested {
                upkeep.reload_refused(due.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// The time between two fetches.
struct Rest {
    began: Instant,
    wait: Duration,
    ready: bool,
}

/// The wait after this many failures in a row: doubled each time, with jitter in its upper half, so
/// that many gateways do not fetch at once. `chance` is from 0 to 1.
fn backoff(failures: u32, chance: f64) -> Duration {
    let whole = MIN_INTERVAL.saturating_mul(1 << failures.clamp(1, 10).saturating_sub(1));
    whole.min(LONGEST_BACKOFF).mul_f64(0.5 + 0.5 * chance).max(Duration::from_secs(1))
}

/// The time from `now` until `then`; zero if it has passed.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// The time after this wait, at most the maximum.
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
