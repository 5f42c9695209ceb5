//! Retries: a pure decision, and a budget shared by all calls.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::rpc::reason::{Reason, Retry};

/// How often and how soon failed attempts are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Maximum number of attempts, including the first.
    pub attempts: u32,
    /// Maximum wait after the first attempt; doubled for each further one.
    pub base: Duration,
    /// Upper limit of all waits.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_millis(100), cap: Duration::from_secs(2) }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) idempotent: bool,
    /// Whether the change was certainly not made.
    pub(super) not_applied: bool,
    pub(super) reason: Reason,
    pub(super) attempts: u32,
    /// The wait that the provider asks for.
    pub(super) asked: Option<Duration>,
    pub(super) remaining: Duration,
}

impl Backoff {
    /// The wait before the next attempt; none if there must not be one.
    ///
    /// The wait is random up to an exponentially growing limit ("full jitter"), so that callers
    /// that failed together do not retry together. `chance` is from 0 to 1. The provider's own wait
    /// is a lower bound. If the wait would exceed the deadline, the error is returned now.
    pub(super) fn wait(
        &self,
        situation: &Situation,
        chance: impl FnOnce() -> f64,
    ) -> Option<Duration> {
        let allowed = match situation.reason.row().retry {
            Retry::Never => false,
            Retry::IfIdempotent => situation.idempotent,
            Retry::Always => situation.idempotent || situation.not_applied,
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

/// A retry budget shared by all calls to a provider, because retrying every call would make an
/// outage worse.
///
/// Each call adds a tenth of a retry, up to [`RetryBudget::MOST`]. In the long run there are at
/// most 10 % more requests than calls.
///
/// # Reference
/// <https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs>
#[derive(Debug)]
pub(super) struct RetryBudget {
    tenths: AtomicU32,
}

impl RetryBudget {
    const MOST: u32 = 50;

    fn add(&self, tenths: u32) {
        // The update fails at the limit, as intended.
        let _ = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| {
            (have < Self::MOST * 10).then(|| have + tenths)
        });
    }

    pub(super) fn deposit(&self) {
        self.add(1);
    }

    /// Takes one retry; false if the budget is empty.
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

    fn wait(idempotent: bool, not_applied: bool, reason: Reason) -> Option<Duration> {
        let situation = Situation {
            idempotent,
            not_applied,
            reason,
            attempts: 1,
            asked: None,
            remaining: 10 * SECOND,
        };
        Backoff::default().wait(&situation, || 1.0)
    }

    #[test]
    fn non_idempotent_calls_are_retried_only_if_nothing_happened() {
        for reason in Reason::ALL {
            let get = matches!(
                reason,
                Reason::Throttled
                    | Reason::ConnectFailed
                    | Reason::ProxyRefused
                    | Reason::ConnectionLost
                    | Reason::Unavailable
                    | Reason::TruncatedResponse
            );
            let import =
                matches!(reason, Reason::Throttled | Reason::ConnectFailed | Reason::ProxyRefused);
            assert_eq!(wait(true, true, reason).is_some(), get, "{reason:?}");
            assert_eq!(wait(true, false, reason).is_some(), get, "{reason:?}");
            assert_eq!(wait(false, true, reason).is_some(), import, "{reason:?}");
            // Whatever the reason.
            assert_eq!(wait(false, false, reason), None, "{reason:?}");
        }
    }

    #[test]
    fn waits_double_and_attempts_are_counted() {
        let backoff = Backoff { attempts: 9, ..Backoff::default() };
        for (attempts, want) in [(1, 100), (2, 200), (3, 400), (5, 1600), (6, 2000), (8, 2000)] {
            let situation = Situation {
                idempotent: true,
                not_applied: false,
                reason: Reason::Unavailable,
                attempts,
                asked: None,
                remaining: 10 * SECOND,
            };
            let wait = |chance| backoff.wait(&situation, || chance);
            assert_eq!(wait(1.0), Some(Duration::from_millis(want)), "{attempts}");
            assert_eq!(wait(0.0), Some(Duration::ZERO), "{attempts}");
            let usual = Backoff::default().wait(&situation, || 1.0);
            assert_eq!(usual.is_some(), attempts < 3, "{attempts}");
        }
    }

    #[test]
    fn the_providers_wait_is_honoured_within_the_deadline() {
        for (asked, remaining, want) in [
            (7 * SECOND, 10 * SECOND, Some(7 * SECOND)),
            (7 * SECOND, 7 * SECOND, None),
            (7 * SECOND, SECOND, None),
        ] {
            let situation = Situation {
                idempotent: true,
                not_applied: false,
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
    fn the_budget_runs_out_and_is_refilled_by_calls() {
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
