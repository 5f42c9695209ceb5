//! Wall-clock time and randomness, the two inputs that make a signed request differ from the last.

use std::cell::RefCell;
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

    /// A number from 0 to 1 that spreads waits and ages, so that what failed together does not
    /// come back together.
    fn chance(&self) -> f64;
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

    fn chance(&self) -> f64 {
        f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX)
    }
}

/// How many random bytes are fetched at once: each fetch is a system call.
const STOCK: usize = 512;

thread_local! {
    /// Random bytes, and how many of them nobody has had.
    static UNUSED: RefCell<([u8; STOCK], usize)> = const { RefCell::new(([0; STOCK], 0)) };
}

/// Random bytes from the system, no byte handed out twice. Unique, but no secret: they wait in
/// memory for their use.
///
/// Not from the cryptographic library: its generator gathers entropy of its own at the first
/// use, for up to half a second, and that would be some caller's first call.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= STOCK) };
    UNUSED.with_borrow_mut(|(stock, unused)| {
        if *unused < N {
            getrandom::fill(stock).expect("the system has a random generator");
            *unused = STOCK;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&stock[*unused - N..*unused]);
        *unused -= N;
        bytes
    })
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

    fn chance(&self) -> f64 {
        0.5
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_random_byte_is_handed_out_twice() {
        let draw = || -> Vec<[u8; 16]> { (0..10 * STOCK / 16).map(|_| random()).collect() };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let mut drawn = draw();
        drawn.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        let distinct: HashSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), drawn.len());
        // Sizes that do not divide the stock.
        let odd: HashSet<[u8; 24]> = (0..STOCK).map(|_| random()).collect();
        assert_eq!(odd.len(), STOCK);
    }

    #[test]
    fn chances_are_from_zero_to_one() {
        let chances: Vec<_> = (0..100).map(|_| SystemClock.chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
    }
}
