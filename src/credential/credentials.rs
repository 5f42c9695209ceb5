//! The current credential.
//!
//! Calls never use a source directly. One background task fetches for all of them, and a call waits
//! only if there is no credential at all.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::metrics::CredentialMetrics;
use super::{Credential, Fetch, Lease, Source, SourceClient};
use crate::clock::Clock;
use crate::refresh::{
    CLOCK_CHECK, FetchError, MIN_INTERVAL, Refresh, Upkeep, reload_outcome, until,
};
use crate::rpc::Error;
use crate::rpc::operation::Provider;
use crate::rpc::reason::Reason;

/// Minimum time between fetches caused by rejected tokens. A token that lacks a permission is
/// valid, and must not cause many fetches.
const REJECTED_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum time between fetches.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The credentials for requests to one provider.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Refreshed>, Arc<str>);

#[derive(Debug)]
struct Refreshed {
    source: Box<dyn Source>,
    refresh: Refresh<Lease>,
    rejected: Notify,
}

impl Credentials {
    /// A credential that never changes.
    pub fn fixed(credential: Credential) -> Self {
        let lease = Lease::open(credential);
        Self::refreshed(Fixed(lease.clone()), Some(lease))
    }

    /// Credentials of a source, refreshed by [`Credentials::run`]. `first` is used until the first
    /// fetch is done.
    pub fn refreshed(source: impl Source, first: Option<Lease>) -> Self {
        let refreshed = Refreshed {
            source: Box::new(source),
            refresh: Refresh::new(first),
            rejected: Notify::new(),
        };
        Self(Arc::new(refreshed), "".into())
    }

    /// The same with the name of their source, such as `env` or `dir:/path`.
    #[must_use]
    pub(crate) fn of_source(self, name: &str) -> Self {
        Self(self.0, name.into())
    }

    /// The name of their source; empty if they have been made without an option.
    pub(crate) fn source_name(&self) -> &str {
        &self.1
    }

    /// When the current credential expires, if that is known.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        self.0.refresh.map(|lease| lease.expires).flatten()
    }

    /// The credential for the next request. Waits only if there is none and a fetch is in progress.
    pub(crate) async fn current(&self, clock: &dyn Clock) -> Result<Arc<Credential>, Error> {
        match self.usable_now(clock) {
            Some(credential) => Ok(credential),
            None => self.0.refresh.wait(|lease| lease.usable(clock)).await.map_err(|why| {
                let text = format!("no credential is available: {why}");
                Error::new(Reason::CredentialsUnavailable, text)
            }),
        }
    }

    /// Returns once there has been a credential.
    pub(crate) async fn ready(&self) {
        self.0.refresh.until(|_| true).await;
    }

    pub(crate) fn reload(&self) {
        self.0.refresh.reload();
    }

    /// Reports that the provider rejected this credential. If it is the current token, its source
    /// is asked for a new one: tokens can become invalid before they expire, for example after a
    /// password change.
    ///
    /// Only for tokens: a signature can be rejected for other reasons, and a key that is rejected
    /// too often is locked.
    pub(crate) fn report_rejected(&self, credential: &Credential) {
        if credential.auth_token().is_some()
            && self.0.refresh.map(|lease| *lease.credential == *credential) == Some(true)
        {
            self.0.rejected.notify_one();
        }
    }

    pub(crate) fn is_usable(&self, clock: &dyn Clock) -> bool {
        self.usable_now(clock).is_some()
    }

    pub(crate) fn last_error(&self) -> Option<FetchError> {
        self.0.refresh.last_error()
    }

    /// Returns once the credential has expired and there is no new one.
    pub(crate) async fn expired(&self, clock: &dyn Clock) {
        loop {
            let left = self.expires().map(|expires| until(clock.now(), expires));
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            let limit = left.unwrap_or(CLOCK_CHECK).min(CLOCK_CHECK);
            self.0.refresh.changed_within(limit).await;
        }
    }

    /// Returns once there is a valid credential.
    pub(crate) async fn usable(&self, clock: &dyn Clock) {
        self.0.refresh.until(|lease| lease.usable(clock).is_some()).await;
    }

    /// Returns once a credential other than `old` is current.
    pub(crate) async fn replaced(&self, old: Option<&Credential>) {
        self.0.refresh.until(|lease| Some(&*lease.credential) != old).await;
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.source.is_tls()
    }

    /// Refreshes the credential until dropped. Exactly one task must run this.
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

/// The source of a credential that never changes.
#[derive(Debug)]
struct Fixed(Lease);

impl Source for Fixed {
    fn fetch<'a>(&'a self, _: &'a SourceClient, _: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

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
        // Drops rejections of the previous credential.
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
                if self.is_new(lease, old) {
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
        // An invalid file is read every few seconds, but logged once.
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

    async fn may_reload(&self, ready: bool) -> bool {
        ready || self.poll().is_some() || self.refreshed.source.has_changed().await
    }

    fn is_new(&self, new: &Lease, old: Option<&Lease>) -> bool {
        old.is_none_or(|old| old.credential != new.credential)
    }

    fn reloaded(&self, changed: Option<bool>) {
        let outcome = reload_outcome(changed);
        tracing::info!(provider = %self.provider, outcome, "reload of credential");
    }

    fn reload_refused(&self, left: Duration) {
        tracing::info!(
            provider = %self.provider,
            next_in = ?Duration::from_secs(left.as_secs()),
            "not reloaded: the credential source is asked again after its wait"
        );
    }

    async fn changed(&self, ready: bool) -> Duration {
        tokio::select! {
            () = self.refreshed.source.changed() => MIN_INTERVAL,
            // After a failed fetch rejections do not cause more fetches.
            () = self.refreshed.rejected.notified(), if ready => REJECTED_INTERVAL,
        }
    }
}

/// The time from a fetch to the next: until `margin` before expiry, but at least three quarters of
/// the lifetime, and at most a day, because a credential without an end may be replaced. Otherwise a credential with a lifetime shorter than the margin would be fetched in
/// a loop.
fn refresh_after(now: Timestamp, expires: Timestamp, margin: Duration) -> Duration {
    let left = until(now, expires);
    left.saturating_sub(margin.min(left / 4)).clamp(MIN_INTERVAL, LONGEST_INTERVAL)
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
    fn a_credential_is_refreshed_before_it_expires_but_not_in_a_loop() {
        let now = Timestamp::UNIX_EPOCH;
        for (lives, margin, want) in [
            // The usual ones: an hour with a margin of a quarter, a day with 40 minutes.
            (60 * MINUTE, 15 * MINUTE, 45 * MINUTE),
            (24 * 60 * MINUTE, 40 * MINUTE, 24 * 60 * MINUTE - 40 * MINUTE),
            // Shorter than the margin.
            (30 * MINUTE, 40 * MINUTE, 22 * MINUTE + 30),
            (60, 15 * MINUTE, 45),
            // Good without an end.
            (9999 * 24 * 60 * MINUTE, 15 * MINUTE, 24 * 60 * MINUTE),
            // Almost expired, or expired.
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
    async fn a_hundred_callers_cause_one_fetch() {
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
    async fn without_a_credential_callers_fail_fast_without_a_fetch() {
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
    async fn expiry_and_a_new_credential_are_noticed() {
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

    /// As after a suspended machine resumes: the wall clock is past the expiry, but no timer has
    /// fired.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_finds_an_expired_credential_waits_for_the_next_one() {
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
    async fn the_previous_credential_is_used_until_it_expires() {
        let scripted = Scripted::start(|n| if n == 1 { Ok(HOUR) } else { Err("down") });
        scripted.credentials.ready().await;
        tokio::time::sleep(Duration::from_secs(59 * 60)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("KEY1"));
        // From minute 45 to 59, every 46 seconds after backing off: `chance` is 0.5.
        assert_eq!(scripted.asked(), 22);
        let text = scripted.metrics.encode(0, crate::telemetry::Exposition::OpenMetrics);
        let line = r#"savepoint_gateway_credential_last_refresh_success{provider="huawei-dli"} 0"#;
        assert!(text.lines().any(|found| found == line), "{text}");
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(scripted.current().await, Err(Reason::CredentialsUnavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lived_credential_is_not_fetched_in_a_loop() {
        // Shorter than any margin, as from a metadata service shortly before expiry.
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
    async fn a_reload_fetches_at_once() {
        let scripted = Scripted::start(|_| Ok(HOUR));
        scripted.credentials.ready().await;
        scripted.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scripted.current().await.as_deref(), Ok("TOKEN2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_reloads_is_a_fetch_every_few_seconds() {
        let scripted = Scripted::start(|_| Ok(HOUR));
        scripted.credentials.ready().await;
        for _ in 0..1000 {
            scripted.credentials.reload();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // One at once, and one for each interval of the 20 s.
        let asked = scripted.asked() - 1;
        assert!((4..=5).contains(&asked), "{asked} in 20 s");
        // The last request is not lost.
        tokio::time::sleep(MIN_INTERVAL * 2).await;
        let asked = scripted.asked();
        tokio::time::sleep(HOUR / 4).await;
        assert_eq!(scripted.asked(), asked);
    }

    #[tokio::test(start_paused = true)]
    async fn no_reload_and_no_caller_shortens_the_wait_after_a_failure() {
        let scripted = Scripted::start(|n| if n == 2 { Err(LOCKS) } else { Ok(HOUR) });
        scripted.credentials.ready().await;
        scripted.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scripted.asked(), 2);
        for _ in 0..1000 {
            scripted.credentials.reload();
            scripted.current().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(scripted.asked(), 2);
        // What it would send is new: the reload is not in vain.
        scripted.is_new.store(true, std::sync::atomic::Ordering::Relaxed);
        scripted.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scripted.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_rejected_token_is_replaced() {
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
        // The rejected credential is no longer current.
        scripted.credentials.report_rejected(&credential(2));
        tokio::time::sleep(HOUR).await;
        assert_eq!(scripted.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_locks_users_is_not_used_until_something_changes() {
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
