//! Who watches what, and what each watcher has yet to be told.
//!
//! The rules, which `explore` verifies for interleavings of threads:
//! - A watcher is told only what a poll returned that began after the watcher came.
//! - It may miss values that change quickly, never the last one.
//! - One poll runs at a time for a key, and none when nobody watches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::hash::Hash;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use super::{Observed, Trouble};

/// A mutual exclusion lock. A parameter, so that a test can take locks whose interleavings it
/// controls.
pub(crate) trait Lock<T>: Send + Sync {
    fn new(value: T) -> Self;

    fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R;
}

/// A kind of [`Lock`].
pub(crate) trait Locks: Sized + 'static {
    type Lock<T: Send>: Lock<T>;
}

/// The locks of the standard library.
#[derive(Debug)]
pub(crate) struct StdLocks;

impl Locks for StdLocks {
    type Lock<T: Send> = std::sync::Mutex<T>;
}

impl<T: Send> Lock<T> for std::sync::Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        // The data is valid even after a panic elsewhere.
        work(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Topics<K, V, E, L> = Arc<<L as Locks>::Lock<HashMap<K, Arc<Topic<V, E, L>>>>>;

/// A watch, and the poller if nobody polls for its key yet.
type Joined<K, V, E, L> = (Watcher<V, E, L>, Option<Poller<K, V, E, L>>);

/// All watches of the process, by key.
pub(crate) struct Hub<K: Send, V: Observed, E: Trouble, L: Locks = StdLocks> {
    topics: Topics<K, V, E, L>,
}

/// One key and its watchers.
struct Topic<V: Observed, E: Trouble, L: Locks>(L::Lock<State<V, E>>);

struct State<V, E> {
    /// The number of polls that have begun.
    begun: u64,
    /// The last value, and a number that grows when it changes.
    last: Option<(u64, V)>,
    watchers: HashMap<u64, Seat<V, E>>,
    next_watcher: u64,
    /// The number of watchers that still need polls.
    active: usize,
    /// Wakes the poller when it is needed, or no longer needed.
    poller: Option<Waker>,
}

struct Seat<V, E> {
    /// The number of polls that had begun when the watcher came.
    came_at: u64,
    /// The last value for this watcher, with its number.
    latest: Option<(u64, V)>,
    told: Option<u64>,
    /// Set once nothing new can come.
    ended: Option<End<E>>,
    waker: Option<Waker>,
}

enum End<E> {
    Final,
    Failed(E),
    Told,
}

impl<V, E> State<V, E> {
    /// Marks a watcher as one that needs no more polls.
    fn end(seat: &mut Seat<V, E>, active: &mut usize, end: End<E>) {
        if seat.ended.is_none() {
            seat.ended = Some(end);
            *active -= 1;
        }
    }

    fn wake_poller(&mut self) -> Option<Waker> {
        self.poller.take()
    }
}

impl<K: Send, V: Observed, E: Trouble, L: Locks> std::fmt::Debug for Hub<K, V, E, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl<K, V, E, L> Hub<K, V, E, L>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Observed,
    E: Trouble,
    L: Locks,
{
    pub(crate) fn new() -> Self {
        Self { topics: Arc::new(L::Lock::new(HashMap::new())) }
    }

    /// Joins the watchers of a key. The first one also gets the poller, which must run.
    pub(crate) fn join(&self, key: K) -> Joined<K, V, E, L> {
        self.topics.with(|topics| {
            let (topic, is_new) = match topics.entry(key.clone()) {
                Entry::Occupied(found) => (Arc::clone(found.get()), false),
                Entry::Vacant(place) => (Arc::clone(place.insert(Arc::new(Topic::new()))), true),
            };
            let watcher = topic.join();
            let poller = is_new.then(|| Poller {
                topics: Arc::clone(&self.topics),
                key,
                topic: Arc::clone(&topic),
                is_retired: false,
            });
            (watcher, poller)
        })
    }

    /// The number of keys that are watched.
    #[cfg(test)]
    pub(super) fn topics(&self) -> usize {
        self.topics.with(|topics| topics.len())
    }
}

impl<V: Observed, E: Trouble, L: Locks> Topic<V, E, L> {
    fn new() -> Self {
        Self(L::Lock::new(State {
            begun: 0,
            last: None,
            watchers: HashMap::new(),
            next_watcher: 0,
            active: 0,
            poller: None,
        }))
    }

    fn join(self: &Arc<Self>) -> Watcher<V, E, L> {
        let (id, poller) = self.0.with(|state| {
            let id = state.next_watcher;
            state.next_watcher += 1;
            state.active += 1;
            let came_at = state.begun;
            let seat = Seat { came_at, latest: None, told: None, ended: None, waker: None };
            state.watchers.insert(id, seat);
            (id, state.wake_poller())
        });
        wake(poller);
        Watcher { topic: Arc::clone(self), id }
    }

    /// Ends all watches with this error.
    fn fail(&self, error: &E) {
        let wakers = self.0.with(|state| {
            let active = &mut state.active;
            let seats = state.watchers.values_mut();
            seats
                .filter_map(|seat| {
                    State::end(seat, active, End::Failed(error.clone()));
                    seat.waker.take()
                })
                .collect::<Vec<_>>()
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Wakers are called without a lock, because an executor may poll at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// One watch of a key. Dropping it leaves.
pub(crate) struct Watcher<V: Observed, E: Trouble, L: Locks = StdLocks> {
    topic: Arc<Topic<V, E, L>>,
    id: u64,
}

impl<V: Observed, E: Trouble, L: Locks> Watcher<V, E, L> {
    /// The next value that differs from the one before; none after the last. An error ends the
    /// watch.
    pub(crate) async fn next(&mut self) -> Option<Result<V, E>> {
        poll_fn(|cx| {
            self.topic.0.with(|state| {
                let Some(seat) = state.watchers.get_mut(&self.id) else {
                    return Poll::Ready(None);
                };
                if let Some((number, value)) = &seat.latest
                    && seat.told != Some(*number)
                {
                    seat.told = Some(*number);
                    return Poll::Ready(Some(Ok(value.clone())));
                }
                match seat.ended.replace(End::Told) {
                    Some(End::Failed(error)) => Poll::Ready(Some(Err(error))),
                    Some(End::Final | End::Told) => Poll::Ready(None),
                    None => {
                        seat.ended = None;
                        seat.waker = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            })
        })
        .await
    }

    /// The latest value, whether new or not; none before the first.
    pub(crate) fn latest(&self) -> Option<V> {
        self.topic.0.with(|state| {
            let (_, value) = state.watchers.get(&self.id)?.latest.as_ref()?;
            Some(value.clone())
        })
    }

    /// The number of polls that began since it came.
    pub(crate) fn polls(&self) -> u64 {
        self.topic
            .0
            .with(|state| state.watchers.get(&self.id).map_or(0, |seat| state.begun - seat.came_at))
    }
}

impl<V: Observed, E: Trouble, L: Locks> std::fmt::Debug for Watcher<V, E, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<V: Observed, E: Trouble, L: Locks> Drop for Watcher<V, E, L> {
    fn drop(&mut self) {
        let (_left, poller) = self.topic.0.with(|state| {
            let seat = state.watchers.remove(&self.id);
            if seat.as_ref().is_some_and(|seat| seat.ended.is_none()) {
                state.active -= 1;
            }
            (seat, if state.active == 0 { state.wake_poller() } else { None })
        });
        wake(poller);
    }
}

/// The one who polls for a key. Dropping it without [`Poller::retire`] ends all watches of the key
/// as broken.
pub(crate) struct Poller<K: Eq + Hash + Send, V: Observed, E: Trouble, L: Locks = StdLocks> {
    topics: Topics<K, V, E, L>,
    key: K,
    topic: Arc<Topic<V, E, L>>,
    is_retired: bool,
}

impl<K: Eq + Hash + Send, V: Observed, E: Trouble, L: Locks> std::fmt::Debug
    for Poller<K, V, E, L>
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Send + Sync, V: Observed, E: Trouble, L: Locks> Poller<K, V, E, L> {
    /// Notes that a poll begins, and returns its number.
    pub(super) fn begin(&self) -> u64 {
        self.topic.0.with(|state| {
            state.begun += 1;
            state.begun
        })
    }

    /// Tells the result of a poll to those who came before it began. Returns whether it says
    /// something new.
    pub(super) fn publish(&self, poll: u64, result: &Result<V, E>) -> bool {
        let (is_new, wakers) = self.topic.0.with(|state| {
            let is_new = match (result, &state.last) {
                (Ok(value), Some((_, last))) => !last.is_same(value),
                (Ok(_), None) => true,
                (Err(_), _) => false,
            };
            let number = state.last.as_ref().map_or(0, |(number, _)| *number) + u64::from(is_new);
            if let Ok(value) = result {
                state.last = Some((number, value.clone()));
            }
            let (watchers, active) = (&mut state.watchers, &mut state.active);
            let mut wakers = Vec::new();
            for seat in watchers.values_mut().filter(|seat| seat.came_at < poll) {
                if seat.ended.is_some() {
                    continue;
                }
                match result {
                    Ok(value) => {
                        seat.latest = Some((number, value.clone()));
                        if value.is_final() {
                            State::end(seat, active, End::Final);
                        }
                    }
                    // Trouble that passes is no news, except to a watcher who knows nothing yet.
                    Err(error) if error.passes() && seat.latest.is_some() => continue,
                    Err(error) => State::end(seat, active, End::Failed(error.clone())),
                }
                let has_news = seat.ended.is_some() || seat.told != Some(number);
                if has_news {
                    wakers.extend(seat.waker.take());
                }
            }
            (is_new, wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
        is_new
    }

    /// Ends all watches with this error.
    pub(super) fn fail(&self, error: &E) {
        self.topic.fail(error);
    }

    /// Returns once nobody needs a poll.
    pub(super) async fn abandoned(&self) {
        self.until(|state| state.active == 0).await;
    }

    /// Returns once a watcher waits for a poll to begin, or nobody needs one.
    pub(super) async fn needed(&self) {
        self.until(|state| {
            let waits = |seat: &Seat<V, E>| seat.ended.is_none() && seat.came_at >= state.begun;
            state.active == 0 || state.watchers.values().any(waits)
        })
        .await;
    }

    async fn until(&self, holds: impl Fn(&State<V, E>) -> bool + Send + Sync) {
        poll_fn(|cx| {
            self.topic.0.with(|state| {
                if holds(state) {
                    return Poll::Ready(());
                }
                state.poller = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    /// Removes the key unless somebody needs a poll. Returns whether it is removed.
    pub(super) fn retire(&mut self) -> bool {
        self.topics.with(|topics| {
            let is_needed = self.topic.0.with(|state| state.active > 0);
            if !is_needed {
                topics.remove(&self.key);
                self.is_retired = true;
            }
            self.is_retired
        })
    }
}

impl<K: Eq + Hash + Send, V: Observed, E: Trouble, L: Locks> Drop for Poller<K, V, E, L> {
    fn drop(&mut self) {
        if !self.is_retired {
            self.topics.with(|topics| topics.remove(&self.key));
            self.topic.fail(&E::broken());
        }
    }
}
