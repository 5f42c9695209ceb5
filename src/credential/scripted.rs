#![cfg(test)]
//! A scripted credential source for tests with paused time.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{
    Changed, Credential, CredentialMetrics, Credentials, Fetch, Lease, Source, SourceClient,
};
use crate::clock::Clock;
use crate::providers::huawei::HUAWEI;
use crate::refresh::{FetchError, later};
use crate::rpc::reason::Reason;
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::tls::Trust;
use crate::transport::{ClientOptions, Pool};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

const START: &str = "2026-01-15T08:30:00Z";

/// A clock that follows tokio's time, which tests can pause and advance.
#[derive(Debug)]
pub(super) struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        later(START.parse().unwrap(), self.0.elapsed())
    }

    fn nonce(&self) -> [u8; 16] {
        [0; 16]
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

type Answers = dyn Fn(usize) -> Result<Duration, &'static str> + Send + Sync;

/// Returns, after a second, a numbered credential of this lifetime.
struct ScriptedSource {
    answers: Box<Answers>,
    asked: Arc<Mutex<Vec<Timestamp>>>,
    changed: Arc<Notify>,
    is_new: Arc<AtomicBool>,
}

impl fmt::Debug for ScriptedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedSource")
    }
}

pub(super) fn credential(n: usize) -> Credential {
    match n % 2 {
        0 => Credential::token(Secret::new(format!("TOKEN{n}"))).unwrap(),
        _ => Credential::new(format!("KEY{n}"), Secret::new("exampleSecret"), None).unwrap(),
    }
}

impl Source for ScriptedSource {
    fn fetch<'a>(&'a self, _: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async move {
            let n = {
                let mut asked = self.asked.lock().unwrap();
                asked.push(clock.now());
                asked.len()
            };
            tokio::time::sleep(Duration::from_secs(1)).await;
            let lives = (self.answers)(n).map_err(|text| match text {
                LOCKS => FetchError::new(text).with_retry_after(HOUR),
                _ => FetchError::new(text),
            })?;
            Ok(Lease::until(credential(n), later(clock.now(), lives)))
        })
    }

    fn changed(&self) -> Changed<'_> {
        Box::pin(self.changed.notified())
    }

    fn has_changed(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.is_new.load(Ordering::Relaxed) })
    }
}

/// The error of a source that locks a user after too many failures.
pub(super) const LOCKS: &str = "refused";

pub(super) struct Scripted {
    pub(super) credentials: Credentials,
    pub(super) clock: Arc<TestClock>,
    asked: Arc<Mutex<Vec<Timestamp>>>,
    pub(super) changed: Arc<Notify>,
    pub(super) is_new: Arc<AtomicBool>,
    pub(super) metrics: Metrics,
}

impl Scripted {
    pub(super) fn start(
        answers: impl Fn(usize) -> Result<Duration, &'static str> + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::default();
        let changed = Arc::<Notify>::default();
        let is_new = Arc::<AtomicBool>::default();
        let (asked_too, changed_too) = (Arc::clone(&asked), Arc::clone(&changed));
        let answers = Box::new(answers);
        let source = ScriptedSource {
            answers,
            asked: asked_too,
            changed: changed_too,
            is_new: Arc::clone(&is_new),
        };
        let clock = Arc::new(TestClock(Instant::now()));
        let metrics = Metrics::new(&[]);
        let credentials = Credentials::refreshed(source, None);
        let client = Pool::new(&ClientOptions {
            connect_timeout: Duration::from_secs(1),
            max_idle: 1,
            trust: Trust::nothing().unwrap(),
            proxy: None,
        });
        let client = SourceClient::new(client.clone(), client);
        let credential_metrics =
            CredentialMetrics::register(&metrics, [&HUAWEI].into_iter()).remove(0);
        let running = credentials.clone().run(&HUAWEI, client, clock.clone(), credential_metrics);
        tokio::spawn(running);
        Self { credentials, clock, asked, changed, is_new, metrics }
    }

    pub(super) async fn current(&self) -> Result<String, Reason> {
        let credential = self.credentials.current(&*self.clock).await;
        credential
            .map(|credential| match credential.auth_token() {
                Some(token) => token.expose().to_owned(),
                None => credential.access_key().unwrap().id().to_owned(),
            })
            .map_err(|error| error.reason())
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}
