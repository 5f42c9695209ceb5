//! The credential in use.
//!
//! Callers never ask a source themselves: one task does, in the background, so that any number
//! of callers costs one request, and a caller waits only while there is no credential at all.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::metrics::CredentialMetrics;
use super::{Credential, Fetch, Lease, Source, SourceClient};
use crate::clock::Clock;
use crate::refresh::{CLOCK_CHECK, FetchError, MIN_INTERVAL, Refresh, Upkeep, until};
use crate::rpc::Error;
use crate::rpc::operation::Provider;
use crate::rpc::reason::Reason;

/// Minimum time between fetches that a rejected token causes: a token that was revoked costs a
/// minute, and one that is valid but lacks a permission costs its service little.
const REJECTED_INTERVAL: Duration = Duration::from_secs(60);

/// Where the requests to one provider get their credential from.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Refreshed>);

#[derive(Debug)]
struct Refreshed {
    source: Box<dyn Source>,
    refresh: Refresh<Lease>,
    /// The provider rejected the token in use.
    rejected: Notify,
}

impl Credentials {
    /// One credential for as long as the process lives.
    pub fn fixed(credential: Credential) -> Self {
        let lease = Lease::open(credential);
        Self::refreshed(Fixed(lease.clone()), Some(lease))
    }

    /// Credentials of a source, as long as [`Credentials::run`] runs. `first` is in use until the
    /// first fetch has ended.
    pub fn refreshed(source: impl Source, first: Option<Lease>) -> Self {
        Self(Arc::new(Refreshed {
            source: Box::new(source),
            refresh: Refresh::new(first),
            rejected: Notify::new(),
        }))
    }

    /// The credential for the next request. Waits only while there is none and the source is
    /// being asked.
    ///
    /// # Errors
    /// [`Reason::CredentialsUnavailable`] when the source has none.
    pub(crate) async fn current(&self, clock: &dyn Clock) -> Result<Arc<Credential>, Error> {
        match self.usable_now(clock) {
            Some(credential) => Ok(credential),
            None => self.0.refresh.wait(|lease| lease.usable(clock)).await.map_err(|why| {
                let text = format!("no credential is available: {why}");
                Error::new(Reason::CredentialsUnavailable, text)
            }),
        }
    }

    /// Returns when there was a first credential.
    pub(crate) async fn ready(&self) {
        self.0.refresh.until(|_| true).await;
    }

    /// Asks the source at once whether there is another credential.
    pub(crate) fn reload(&self) {
        self.0.refresh.reload();
    }

    /// Reports that the provider rejected this credential. If it is a token and the one in use,
    /// its source is asked for another: a token can end long before its time, as when a password
    /// changes.
    ///
    /// For tokens only: a signature can be rejected for other reasons, and a key that is rejected
    /// too often is locked.
    pub(crate) fn report_rejected(&self, credential: &Credential) {
        if credential.auth_token().is_some()
            && self.0.refresh.map(|lease| *lease.credential == *credential) == Some(true)
        {
            self.0.rejected.notify_one();
        }
    }

    /// Whether a request could be signed now.
    pub(crate) fn is_usable(&self, clock: &dyn Clock) -> bool {
        self.usable_now(clock).is_some()
    }

    /// Why the source had no credential when it was last asked.
    pub(crate) fn last_error(&self) -> Option<FetchError> {
        self.0.refresh.last_error()
    }

    /// Returns when the credential has expired and there is no other.
    pub(crate) async fn expired(&self, clock: &dyn Clock) {
        loop {
            let expires = self.0.refresh.map(|lease| lease.expires).flatten();
            let left = expires.map(|expires| until(clock.now(), expires));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            let limit = left.unwrap_or(CLOCK_CHECK).min(CLOCK_CHECK);
            self.0.refresh.changed_within(limit).await;
        }
    }

    /// Returns when a request can be signed.
    pub(crate) async fn usable(&self, clock: &dyn Clock) {
        self.0.refresh.until(|lease| lease.usable(clock).is_some()).await;
    }

    /// Returns when another credential than this one is in use.
    pub(crate) async fn replaced(&self, old: Option<&Credential>) {
        self.0.refresh.until(|lease| Some(&*lease.credential) != old).await;
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.source.is_tls()
    }

    /// Keeps the credential fresh until it is dropped. One task of the process must run this.
    pub(crate) async fn run(
        self,
        provider: &'static Provider,
        client: SourceClient,
        clock: Arc<dyn Clock>,
        metrics: CredentialMetrics,
    ) {
        let refreshed = &*self.0;
        if let Some(expires) = refreshed.refresh.map(|lease| lease.expires) {
            metrics.obtained(clock.now(), expires);
        }
        let upkeep = LeaseUpkeep { refreshed, provider, client, clock: &*clock, metrics };
        refreshed.refresh.run(&upkeep, &*clock).await;
    }

    fn usable_now(&self, clock: &dyn Clock) -> Option<Arc<Credential>> {
        self.0.refresh.map(|lease| lease.usable(clock)).flatten()
    }
}

/// The source of one credential.
#[derive(Debug)]
struct Fixed(Lease);

impl Source for Fixed {
    fn fetch<'a>(&'a self, _: &'a SourceClient, _: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// What keeps a lease current.
struct LeaseUpkeep<'a> {
    refreshed: &'a Refreshed,
    provider: &'static Provider,
    client: SourceClient,
    clock: &'a dyn Clock,
    metrics: CredentialMetrics,
}

impl Upkeep for LeaseUpkeep<'_> {
    type Value = Lease;

    async fn fetch(&self) -> Result<Option<Lease>, FetchError> {
        let lease = self.refreshed.source.fetch(&self.client, self.clock).await?;
        let same = |old: &Lease| old.credential == lease.credential && old.expires == lease.expires;
        let unchanged = self.refreshed.refresh.map(same) == Some(true);
        Ok((!unchanged).then_some(lease))
    }

    fn fetched(
        &self,
        new: Option<&Lease>,
        old: Option<&Lease>,
        recovered: bool,
    ) -> Option<Duration> {
        // A rejection so far is about an earlier credential than this one.
        let _ = futures_util::FutureExt::now_or_never(self.refreshed.rejected.notified());
        let provider = self.provider;
        if recovered {
            tracing::info!(%provider, "credential source recovered");
        }
        let now = self.clock.now();
        match new {
            None => self.metrics.unchanged(),
            Some(lease) => {
                self.metrics.obtained(now, lease.expires);
                if old.is_none_or(|old| old.credential != lease.credential) {
                    tracing::info!(
                        %provider,
                        first = old.is_none(),
                        expires = lease.expires.map(tracing::field::display),
                        "credential refreshed"
                    );
                }
            }
        }
        let source = &self.refreshed.source;
        let expires = new.or(old).and_then(|lease| lease.expires);
        Some(match (source.poll(), expires) {
            (Some(poll), _) => poll,
            (None, Some(expires)) => refresh_after(now, expires, source.margin()),
            (None, None) => CLOCK_CHECK,
        })
    }

    fn failed(&self, error: &FetchError, in_use: Option<&Lease>, repeated: bool) {
        self.metrics.failed();
        // A file that stays bad is read every few seconds, and reported once.
        if repeated && self.refreshed.source.poll().is_some() {
            return;
        }
        let now = self.clock.now();
        tracing::warn!(
            provider = %self.provider,
            error = %error,
            previous_still_valid = in_use.is_some_and(|lease| !lease.has_expired(now)),
            "credential refresh failed"
        );
    }

    fn poll(&self) -> Option<Duration> {
        self.refreshed.source.poll()
    }

    async fn changed(&self, ready: bool) -> Duration {
        tokio::select! {
            () = self.refreshed.source.changed() => MIN_INTERVAL,
            // A source that refuses is not asked more often because of a rejection.
            () = self.refreshed.rejected.notified(), if ready => REJECTED_INTERVAL,
        }
    }
}

/// How long after a fetch the next one is due: `margin` before the end, but not before three
/// quarters of the time are over. Without the second rule a credential that lives shorter than the
/// margin would be fetched again at once, endlessly.
fn refresh_after(now: Timestamp, expires: Timestamp, margin: Duration) -> Duration {
    let left = until(now, expires);
    left.saturating_sub(margin.min(left / 4)).max(MIN_INTERVAL)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tokio::time::Instant;

    use super::super::scripted::{HOUR, LOCKS, Scripted, TestClock, credential};
    use super::*;
    use crate::refresh::later;

    const MINUTE: u64 = 60;

    #[test]
    fn a_credential_is_refreshed_before_its_end_and_never_in_a_storm() {
        let now = Timestamp::UNIX_EPOCH;
        for (lives, margin, want) in [
            // The usual ones: an hour with a quarter of it scripted, a day with 40 minutes.
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
        assert_eq!(refresh_after(now, past, Duration::ZERO), MIN_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_cause_one_request() {
        let scripted = Arc::new(Scripted::start(|_| Ok(HOUR)));
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let scripted = Arc::clone(&scripted);
                tokio::spawn(async move { scripted.current().await })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().as_deref(), Ok("KEY1"));
        }
        assert_eq!(scripted.asked(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_credential_callers_fail_fast_and_the_source_is_not_asked() {
        let scripted = Scripted::start(|n| if n < 4 { Err("down") } else { Ok(HOUR) });
        assert_eq!(scripted.current().await, Err(Reason::CredentialsUnavailable));
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(scripted.current().await, Err(Reason::CredentialsUnavailable));
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(scripted.asked(), 1);
        scripted.credentials.ready().await;
        assert_eq!(scripted.current().await.as_deref(), Ok("TOKEN4"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_expiry_of_the_last_credential_and_the_next_one_are_noticed() {
        let scripted = Scripted::start(|n| if n == 60 || n == 1 { Ok(HOUR) } else { Err("down") });
        scripted.credentials.ready().await;
        let began = Instant::now();
        assert!(scripted.credentials.is_usable(&*scripted.clock));
        assert_eq!(scripted.credentials.last_error(), None);
        scripted.credentials.expired(&*scripted.clock).await;
        assert_eq!(began.elapsed().as_secs(), HOUR.as_secs());
        assert!(!scripted.credentials.is_usable(&*scripted.clock));
        assert_eq!(scripted.credentials.last_error(), Some(FetchError::new("down")));
        scripted.credentials.usable(&*scripted.clock).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("TOKEN60"));
    }

    /// As after a machine slept: the time of day is past the end, the timers are not.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_finds_the_end_passed_waits_for_the_next_one() {
        #[derive(Debug)]
        struct Ahead(Arc<TestClock>);
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
        let scripted = Scripted::start(|n| Ok(HOUR * n as u32 * 3 - HOUR * 2));
        scripted.credentials.ready().await;
        let ahead = Ahead(Arc::clone(&scripted.clock));
        let next = scripted.credentials.current(&ahead).await.unwrap();
        assert_eq!(next.auth_token().unwrap().expose(), "TOKEN2");
        assert_eq!(scripted.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_credential_is_replaced_before_it_expires_without_any_caller() {
        let scripted = Scripted::start(|_| Ok(HOUR));
        scripted.credentials.ready().await;
        tokio::time::advance(Duration::from_secs(44 * 60)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("KEY1"));
        assert_eq!(scripted.asked(), 1);
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("TOKEN2"));
        assert_eq!(scripted.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_one_is_used_until_it_expires_while_the_source_fails() {
        let scripted = Scripted::start(|n| if n == 1 { Ok(HOUR) } else { Err("down") });
        scripted.credentials.ready().await;
        tokio::time::sleep(Duration::from_secs(59 * 60)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("KEY1"));
        // From minute 45 to 59, each 46 seconds once it has backed off: `chance` is 0.5.
        assert_eq!(scripted.asked(), 22);
        let text = scripted.metrics.encode(0);
        let line = r#"credential_last_refresh_success{provider="huawei-dli"} 0"#;
        assert!(text.lines().any(|found| found == line), "{text}");
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(scripted.current().await, Err(Reason::CredentialsUnavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lived_credential_makes_no_storm() {
        // Less than any margin, as a metadata service may answer near the end.
        let scripted = Scripted::start(|_| Ok(Duration::from_secs(20)));
        scripted.credentials.ready().await;
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            scripted.current().await.unwrap();
        }
        let asked = scripted.asked();
        assert!((5..=8).contains(&asked), "{asked} in 100 s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_need_not_wait() {
        let scripted = Scripted::start(|_| Ok(HOUR));
        scripted.credentials.ready().await;
        scripted.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("TOKEN2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_token_is_replaced_after_a_while_and_a_rejected_key_is_not() {
        let scripted = Scripted::start(|_| Ok(HOUR * 24));
        scripted.credentials.ready().await;
        let reject = async || {
            let credential = scripted.credentials.current(&*scripted.clock).await.unwrap();
            for _ in 0..100 {
                scripted.credentials.report_rejected(&credential);
            }
            tokio::time::sleep(REJECTED_INTERVAL + Duration::from_secs(5)).await;
            scripted.asked()
        };
        assert_eq!(reject().await, 1);
        scripted.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("TOKEN2"));
        assert_eq!(reject().await, 3);
        // The rejected credential is not in use any more.
        scripted.credentials.report_rejected(&credential(2));
        tokio::time::sleep(HOUR).await;
        assert_eq!(scripted.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_locks_is_not_asked_until_something_changes() {
        let scripted = Scripted::start(|n| if n < 3 { Err(LOCKS) } else { Ok(HOUR) });
        assert_eq!(scripted.current().await, Err(Reason::CredentialsUnavailable));
        tokio::time::sleep(HOUR / 2).await;
        assert_eq!(scripted.current().await, Err(Reason::CredentialsUnavailable));
        assert_eq!(scripted.asked(), 1);
        scripted.changed.notify_one();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(scripted.asked(), 2);
        tokio::time::sleep(HOUR).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("KEY3"));
    }
}
