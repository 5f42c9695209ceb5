//! The credential that serves.
//!
//! Callers never ask a source themselves: one keeper does, in the background, so that any
//! number of callers costs one request, and a caller waits only while there is no credential
//! at all.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use super::keeper::{Keeper, LOOK};
use super::schedule::until;
use super::{Credential, Exchange, Lease, Source, SourceError};
use crate::clock::Clock;
use crate::error::Error;
use crate::failure::Failure;
use crate::operation::Provider;
use crate::telemetry::Telemetry;

/// Where the requests to one provider get their credential from.
#[derive(Debug, Clone)]
pub struct Credentials(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Fixed(Arc<Credential>),
    Cached(Arc<Cache>),
}

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) source: Box<dyn Source>,
    pub(super) lease: ArcSwapOption<Lease>,
    pub(super) phase: watch::Sender<Phase>,
    /// Somebody found no credential that lasts.
    pub(super) wanted: Notify,
    /// The operator says that there is another one.
    pub(super) reload: Notify,
    /// A provider refused the one that serves.
    pub(super) doubted: Notify,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Asking,
    Had,
    Failed(SourceError),
}

impl Credentials {
    /// One credential for as long as the process lives.
    pub fn fixed(credential: Credential) -> Self {
        Self(Kind::Fixed(Arc::new(credential)))
    }

    /// Credentials of a source, from when [`Credentials::keep`] runs. `first` serves until
    /// then.
    pub fn cached(source: impl Source, first: Option<Lease>) -> Self {
        Self(Kind::Cached(Arc::new(Cache {
            source: Box::new(source),
            lease: ArcSwapOption::new(first.map(Arc::new)),
            phase: watch::Sender::new(Phase::Asking),
            wanted: Notify::new(),
            reload: Notify::new(),
            doubted: Notify::new(),
        })))
    }

    /// The credential for the next request. Waits only while there is none and the source is
    /// being asked.
    ///
    /// # Errors
    /// [`Failure::CredentialsUnavailable`] when none can be had.
    pub async fn current(&self, clock: &dyn Clock) -> Result<Arc<Credential>, Error> {
        match &self.0 {
            Kind::Fixed(credential) => Ok(Arc::clone(credential)),
            Kind::Cached(cache) => match cache.usable(clock) {
                Some(credential) => Ok(credential),
                None => cache.wait(clock).await,
            },
        }
    }

    /// Returns when there was a first credential.
    pub async fn ready(&self) {
        if let Kind::Cached(cache) = &self.0 {
            let there = |_: &Phase| cache.lease.load().is_some();
            // The sender lives as long as the cache.
            let _ = cache.phase.subscribe().wait_for(there).await;
        }
    }

    /// Asks the source at once whether there is another credential.
    pub fn reload(&self) {
        if let Kind::Cached(cache) = &self.0 {
            cache.reload.notify_one();
        }
    }

    /// Says that the provider refused this token. If it is the one that serves, its source is
    /// asked for another: a token can end long before its time, as when a password changes.
    ///
    /// For tokens only. A signature can be refused for other reasons, and a key that is
    /// refused too often is locked.
    pub(crate) fn doubt(&self, credential: &Credential) {
        if let Kind::Cached(cache) = &self.0
            && credential.auth_token().is_some()
            && cache.lease.load().as_ref().is_some_and(|lease| *lease.credential == *credential)
        {
            cache.doubted.notify_one();
        }
    }

    /// Whether a request could be made now.
    pub fn is_usable(&self, clock: &dyn Clock) -> bool {
        match &self.0 {
            Kind::Fixed(_) => true,
            Kind::Cached(cache) => cache.usable(clock).is_some(),
        }
    }

    /// Why the source had no credential when it was last asked.
    pub fn last_error(&self) -> Option<SourceError> {
        match &self.0 {
            Kind::Fixed(_) => None,
            Kind::Cached(cache) => match &*cache.phase.borrow() {
                Phase::Failed(why) => Some(why.clone()),
                Phase::Asking | Phase::Had => None,
            },
        }
    }

    /// Returns when the credential has ended and there is no other.
    pub async fn ended(&self, clock: &dyn Clock) {
        let Kind::Cached(cache) = &self.0 else { return std::future::pending().await };
        let mut phases = cache.phase.subscribe();
        loop {
            phases.mark_unchanged();
            let expires = cache.lease.load().as_ref().and_then(|lease| lease.expires);
            let left = expires.map(|expires| until(clock.now(), expires));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.unwrap_or(LOOK).min(LOOK)) => {}
                _ = phases.changed() => {}
            }
        }
    }

    /// Returns when a request can be made.
    pub async fn usable(&self, clock: &dyn Clock) {
        if let Kind::Cached(cache) = &self.0 {
            // The sender lives as long as the cache.
            let _ = cache.phase.subscribe().wait_for(|_| cache.usable(clock).is_some()).await;
        }
    }

    /// Returns when another credential than this one serves.
    pub(crate) async fn replaced(&self, old: Option<&Credential>) {
        let Kind::Cached(cache) = &self.0 else { return std::future::pending().await };
        let other = |_: &Phase| {
            cache.lease.load().as_ref().is_some_and(|lease| Some(&*lease.credential) != old)
        };
        let _ = cache.phase.subscribe().wait_for(other).await;
    }

    /// Whether the source is reached over TLS.
    pub fn is_tls(&self) -> bool {
        match &self.0 {
            Kind::Fixed(_) => false,
            Kind::Cached(cache) => cache.source.is_tls(),
        }
    }

    /// Keeps the credential fresh, for ever. One task of the process must run this.
    pub async fn keep(
        self,
        provider: Provider,
        exchange: Exchange,
        clock: Arc<dyn Clock>,
        telemetry: Telemetry,
    ) {
        match self.0 {
            Kind::Fixed(_) => telemetry.metrics().credential(provider).had(clock.now(), None),
            Kind::Cached(cache) => {
                Keeper { cache, provider, exchange, clock, telemetry }.run().await;
            }
        }
    }
}

impl Cache {
    fn usable(&self, clock: &dyn Clock) -> Option<Arc<Credential>> {
        let lease = self.lease.load();
        let lease = lease.as_ref()?;
        // Most credentials of files have no end, and then the clock is not read.
        (lease.expires.is_none() || !lease.has_ended(clock.now()))
            .then(|| Arc::clone(&lease.credential))
    }

    async fn wait(&self, clock: &dyn Clock) -> Result<Arc<Credential>, Error> {
        let mut phases = self.phase.subscribe();
        loop {
            let phase = phases.borrow_and_update().clone();
            // After the phase was read: a lease that came in between is seen here.
            if let Some(credential) = self.usable(clock) {
                return Ok(credential);
            }
            match phase {
                Phase::Asking => {}
                // It ended while its keeper slept.
                Phase::Had => self.wanted.notify_one(),
                Phase::Failed(why) => return Err(unavailable(&why)),
            }
            if phases.changed().await.is_err() {
                return Err(unavailable(&SourceError::new("the gateway is ending")));
            }
        }
    }
}

fn unavailable(why: &SourceError) -> Error {
    Error::new(Failure::CredentialsUnavailable, format!("no credential can be had: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use tokio::time::Instant;

    use super::super::schedule::later;
    use super::super::scripted::{HOUR, Kept, Turned};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_cause_one_request() {
        let kept = Arc::new(Kept::new(|_| Ok(HOUR)));
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move { kept.current().await })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().as_deref(), Ok("KEY1"));
        }
        assert_eq!(kept.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_credential_callers_fail_fast_and_the_source_is_spared() {
        let kept = Kept::new(|n| if n < 4 { Err("down") } else { Ok(HOUR) });
        assert_eq!(kept.current().await, Err(Failure::CredentialsUnavailable));
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(kept.current().await, Err(Failure::CredentialsUnavailable));
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(kept.asked(), 1);
        kept.credentials.ready().await;
        assert_eq!(kept.current().await.as_deref(), Ok("TOKEN4"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_last_credential_and_the_next_one_are_told() {
        let kept = Kept::new(|n| if n == 60 || n == 1 { Ok(HOUR) } else { Err("down") });
        kept.credentials.ready().await;
        let began = Instant::now();
        assert!(kept.credentials.is_usable(&*kept.clock));
        assert_eq!(kept.credentials.last_error(), None);
        kept.credentials.ended(&*kept.clock).await;
        assert_eq!(began.elapsed().as_secs(), HOUR.as_secs());
        assert!(!kept.credentials.is_usable(&*kept.clock));
        assert_eq!(kept.credentials.last_error(), Some(SourceError::new("down")));
        kept.credentials.usable(&*kept.clock).await;
        assert_eq!(kept.current().await.as_deref(), Ok("TOKEN60"));
    }

    /// As after a machine slept: the time of day is past the end, the timers are not.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_finds_the_end_passed_waits_for_the_next_one() {
        #[derive(Debug)]
        struct Ahead(Arc<Turned>);
        impl Clock for Ahead {
            fn now(&self) -> Timestamp {
                later(self.0.now(), HOUR * 2)
            }
            fn nonce(&self) -> [u8; 16] {
                [0; 16]
            }
            fn chance(&self) -> f64 {
                0.5
            }
        }
        let kept = Kept::new(|n| Ok(HOUR * n as u32 * 3 - HOUR * 2));
        kept.credentials.ready().await;
        let ahead = Ahead(Arc::clone(&kept.clock));
        let next = kept.credentials.current(&ahead).await.unwrap();
        assert_eq!(next.auth_token().unwrap().expose(), "TOKEN2");
        assert_eq!(kept.asked(), 2);
    }
}
