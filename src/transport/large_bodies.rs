//! A bound for the memory that responses take together.
//!
//! A response may have up to 1 MiB, but providers send a few KiB. So a small body needs no
//! permission, and of the others only a few are in memory at a time: the rest wait, unread, within
//! the deadlines of their calls.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Maximum body size. The documented responses are below 1 KiB, and lists of them below 100 KiB.
pub(super) const BODY_BYTES: usize = 1024 * 1024;

/// Bodies up to this size are small.
pub(super) const SMALL_BYTES: usize = 64 * 1024;

/// What large bodies take together, besides the size of a small one each.
const LARGE_BYTES: usize = 8 * BODY_BYTES;

/// The unit that is counted.
const UNIT: usize = 1024;

/// The places for large bodies of one provider, in all workers.
#[derive(Debug)]
pub struct LargeBodies(Semaphore);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Semaphore::new(LARGE_BYTES / UNIT))
    }
}

impl LargeBodies {
    /// A place for one body, which takes what it needs until it is dropped.
    pub fn place(&self) -> Place<'_> {
        Place { bodies: self, taken: None }
    }
}

/// The place of one body.
#[derive(Debug)]
pub struct Place<'a> {
    bodies: &'a LargeBodies,
    taken: Option<SemaphorePermit<'a>>,
}

impl Place<'_> {
    /// Waits until there is room for a body of this size. All at once: bodies that each held a part
    /// could wait for each other.
    pub(super) async fn take(&mut self, bytes: usize) {
        if self.taken.is_some() {
            return;
        }
        let units = bytes.saturating_sub(SMALL_BYTES).div_ceil(UNIT);
        // The semaphore is never closed.
        self.taken =
            self.bodies.0.acquire_many(u32::try_from(units).unwrap_or(u32::MAX)).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn large_bodies_wait_for_each_other_and_small_ones_do_not() {
        let bodies = LargeBodies::default();
        let mut places: Vec<_> = (0..64).map(|_| bodies.place()).collect();
        let taken = places.iter_mut().filter_map(|place| place.take(BODY_BYTES).now_or_never());
        assert_eq!(taken.count(), 8);
        let mut small = bodies.place();
        assert!(small.take(SMALL_BYTES).now_or_never().is_some());
        let mut next = bodies.place();
        assert!(next.take(BODY_BYTES).now_or_never().is_none());
        places.clear();
        assert!(next.take(BODY_BYTES).now_or_never().is_some());
    }
}
