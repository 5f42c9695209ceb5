//! The loop that polls, and how often.

use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::hub::{Locks, Poller};
use super::{Observed, Trouble};

/// The wait after the first poll, and after every change.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// What is polled.
pub(crate) trait Source: Send + Sync + 'static {
    type Value: Observed;
    type Error: Trouble;

    fn ask(&self) -> impl Future<Output = Result<Self::Value, Self::Error>> + Send;

    /// A random number from 0 to 1.
    fn chance(&self) -> f64;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacing {
    /// Upper limit of the waits between polls, before they are spread.
    pub(crate) longest_wait: Duration,
    /// How long polls may fail before all watches end.
    pub(crate) stale_timeout: Duration,
}

/// Polls until nobody watches.
pub(crate) async fn run<K, S, L>(
    mut poller: Poller<K, S::Value, S::Error, L>,
    source: S,
    pacing: Pacing,
) where
    K: Eq + Hash + Send + Sync + 'static,
    S: Source,
    L: Locks,
{
    let mut pace = Pace::new(pacing.longest_wait);
    let mut stale_at = Instant::now() + pacing.stale_timeout;
    let mut trouble: Option<S::Error> = None;
    loop {
        let poll = poller.begin();
        let asking = AssertUnwindSafe(async { source.ask().await }).catch_unwind();
        // The first poll is limited by its source alone: there is no trouble to tell yet.
        let until = if trouble.is_some() { stale_at } else { Instant::now() + FOREVER };
        let result = tokio::select! {
            result = timeout_at(until, asking) => match result {
                Ok(Ok(result)) => Some(result),
                Ok(Err(_)) => Some(Err(S::Error::broken())),
                Err(_) => None,
            },
            () = poller.abandoned() => None,
        };
        let mut next_at = Instant::now();
        let mut waits_until = next_at;
        if let Some(result) = result {
            let is_new = poller.publish(poll, &result);
            next_at += pace.next(is_new, source.chance());
            match result {
                Ok(_) => {
                    stale_at = Instant::now() + pacing.stale_timeout;
                    trouble = None;
                }
                Err(error) => {
                    waits_until += error.asked_wait().unwrap_or_default().min(FOREVER);
                    trouble = Some(error);
                }
            }
        }
        let latest = if trouble.is_some() { stale_at } else { next_at };
        tokio::select! {
            () = async {
                // A wait that the other side asked for is kept even if somebody new comes.
                sleep_until(waits_until.min(latest)).await;
                tokio::select! {
                    () = sleep_until(next_at.max(waits_until).min(latest)) => pace.grow(),
                    () = poller.needed() => {}
                }
            } => {}
            () = poller.abandoned() => {}
        }
        let now = Instant::now();
        if let Some(error) = trouble.take_if(|_| now >= stale_at) {
            poller.fail(&error);
            // Who comes from here on has a poll, and the time, of its own.
            stale_at = now + pacing.stale_timeout;
        }
        if poller.retire() {
            return;
        }
    }
}

const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The waits between polls: 1 s at first and after a change, growing by half, spread by a fifth so
/// that polls that began together do not stay together.
struct Pace {
    wait: Duration,
    longest: Duration,
}

impl Pace {
    fn new(longest: Duration) -> Self {
        Self { wait: FIRST_WAIT.min(longest), longest }
    }

    /// The wait after a poll. `chance` is from 0 to 1.
    fn next(&mut self, is_new: bool, chance: f64) -> Duration {
        if is_new {
            self.wait = FIRST_WAIT.min(self.longest);
        }
        self.wait.mul_f64(0.8 + 0.4 * chance)
    }

    /// Lengthens the wait. A poll that was made early, for a new watcher, does not.
    fn grow(&mut self) {
        self.wait = self.wait.mul_f64(1.5).min(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;
    use crate::watch::{Hub, Watcher};

    #[derive(Debug, Clone, PartialEq)]
    struct Value(&'static str);

    impl Observed for Value {
        fn is_same(&self, later: &Self) -> bool {
            self == later
        }

        fn is_final(&self) -> bool {
            self.0 == "final"
        }
    }

    #[derive(Debug, Clone, PartialEq)]
    enum Failure {
        Passing,
        Asks(Duration),
        Lasting,
        Broken,
    }

    impl Trouble for Failure {
        fn passes(&self) -> bool {
            matches!(self, Self::Passing | Self::Asks(_))
        }

        fn asked_wait(&self) -> Option<Duration> {
            match self {
                Self::Asks(wait) => Some(*wait),
                Self::Passing | Self::Lasting | Self::Broken => None,
            }
        }

        fn broken() -> Self {
            Self::Broken
        }
    }

    type Answer = Box<dyn FnMut(u64) -> Result<Value, Failure> + Send>;

    /// Answers by the number of the poll, and notes when each began.
    #[derive(Clone)]
    struct Script {
        answer: Arc<Mutex<Answer>>,
        begun: Arc<Mutex<Vec<Instant>>>,
        ended: Arc<Mutex<usize>>,
        takes: Duration,
        chance: f64,
    }

    impl Script {
        fn new(answer: impl FnMut(u64) -> Result<Value, Failure> + Send + 'static) -> Self {
            Self {
                answer: Arc::new(Mutex::new(Box::new(answer))),
                begun: Arc::default(),
                ended: Arc::default(),
                takes: Duration::ZERO,
                chance: 0.5,
            }
        }

        /// The times between polls, in milliseconds.
        fn waits(&self) -> Vec<u128> {
            let begun = self.begun.lock().unwrap();
            begun.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
        }

        fn polls(&self) -> usize {
            self.begun.lock().unwrap().len()
        }
    }

    impl Source for Script {
        type Value = Value;
        type Error = Failure;

        async fn ask(&self) -> Result<Value, Failure> {
            let number = {
                let mut begun = self.begun.lock().unwrap();
                begun.push(Instant::now());
                begun.len() as u64
            };
            tokio::time::sleep(self.takes).await;
            *self.ended.lock().unwrap() += 1;
            // A planted panic poisons the lock.
            (self.answer.lock().unwrap_or_else(PoisonError::into_inner))(number)
        }

        fn chance(&self) -> f64 {
            self.chance
        }
    }

    const PACING: Pacing = Pacing {
        longest_wait: Duration::from_secs(15),
        stale_timeout: Duration::from_secs(5 * 60),
    };

    type TestHub = Hub<u8, Value, Failure>;

    fn watch(hub: &TestHub, script: &Script) -> Watcher<Value, Failure> {
        let (watcher, poller) = hub.join(0);
        if let Some(poller) = poller {
            tokio::spawn(run(poller, script.clone(), PACING));
        }
        watcher
    }

    /// Lets time pass.
    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn polls_slow_down_to_15_s_and_start_again_at_1_s_after_a_change() {
        for (chance, factor) in [(0.5, 1.0), (0.0, 0.8), (1.0, 1.2)] {
            let script = Script {
                chance,
                ..Script::new(|poll| Ok(Value(if poll < 12 { "first" } else { "second" })))
            };
            let hub = TestHub::new();
            let mut watcher = watch(&hub, &script);
            assert_eq!(watcher.next().await, Some(Ok(Value("first"))));
            assert_eq!(watcher.next().await, Some(Ok(Value("second"))));
            pass(4).await;
            let exact =
                [1.0, 1.5, 2.25, 3.375, 5.0625, 7.594, 11.391, 15.0, 15.0, 15.0, 15.0, 1.0, 1.5];
            for (wait, want) in script.waits().iter().zip(exact) {
                let want = want * 1e3 * factor;
                assert!((*wait as f64 - want).abs() < 5.0, "{wait} {want} {:?}", script.waits());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_later_gets_a_poll_at_once_that_does_not_slow_the_others() {
        let script = Script::new(|_| Ok(Value("first")));
        let hub = TestHub::new();
        let mut early = watch(&hub, &script);
        early.next().await;
        pass(30).await;
        let before = script.polls();
        let began = Instant::now();
        let mut late = watch(&hub, &script);
        assert_eq!(late.next().await, Some(Ok(Value("first"))));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(script.polls(), before + 1);
        assert_eq!(late.polls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_that_passes_ends_nothing_before_5_minutes_without_a_good_poll() {
        let script = Script::new(|poll| match poll {
            1 => Ok(Value("first")),
            // More than 5 minutes of trouble in all, but never at once.
            2..=20 => Err(Failure::Passing),
            21 => Ok(Value("second")),
            _ => Err(Failure::Passing),
        });
        let hub = TestHub::new();
        let mut watcher = watch(&hub, &script);
        assert_eq!(watcher.next().await, Some(Ok(Value("first"))));
        assert_eq!(watcher.next().await, Some(Ok(Value("second"))));
        let good = *script.begun.lock().unwrap().last().unwrap();
        assert_eq!(watcher.next().await, Some(Err(Failure::Passing)));
        assert_eq!(good.elapsed(), PACING.stale_timeout);
        assert_eq!(watcher.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_hangs_does_not_outlast_the_stale_timeout() {
        let script = Script {
            takes: Duration::from_secs(290),
            ..Script::new(|poll| match poll {
                1 => Ok(Value("first")),
                _ => Err(Failure::Passing),
            })
        };
        let hub = TestHub::new();
        let mut watcher = watch(&hub, &script);
        assert_eq!(watcher.next().await, Some(Ok(Value("first"))));
        let good = Instant::now();
        assert_eq!(watcher.next().await, Some(Err(Failure::Passing)));
        assert_eq!(good.elapsed(), PACING.stale_timeout);
    }

    /// Joins the watchers of a key when it is woken, and lets the polls from then on succeed.
    struct Joining {
        hub: TestHub,
        script: Script,
        joined: Mutex<Option<(Watcher<Value, Failure>, usize)>>,
    }

    impl std::task::Wake for Joining {
        fn wake(self: Arc<Self>) {
            let (watcher, poller) = self.hub.join(0);
            assert!(poller.is_none(), "the poller is still there");
            *self.joined.lock().unwrap() = Some((watcher, self.script.polls()));
            *self.script.answer.lock().unwrap() = Box::new(|_| Ok(Value("final")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_as_a_stale_watch_ends_gets_a_poll_of_its_own() {
        let script = Script::new(|poll| match poll {
            1 => Ok(Value("first")),
            _ => Err(Failure::Passing),
        });
        let hub = TestHub::new();
        let mut stale = watch(&hub, &script);
        assert_eq!(stale.next().await, Some(Ok(Value("first"))));
        let joining = Arc::new(Joining { hub, script: script.clone(), joined: Mutex::default() });
        let waker = std::task::Waker::from(Arc::clone(&joining));
        {
            // Woken by the failure, before the poller can retire.
            let mut next = std::pin::pin!(stale.next());
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(next.as_mut().poll(&mut cx).is_pending());
            pass(5 * 60 + 1).await;
        }
        assert_eq!(stale.next().await, Some(Err(Failure::Passing)));
        let joined = joining.joined.lock().unwrap().take();
        let (mut late, polls) = joined.expect("woken when the stale watch ended");
        assert_eq!(late.next().await, Some(Ok(Value("final"))));
        assert_eq!(script.polls(), polls + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_that_the_other_side_asks_for_is_kept_whoever_comes() {
        let script = Script::new(|poll| match poll {
            2 => Err(Failure::Asks(Duration::from_secs(40))),
            _ => Ok(Value("first")),
        });
        let hub = TestHub::new();
        let mut early = watch(&hub, &script);
        early.next().await;
        pass(5).await;
        let mut late = watch(&hub, &script);
        assert_eq!(late.next().await, Some(Ok(Value("first"))));
        assert_eq!(script.waits(), [1000, 40_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_the_first_poll_fails_the_watch() {
        for failure in [Failure::Passing, Failure::Lasting] {
            let hub = TestHub::new();
            let failed = failure.clone();
            let mut watcher = watch(&hub, &Script::new(move |_| Err(failed.clone())));
            assert_eq!(watcher.next().await, Some(Err(failure)));
            assert_eq!(watcher.next().await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_ends_all_at_once_and_a_panic_too() {
        for panics in [false, true] {
            let script = Script::new(move |poll| match poll {
                1 | 2 => Ok(Value("first")),
                3 if panics => panic!("planted"),
                3 => Err(Failure::Lasting),
                _ => Ok(Value("final")),
            });
            let hub = TestHub::new();
            let (mut one, mut two) = (watch(&hub, &script), watch(&hub, &script));
            let want = if panics { Failure::Broken } else { Failure::Lasting };
            for watcher in [&mut one, &mut two] {
                assert_eq!(watcher.next().await, Some(Ok(Value("first"))));
                assert_eq!(watcher.next().await, Some(Err(want.clone())));
                assert_eq!(watcher.next().await, None);
            }
            // The next watch polls anew.
            let mut next = watch(&hub, &script);
            assert_eq!(next.next().await, Some(Ok(Value("final"))));
            assert_eq!(next.next().await, None);
            pass(60).await;
            assert_eq!((script.polls(), hub.topics()), (4, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_to_leave_ends_the_poll_in_flight() {
        let script =
            Script { takes: Duration::from_secs(10), ..Script::new(|_| Ok(Value("first"))) };
        let hub = TestHub::new();
        let (one, two) = (watch(&hub, &script), watch(&hub, &script));
        pass(1).await;
        drop(one);
        pass(1).await;
        assert_eq!(hub.topics(), 1);
        drop(two);
        pass(60).await;
        let ended = *script.ended.lock().unwrap();
        assert_eq!((script.polls(), ended, hub.topics()), (1, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_misses_values_but_not_the_last() {
        let script = Script::new(|poll| {
            Ok(Value(match poll {
                1 => "first",
                2 => "second",
                3 => "third",
                _ => "final",
            }))
        });
        let hub = TestHub::new();
        let mut watcher = watch(&hub, &script);
        pass(60).await;
        assert_eq!(script.polls(), 4);
        assert_eq!(watcher.next().await, Some(Ok(Value("final"))));
        assert_eq!(watcher.next().await, None);
    }
}
