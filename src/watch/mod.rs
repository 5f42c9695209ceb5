//! Watching something that can only be asked about: one poll for all who watch the same.
//!
//! [`Hub`] joins the watchers of a key, and [`run`] polls for them. Both know neither gRPC nor a
//! provider: what is polled is a [`Source`], what it returns is [`Observed`], and what can go wrong
//! is [`Trouble`].

#[cfg(test)]
mod explore;
mod hub;
mod poll;

pub(crate) use hub::{Hub, Watcher};
pub(crate) use poll::{Pacing, Source, run};

use std::time::Duration;

/// What a poll returns. Clones are cheap, because every watcher gets one.
pub(crate) trait Observed: Clone + Send + 'static {
    /// Whether it says the same as a later one, apart from the time.
    fn is_same(&self, later: &Self) -> bool;

    /// Whether nothing can change any more.
    fn is_final(&self) -> bool;
}

/// Why a poll failed.
pub(crate) trait Trouble: Clone + Send + 'static {
    /// Whether a later poll may succeed.
    fn passes(&self) -> bool;

    /// How long the other side asks to wait before the next poll.
    fn asked_wait(&self) -> Option<Duration>;

    /// The poll ended without a result, by a panic.
    fn broken() -> Self;
}
