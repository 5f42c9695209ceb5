//! When to try again: a pure decision, and the allowance that all calls share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::rpc::reason::{Reason, Retry};

/// How often and after how long a failed attempt is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How many attempts there are at most, the first among them.
    pub attempts: u32,
    /// The longest wait after the first attempt; it doubles with each further one.
    pub base: Duration,
    /// The longest wait of all.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_millis(100), cap: Duration::from_secs(2) }
    }
}

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Whether doing it twice is the same as doing it once.
    pub(super) idempotent: bool,
    /// How the last attempt failed.
    pub(super) reason: Reason,
    /// How many attempts there were.
    pub(super) attempts: u32,
    /// How long the provider asks to wait.
    pub(super) asked: Option<Duration>,
    /// How long the call may still take.
    pub(super) remaining: Duration,
}

impl Backoff {
    /// How long to wait before the next attempt; none when there shall be no other.
    ///
    /// The wait is random up to an exponentially growing bound ("full jitter"), so that
    /// callers that failed together do not come back together. `chance` is between 0 and 1.
    /// The provider's own wait is a lower bound. If the wait would exceed
    /// the deadline, the error is returned now.
    pub(super) fn wait(
        &self,
        situation: &Situation,
        chance: impl FnOnce() -> f64,
    ) -> Option<Duration> {
        let allowed = match situation.reason.row().retry {
            Retry::Never => false,
            Retry::IfIdempotent => situation.idempotent,
            Retry::Always => true,
        };
        if !allowed || situation.attempts >= self.attempts {
            return None;
        }
        let doublings = situation.attempts.saturating_sub(1).min(16);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        let wait = bound.mul_f64(chance()) + situation.asked.unwrap_or_default();
        (wait < situation.remaining).then_some(wait)
    }
}

/// An allowance for retries that all calls to a provider share: when most calls fail, trying
/// each of them again would only add to the trouble.
///
/// Each call earns a tenth of a retry, up to [`RetryBudget::MOST`]. So in the long run there
/// are at most 10 % more requests than calls.
///
/// # Reference
/// <https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs>
#[derive(Debug)]
pub(super) struct RetryBudget {
    tenths: AtomicU32,
}

impl RetryBudget {
    /// The most retries that can be saved up.
    const MOST: u32 = 50;

    /// Earns a tenth of a retry.
    fn add(&self, tenths: u32) {
        // Failing to add at the bound is what is meant.
        let _ = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| {
            (have < Self::MOST * 10).then(|| have + tenths)
        });
    }

    /// Notes a call.
    pub(super) fn deposit(&self) {
        self.add(1);
    }

    /// Takes one retry; false when there is none.
    pub(super) fn withdraw(&self) -> bool {
        self.tenths
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| have.checked_sub(10))
            .is_ok()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tenths: AtomicU32::new(Self::MOST * 10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn wait(idempotent: bool, reason: Reason, attempts: u32) -> Option<Duration> {
        let situation =
            Situation { idempotent, reason, attempts, asked: None, remaining: 10 * SECOND };
        Backoff::default().wait(&situation, || 1.0)
    }

    #[test]
    fn only_what_did_certainly_not_happen_is_repeated_when_it_is_not_idempotent() {
        for reason in Reason::ALL {
            let get = matches!(
                reason,
                Reason::Throttled
                    | Reason::ConnectFailed
                    | Reason::ConnectionLost
                    | Reason::Unavailable
                    | Reason::TruncatedResponse
            );
            let import = matches!(reason, Reason::Throttled | Reason::ConnectFailed);
            assert_eq!(wait(true, reason, 1).is_some(), get, "{reason:?}");
            assert_eq!(wait(false, reason, 1).is_some(), import, "{reason:?}");
        }
    }

    #[test]
    fn waits_double_and_attempts_are_counted() {
        let backoff = Backoff { attempts: 9, ..Backoff::default() };
        for (attempts, want) in [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 2000), (8, 2000)] {
            let situation = Situation {
                idempotent: true,
                reason: Reason::Unavailable,
                attempts,
                asked: None,
                remaining: 10 * SECOND,
            };
            let wait = |chance| backoff.wait(&situation, || chance);
            assert_eq!(wait(1.0), Some(Duration::from_millis(want)), "{attempts}");
            assert_eq!(wait(0.0), Some(Duration::ZERO), "{attempts}");
        }
        assert_eq!(wait(true, Reason::Unavailable, 2), Some(Duration::from_millis(200)));
        assert_eq!(wait(true, Reason::Unavailable, 3), None);
    }

    #[test]
    fn the_providers_wait_is_honoured_if_there_is_time_for_it() {
        for (asked, remaining, want) in [
            (7 * SECOND, 10 * SECOND, Some(7 * SECOND)),
            (7 * SECOND, 7 * SECOND, None),
            (7 * SECOND, SECOND, None),
        ] {
            let situation = Situation {
                idempotent: true,
                reason: Reason::Throttled,
                attempts: 1,
                asked: Some(asked),
                remaining,
            };
            let got = Backoff::default().wait(&situation, || 0.0);
            assert_eq!(got, want, "{asked:?} of {remaining:?}");
        }
    }

    #[test]
    fn the_budget_runs_out_and_is_earned_back_by_calls() {
        let budget = RetryBudget::default();
        let at_once = (0..1000).filter(|_| budget.withdraw()).count();
        assert_eq!(at_once, 50);
        let earned = (0..1000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(earned.count(), 100);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), 50);
    }
}
