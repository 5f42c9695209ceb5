//! A source that answers as a test says, and credentials that are kept from it in turned time.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::schedule::later;
use super::{Changed, Credential, Credentials, Exchange, Fetch, Lease, Source, SourceError};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::operation::Provider;
use crate::secret::Secret;
use crate::telemetry::{LogFormat, LogLevel, LogSink, Telemetry};
use crate::upstream::{Client, ClientOptions, Trust};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

const START: &str = "2026-01-15T08:30:00Z";

/// A clock that goes with tokio's time, which tests turn.
#[derive(Debug)]
pub(super) struct Turned(Instant);

impl Clock for Turned {
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
pub(super) fn credential(n: usize) -> Credential {
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
pub(super) const LOCKS: &str = "refused";

/// What a test holds of credentials that are kept from a scripted source.
pub(super) struct Kept {
    pub(super) credentials: Credentials,
    pub(super) clock: Arc<Turned>,
    asked: Arc<Mutex<Vec<Timestamp>>>,
    pub(super) changed: Arc<Notify>,
    pub(super) telemetry: Telemetry,
}

impl Kept {
    pub(super) fn new(
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

    pub(super) async fn current(&self) -> Result<String, Failure> {
        let credential = self.credentials.current(&*self.clock).await;
        credential
            .map(|credential| match credential.auth_token() {
                Some(token) => token.expose().to_owned(),
                None => credential.access_key().unwrap().id().to_owned(),
            })
            .map_err(|error| error.failure())
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}
