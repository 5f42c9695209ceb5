//! Wall-clock time and randomness, the two inputs that make a signed request differ from the last.

use std::fmt::Debug;

use jiff::Timestamp;

/// Where signatures take their date and nonce from.
///
/// Timeouts do not come from here: they use tokio's monotonic clock, so that a jump of the
/// wall clock ends no call.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time of day.
    fn now(&self) -> Timestamp;

    /// 16 bytes that were never used before.
    fn nonce(&self) -> [u8; 16];
}

/// The system's time and the system's random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's time")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn nonce(&self) -> [u8; 16] {
        random()
    }
}

/// Random bytes from the system.
///
/// Not from the cryptographic library: its generator gathers entropy of its own at the first
/// use, for up to half a second, and that would be some caller's first call.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has a random generator");
    bytes
}

/// A number from 0 to 1, for what should not happen everywhere at once.
pub(crate) fn chance() -> f64 {
    f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX)
}

/// A clock that stands still, for tests and recorded examples.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock {
    /// What [`Clock::now`] answers.
    pub now: Timestamp,
    /// What [`Clock::nonce`] answers.
    pub nonce: [u8; 16],
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn nonce(&self) -> [u8; 16] {
        self.nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_from_nothing_to_one_and_differ() {
        let chances: Vec<_> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
        // All on one side by chance: once in 10 to the 29.
        let low = chances.iter().filter(|chance| **chance < 0.5).count();
        assert!((1..100).contains(&low), "{chances:?}");
    }
}
