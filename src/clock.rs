//! Wall-clock time and randomness.

use std::cell::RefCell;
use std::fmt::Debug;

use jiff::Timestamp;

/// The source of dates and nonces for signatures.
///
/// Timeouts use tokio's monotonic clock instead, so that wall-clock jumps do not affect calls.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;

    /// 16 unique bytes.
    fn nonce(&self) -> [u8; 16];

    /// A random number from 0 to 1 for jitter.
    fn chance(&self) -> f64;
}

/// The system's clock and random generator.
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

/// Random bytes are fetched in blocks of this size, because each fetch is a system call.
const STOCK: usize = 512;

thread_local! {
    /// Random bytes, and how many of them are unused.
    static UNUSED: RefCell<([u8; STOCK], usize)> = const { RefCell::new(([0; STOCK], 0)) };
}

/// Random bytes from the system; no byte is used twice. They are unique, but not secret, because
/// they are kept in memory until used.
///
/// The cryptographic library is not used, because its generator gathers entropy at the first use,
/// for up to half a second, which would delay a call.
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

/// A fixed clock for tests and recorded examples.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock {
    /// The value of [`Clock::now`].
    pub now: Timestamp,
    /// The value of [`Clock::nonce`].
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
    fn no_random_byte_is_used_twice() {
        let draw = || -> Vec<[u8; 16]> { (0..10 * STOCK / 16).map(|_| random()).collect() };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let mut drawn = draw();
        drawn.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        let distinct: HashSet<_> = drawn.iter().collect();
        assert_eq!(distinct.len(), drawn.len());
        // Sizes that do not divide the block size.
        let odd: HashSet<[u8; 24]> = (0..STOCK).map(|_| random()).collect();
        assert_eq!(odd.len(), STOCK);
    }

    #[test]
    fn chances_are_from_zero_to_one() {
        let chances: Vec<_> = (0..100).map(|_| SystemClock.chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
    }
}
