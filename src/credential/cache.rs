//! The credential that serves, and the one task that replaces it.
//!
//! Callers never ask a source themselves: one keeper does, in the background, so that any
//! number of callers costs one request, and a caller waits only while there is no credential
//! at all.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::schedule::{RARELY, backoff, later, refresh_after, until};
use super::{Credential, Exchange, SourceError};
use crate::clock::{Clock, random};
use crate::error::Error;
use crate::failure::Failure;
use crate::operation::Provider;
use crate::telemetry::Telemetry;

/// Before most temporary credentials of an hour end, that is after three quarters of them.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// No source needs longer for all its requests together.
const LONGEST_FETCH: Duration = Duration::from_secs(30);

/// How long a token that a provider refused is asked for anew at the earliest: one that was
/// revoked costs a minute, and one that is good but not allowed to costs its service little.
const DOUBTED: Duration = Duration::from_secs(60);

/// The time of day is looked at so often while a source rests. A machine that slept wakes up
/// with timers that know nothing of it.
const LOOK: Duration = Duration::from_secs(60);

/// A credential, and how long it may be used.
#[derive(Debug, Clone)]
pub struct Lease {
    credential: Arc<Credential>,
    expires: Option<Timestamp>,
}

impl Lease {
    /// A credential without an end that is known.
    pub fn open(credential: Credential) -> Self {
        Self { credential: Arc::new(credential), expires: None }
    }

    /// A credential that ends at this time.
    pub fn until(credential: Credential, expires: Timestamp) -> Self {
        Self { credential: Arc::new(credential), expires: Some(expires) }
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a source is doing to get a credential.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Lease, SourceError>> + Send + 'a>>;

/// Waiting for something that a source depends on to be another.
pub type Changed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where credentials come from.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Gets a credential.
    fn fetch<'a>(&'a self, exchange: &'a Exchange, clock: &'a dyn Clock) -> Fetch<'a>;

    /// How long before its end a credential is replaced, if it lives long enough for that.
    fn margin(&self) -> Duration {
        MARGIN
    }

    /// How often to look whether there is another credential, for sources that cost nothing
    /// to ask and cannot tell when theirs ends.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// Returns when asking again is worthwhile although it is not yet time for it: something
    /// that the last answer depended on has changed.
    fn changed(&self) -> Changed<'_> {
        Box::pin(std::future::pending())
    }

    /// Whether it is reached over TLS.
    fn is_tls(&self) -> bool {
        false
    }
}

/// Where the requests to one provider get their credential from.
#[derive(Debug, Clone)]
pub struct Credentials(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Fixed(Arc<Credential>),
    Cached(Arc<Cache>),
}

#[derive(Debug)]
struct Cache {
    source: Box<dyn Source>,
    lease: ArcSwapOption<Lease>,
    phase: watch::Sender<Phase>,
    /// Somebody found no credential that lasts.
    wanted: Notify,
    /// The operator says that there is another one.
    reload: Notify,
    /// A provider refused the one that serves.
    doubted: Notify,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
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

/// The task behind [`Credentials::keep`].
struct Keeper {
    cache: Arc<Cache>,
    provider: Provider,
    exchange: Exchange,
    clock: Arc<dyn Clock>,
    telemetry: Telemetry,
}

impl Keeper {
    async fn run(self) {
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
                    let chance = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
                    let rest = self.cache.source.poll().or(error.rest());
                    self.cache.phase.send_replace(Phase::Failed(error));
                    rest.unwrap_or_else(|| backoff(failures, chance))
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
    use std::sync::Mutex;

    use super::*;
    use crate::secret::Secret;
    use crate::telemetry::{LogFormat, LogLevel, LogSink};
    use crate::upstream::{Client, ClientOptions, Trust};

    const START: &str = "2026-01-15T08:30:00Z";

    /// A clock that goes with tokio's time, which tests turn.
    #[derive(Debug)]
    struct Turned(Instant);

    impl Clock for Turned {
        fn now(&self) -> Timestamp {
            later(START.parse().unwrap(), self.0.elapsed())
        }

        fn nonce(&self) -> [u8; 16] {
            [0; 16]
        }
    }

    type Answers = dyn Fn(usize) -> Result<Duration, &'static str> + Send + Sync;

    /// Answers, after a second, with a credential of this length of life and of a name that
    /// counts.
    struct Scripted {
        answers: Box<Answers>,
        asked: Arc<Mutex<Vec<Timestamp>>>,
        changed: Arc<Notify>,
    }

    impl fmt::Debug for Scripted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Scripted")
        }
    }

    /// Keys and tokens take turns.
    fn credential(n: usize) -> Credential {
        match n % 2 {
            0 => Credential::token(Secret::new(format!("TOKEN{n}"))).unwrap(),
            _ => Credential::new(format!("KEY{n}"), Secret::new("exampleSecret"), None).unwrap(),
        }
    }

    impl Source for Scripted {
        fn fetch<'a>(&'a self, _: &'a Exchange, clock: &'a dyn Clock) -> Fetch<'a> {
            Box::pin(async move {
                let n = {
                    let mut asked = self.asked.lock().unwrap();
                    asked.push(clock.now());
                    asked.len()
                };
                tokio::time::sleep(Duration::from_secs(1)).await;
                let lives = (self.answers)(n).map_err(|text| match text {
                    LOCKS => SourceError::new(text).leave_alone(HOUR),
                    _ => SourceError::new(text),
                })?;
                Ok(Lease::until(credential(n), later(clock.now(), lives)))
            })
        }

        fn changed(&self) -> Changed<'_> {
            Box::pin(self.changed.notified())
        }
    }

    /// What a source says that locks whom it refuses too often.
    const LOCKS: &str = "refused";

    struct Kept {
        credentials: Credentials,
        clock: Arc<Turned>,
        asked: Arc<Mutex<Vec<Timestamp>>>,
        changed: Arc<Notify>,
        telemetry: Telemetry,
    }

    impl Kept {
        fn new(
            answers: impl Fn(usize) -> Result<Duration, &'static str> + Send + Sync + 'static,
        ) -> Self {
            let asked = Arc::default();
            let changed = Arc::<Notify>::default();
            let (asked_too, changed_too) = (Arc::clone(&asked), Arc::clone(&changed));
            let answers = Box::new(answers);
            let source = Scripted { answers, asked: asked_too, changed: changed_too };
            let clock = Arc::new(Turned(Instant::now()));
            let sink = LogSink::new(std::io::sink(), LogFormat::Json, LogLevel::Off).unwrap();
            let telemetry = Telemetry::new(sink);
            let credentials = Credentials::cached(source, None);
            let client = Client::new(&ClientOptions {
                connect_timeout: Duration::from_secs(1),
                max_idle: 1,
                trust: Trust::nothing().unwrap(),
                proxy: None,
            })
            .unwrap();
            let exchange = Exchange::new(client.clone(), client);
            let keeping = credentials.clone().keep(
                Provider::HuaweiDli,
                exchange,
                clock.clone(),
                telemetry.clone(),
            );
            tokio::spawn(keeping);
            Self { credentials, clock, asked, changed, telemetry }
        }

        async fn current(&self) -> Result<String, Failure> {
            let credential = self.credentials.current(&*self.clock).await;
            credential
                .map(|credential| match credential.auth_token() {
                    Some(token) => token.expose().to_owned(),
                    None => credential.access_key().unwrap().id().to_owned(),
                })
                .map_err(|error| error.failure())
        }

        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

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
        // From minute 45 to 59, at most each 30 seconds once it has backed off.
        assert!((10..=40).contains(&kept.asked()), "{}", kept.asked());
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
        }
        let kept = Kept::new(|n| Ok(HOUR * n as u32 * 3 - HOUR * 2));
        kept.credentials.ready().await;
        let ahead = Ahead(Arc::clone(&kept.clock));
        let next = kept.credentials.current(&ahead).await.unwrap();
        assert_eq!(next.auth_token().unwrap().expose(), "TOKEN2");
        assert_eq!(kept.asked(), 2);
    }
}
