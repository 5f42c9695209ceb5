//! The one task that replaces the credential that serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cache::{Cache, Phase};
use super::schedule::{RARELY, backoff, later, refresh_after, until};
use super::{Exchange, Lease, SourceError};
use crate::clock::Clock;
use crate::operation::Provider;
use crate::telemetry::Telemetry;

/// No source needs longer for all its requests together.
const LONGEST_FETCH: Duration = Duration::from_secs(30);

/// How long a token that a provider refused is asked for anew at the earliest: one that was
/// revoked costs a minute, and one that is good but not allowed to costs its service little.
const DOUBTED: Duration = Duration::from_secs(60);

/// The time of day is looked at so often while a source rests. A machine that slept wakes up
/// with timers that know nothing of it.
pub(super) const LOOK: Duration = Duration::from_secs(60);

/// The task behind [`super::Credentials::keep`].
pub(super) struct Keeper {
    pub(super) cache: Arc<Cache>,
    pub(super) provider: Provider,
    pub(super) exchange: Exchange,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) telemetry: Telemetry,
}

impl Keeper {
    pub(super) async fn run(self) {
        if let Some(first) = &*self.cache.lease.load() {
            self.telemetry.metrics().credential(self.provider).had(self.clock.now(), first.expires);
        }
        let mut failures = 0;
        let mut last_error = None;
        loop {
            self.cache.phase.send_replace(Phase::Asking);
            let asked = Instant::now();
            let fetch = self.cache.source.fetch(&self.exchange, &*self.clock);
            let result = tokio::time::timeout(LONGEST_FETCH, fetch)
                .await
                .unwrap_or_else(|_| Err(SourceError::new("the source took too long")));
            let rest = match result {
                Ok(lease) => {
                    failures = 0;
                    // Whatever was doubted by now is not what this answer holds.
                    tokio::select! {
                        biased;
                        () = self.cache.doubted.notified() => {}
                        () = std::future::ready(()) => {}
                    }
                    if last_error.take().is_some() {
                        tracing::info!(provider = %self.provider, "the source of credentials recovered");
                    }
                    self.accept(lease)
                }
                Err(error) => {
                    failures += 1;
                    self.fail(&error, last_error.as_ref() == Some(&error));
                    last_error = Some(error.clone());
                    let rest = self.cache.source.poll().or(error.rest());
                    self.cache.phase.send_replace(Phase::Failed(error));
                    rest.unwrap_or_else(|| backoff(failures, self.clock.chance()))
                }
            };
            self.rest(asked, rest, failures == 0).await;
        }
    }

    /// Puts a credential to use, and says how long it is good for.
    fn accept(&self, lease: Lease) -> Duration {
        let now = self.clock.now();
        let rest = match (self.cache.source.poll(), lease.expires) {
            (Some(poll), _) => poll,
            (None, Some(expires)) => refresh_after(now, expires, self.cache.source.margin()),
            (None, None) => LOOK,
        };
        let metrics = self.telemetry.metrics().credential(self.provider);
        let old = self.cache.lease.load_full();
        let same = old.as_ref().is_some_and(|old| old.credential == lease.credential);
        if same && old.as_ref().is_some_and(|old| old.expires == lease.expires) {
            metrics.unchanged();
        } else {
            metrics.had(now, lease.expires);
            if !same {
                tracing::info!(
                    provider = %self.provider,
                    first = old.is_none(),
                    expires = lease.expires.map(tracing::field::display),
                    "another credential serves"
                );
            }
            self.cache.lease.store(Some(Arc::new(lease)));
        }
        self.cache.phase.send_replace(Phase::Had);
        rest
    }

    fn fail(&self, error: &SourceError, again: bool) {
        self.telemetry.metrics().credential(self.provider).failed();
        // A file that stays bad is looked at every few seconds, and told of once.
        if again && self.cache.source.poll().is_some() {
            return;
        }
        let now = self.clock.now();
        let lease = self.cache.lease.load();
        let serves = lease.as_ref().is_some_and(|lease| !lease.has_ended(now));
        tracing::warn!(
            provider = %self.provider,
            error = %error,
            old_one_serves = serves,
            "no new credential can be had"
        );
    }

    /// Waits until the source should be asked again.
    async fn rest(&self, asked: Instant, rest: Duration, answered: bool) {
        let due = later(self.clock.now(), rest);
        let mut changed = self.cache.source.changed();
        loop {
            let left = until(self.clock.now(), due);
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => {}
                () = self.cache.reload.notified() => return,
                () = &mut changed => return self.pause(asked + RARELY).await,
                // Callers must not make a source be asked in a storm.
                () = self.cache.wanted.notified() => return self.pause(asked + RARELY).await,
                // A source that refuses is not asked more often for that.
                () = self.cache.doubted.notified(), if answered => {
                    return self.pause(asked + DOUBTED).await;
                }
            }
        }
    }

    /// Waits until then, or for the operator.
    async fn pause(&self, end: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(end) => {}
            () = self.cache.reload.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{HOUR, Kept, LOCKS, credential};
    use super::*;
    use crate::failure::Failure;

    #[tokio::test(start_paused = true)]
    async fn a_credential_is_replaced_before_its_end_without_any_caller() {
        let kept = Kept::new(|_| Ok(HOUR));
        kept.credentials.ready().await;
        tokio::time::advance(Duration::from_secs(44 * 60)).await;
        assert_eq!(kept.current().await.as_deref(), Ok("KEY1"));
        assert_eq!(kept.asked(), 1);
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(kept.current().await.as_deref(), Ok("TOKEN2"));
        assert_eq!(kept.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_one_serves_until_its_end_while_the_source_fails() {
        let kept = Kept::new(|n| if n == 1 { Ok(HOUR) } else { Err("down") });
        kept.credentials.ready().await;
        tokio::time::sleep(Duration::from_secs(59 * 60)).await;
        assert_eq!(kept.current().await.as_deref(), Ok("KEY1"));
        // From minute 45 to 59, each 46 seconds once it has backed off: `chance` is 0.5.
        assert_eq!(kept.asked(), 22);
        let text = kept.telemetry.metrics().encode(0);
        let line = r#"credential_last_refresh_success{provider="huawei-dli"} 0"#;
        assert!(text.lines().any(|found| found == line), "{text}");
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(kept.current().await, Err(Failure::CredentialsUnavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_lived_credential_makes_no_storm() {
        // Less than any margin, as a metadata service may answer near the end.
        let kept = Kept::new(|_| Ok(Duration::from_secs(20)));
        kept.credentials.ready().await;
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            kept.current().await.unwrap();
        }
        let asked = kept.asked();
        assert!((5..=8).contains(&asked), "{asked} in 100 s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_need_not_wait() {
        let kept = Kept::new(|_| Ok(HOUR));
        kept.credentials.ready().await;
        kept.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(kept.current().await.as_deref(), Ok("TOKEN2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_refused_is_replaced_after_a_while_and_a_key_is_not() {
        let kept = Kept::new(|_| Ok(HOUR * 24));
        kept.credentials.ready().await;
        let doubt = async || {
            let credential = kept.credentials.current(&*kept.clock).await.unwrap();
            for _ in 0..100 {
                kept.credentials.doubt(&credential);
            }
            tokio::time::sleep(DOUBTED + Duration::from_secs(5)).await;
            kept.asked()
        };
        assert_eq!(doubt().await, 1);
        kept.credentials.reload();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(kept.current().await.as_deref(), Ok("TOKEN2"));
        assert_eq!(doubt().await, 3);
        // What was refused is no longer what serves.
        kept.credentials.doubt(&credential(2));
        tokio::time::sleep(HOUR).await;
        assert_eq!(kept.asked(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_locks_is_left_alone_until_something_changes() {
        let kept = Kept::new(|n| if n < 3 { Err(LOCKS) } else { Ok(HOUR) });
        assert_eq!(kept.current().await, Err(Failure::CredentialsUnavailable));
        tokio::time::sleep(HOUR / 2).await;
        assert_eq!(kept.current().await, Err(Failure::CredentialsUnavailable));
        assert_eq!(kept.asked(), 1);
        kept.changed.notify_one();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(kept.asked(), 2);
        tokio::time::sleep(HOUR).await;
        assert_eq!(kept.current().await.as_deref(), Ok("KEY3"));
    }
}
