//! When a source is asked again. Pure, so that it can be read as a table.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A source is never asked more often, whatever it answers and whoever asks.
pub(super) const RARELY: Duration = Duration::from_secs(5);

/// How long a source that fails is left alone at most.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How long after it was fetched a credential is fetched anew: `margin` before its end, but
/// not before three quarters of its time are over. Without the second rule a credential that
/// lives shorter than the margin would be fetched again at once, for ever.
pub(super) fn refresh_after(now: Timestamp, expires: Timestamp, margin: Duration) -> Duration {
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    left.saturating_sub(margin.min(left / 4)).max(RARELY)
}

/// How long a source rests that failed so many times in a row: doubled each time, and
/// somewhere in the upper half of that, so that many gateways do not ask together.
pub(crate) fn backoff(failures: u32, chance: f64) -> Duration {
    let whole = RARELY.saturating_mul(1 << failures.clamp(1, 10).saturating_sub(1));
    whole.min(LONGEST_BACKOFF).mul_f64(0.5 + 0.5 * chance).max(Duration::from_secs(1))
}

/// What is left until a time of day.
pub(super) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// A time of day that much later, or as late as there is one.
pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    #[test]
    fn a_credential_is_refreshed_before_its_end_and_never_in_a_storm() {
        let now = Timestamp::UNIX_EPOCH;
        for (lives, margin, want) in [
            // The usual ones: an hour with a quarter of it kept, a day with 40 minutes.
            (60 * MINUTE, 15 * MINUTE, 45 * MINUTE),
            (24 * 60 * MINUTE, 40 * MINUTE, 24 * 60 * MINUTE - 40 * MINUTE),
            // Shorter than the margin: after three quarters, not at once.
            (30 * MINUTE, 40 * MINUTE, 22 * MINUTE + 30),
            (60, 15 * MINUTE, 45),
            // Almost over, or over.
            (2, 15 * MINUTE, 5),
            (0, 15 * MINUTE, 5),
        ] {
            let expires = later(now, Duration::from_secs(lives));
            let found = refresh_after(now, expires, Duration::from_secs(margin));
            assert_eq!(found, Duration::from_secs(want), "{lives} {margin}");
        }
        let past = now.checked_sub(SignedDuration::from_secs(9)).expect("in range");
        assert_eq!(refresh_after(now, past, Duration::ZERO), RARELY);
    }

    #[test]
    fn failures_are_asked_again_ever_more_rarely_up_to_a_minute() {
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
