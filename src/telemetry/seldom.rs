//! A limit on log lines that peers cause, so that they cannot flood the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of lines in each [`SPAN`].
const LINES: u32 = 5;
const SPAN: Duration = Duration::from_secs(1);

/// Allows a few lines a second, and counts those that it does not allow.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Seldom {
    /// Whether a line may be written now; if so, how many were left out before it.
    pub(crate) fn allows(&self, now: Instant) -> Option<u64> {
        // The data is valid even after a panic elsewhere.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.duration_since(since) >= SPAN) {
            (state.since, state.told) = (Some(now), 0);
        }
        if state.told >= LINES {
            state.untold += 1;
            return None;
        }
        state.told += 1;
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_a_second_are_allowed_and_the_others_are_counted() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(seldom.allows(start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(seldom.allows(start + SPAN / 2), None);
        }
        assert_eq!(seldom.allows(start + SPAN), Some(1000));
        assert_eq!(seldom.allows(start + SPAN), Some(0));
    }
}
