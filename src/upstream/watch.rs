//! Watches of savepoints: one poll for all watches of the process that have the same key.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_stream::{Stream, StreamExt as _};

use super::Upstream;
use crate::call::Call;
use crate::caller::Peer;
use crate::clock::Clock;
use crate::pb::{Savepoint, SavepointState};
use crate::policy::{Share, Shares};
use crate::rpc::operation::Operation;
use crate::rpc::reason::Reason;
use crate::rpc::{Deadline, Error};
use crate::telemetry::Telemetry;
use crate::watch::{Hub, Observed, Pacing, Source, Trouble, Watcher, run};

/// Upper limit of the waits between polls.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy)]
pub struct WatchLimits {
    /// Maximum number of watches.
    pub max_watches: usize,
    /// The same for each caller.
    pub max_watches_per_caller: Option<usize>,
    /// A watch sends a message at least this often.
    pub heartbeat: Duration,
    /// How long polls may fail before their watches end.
    pub stale_timeout: Duration,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            max_watches: 10_000,
            max_watches_per_caller: None,
            heartbeat: Duration::from_secs(30),
            stale_timeout: Duration::from_secs(5 * 60),
        }
    }
}

/// All watches of a gateway. They belong to no provider, and their polls to no caller.
#[derive(Debug)]
pub struct Watches {
    hub: Hub<(&'static str, String), Arc<Message>, Failure>,
    limits: WatchLimits,
    /// Time limit of one poll, with its retries.
    poll_timeout: Duration,
    places: Arc<Semaphore>,
    /// Watches of each caller, if they are limited.
    of_caller: Option<Arc<Shares>>,
    watches: Gauge,
    polls: Gauge,
}

impl Watches {
    pub(crate) fn new(limits: WatchLimits, poll_timeout: Duration, telemetry: &Telemetry) -> Self {
        let registry = &telemetry.metrics().registry;
        let gauge = |name, help| registry.add::<Gauge>(name, help);
        Self {
            hub: Hub::new(),
            limits,
            poll_timeout,
            places: Arc::new(Semaphore::new(limits.max_watches)),
            of_caller: limits.max_watches_per_caller.map(Shares::new),
            watches: gauge("savepoint_gateway_watches", "Watches that are open"),
            polls: gauge(
                "savepoint_gateway_watch_polls",
                "Savepoints that are polled for all their watches",
            ),
        }
    }

    /// A place for a watch, until it is dropped; none if there are too many.
    fn place(&self, peer: &Peer) -> Option<Place> {
        let share = match &self.of_caller {
            Some(of_caller) => Some(of_caller.take(&peer.caller, 1)?),
            None => None,
        };
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _share: share, _permit: permit, _counted: Counted::new(&self.watches) })
    }
}

struct Place {
    _share: Option<Share>,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Counts in a gauge until dropped.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a poll returned.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) savepoint: Savepoint,
    pub(crate) request_id: String,
}

#[derive(Debug)]
struct Message {
    seen: Seen,
    at: prost_types::Timestamp,
}

/// What a message of a watch tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    pub(crate) savepoint: &'a Savepoint,
    pub(crate) request_id: &'a str,
    /// When the response arrived.
    pub(crate) time: prost_types::Timestamp,
}

impl Message {
    fn observation(&self) -> Observation<'_> {
        let Seen { savepoint, request_id } = &self.seen;
        Observation { savepoint, request_id, time: self.at }
    }
}

impl Observed for Arc<Message> {
    fn is_same(&self, later: &Self) -> bool {
        self.seen.savepoint == later.seen.savepoint
    }

    fn is_final(&self) -> bool {
        let status = self.seen.savepoint.status.as_ref();
        let state = status.map_or(SavepointState::Unspecified, |status| status.state());
        matches!(state, SavepointState::Completed | SavepointState::Failed)
    }
}

/// Shared by all watchers that it ends.
type Failure = Arc<Error>;

impl Trouble for Failure {
    fn passes(&self) -> bool {
        self.reason().passes()
    }

    fn asked_wait(&self) -> Option<Duration> {
        self.provider_error().retry_after
    }

    fn broken() -> Self {
        Self::new(Error::new(Reason::GatewayInternal, "the poll of the watch ended unexpectedly"))
    }
}

struct Poll<A> {
    operation: &'static Operation,
    ask: A,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    _counted: Counted,
}

impl<A, F> Source for Poll<A>
where
    A: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Seen, Error>> + Send,
{
    type Value = Arc<Message>;
    type Error = Failure;

    async fn ask(&self) -> Result<Arc<Message>, Failure> {
        let deadline = Deadline::after(self.timeout);
        // It belongs to no caller: it ends when nobody watches any more.
        let call = Call::internal(self.operation, deadline);
        let seen = (self.ask)(call).await?;
        Ok(Arc::new(Message { seen, at: timestamp(self.clock.now()) }))
    }

    fn chance(&self) -> f64 {
        self.clock.chance()
    }
}

fn timestamp(time: jiff::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// One watch, as a caller reads it.
struct Watching {
    watcher: Watcher<Arc<Message>, Failure>,
    heartbeat: Duration,
    next_heartbeat: Instant,
    call: Call,
    _place: Place,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.call.note_polls(self.watcher.polls());
    }
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Arc<Message>, Error>> {
        loop {
            let message = tokio::select! {
                biased;
                next = self.watcher.next() => match next? {
                    Ok(message) => message,
                    Err(failure) => return Some(Err(Error::clone(&failure))),
                },
                () = sleep_until(self.next_heartbeat) => match self.watcher.latest() {
                    Some(message) => message,
                    None => {
                        self.next_heartbeat += self.heartbeat;
                        continue;
                    }
                },
            };
            self.next_heartbeat = Instant::now() + self.heartbeat;
            self.call.note_message();
            return Some(Ok(message));
        }
    }
}

impl Upstream {
    /// Watches what `ask` returns. Watches with the same key share the polls. `respond` makes the
    /// messages of the RPC.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] if there are too many watches.
    pub(crate) fn watch<A, F, R>(
        &self,
        operation: &'static Operation,
        key: String,
        ask: A,
        respond: fn(Observation<'_>) -> R,
        call: &Call,
    ) -> Result<impl Stream<Item = Result<R, Error>> + use<A, F, R>, Error>
    where
        A: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Seen, Error>> + Send + 'static,
    {
        call.must_be_judged()?;
        let watches = &self.watches;
        let limits = watches.limits;
        let place = watches.place(call.peer()).ok_or_else(|| {
            self.telemetry.metrics().shed(self.provider);
            let text = format!(
                "{} watches are open, or this caller has its share of them",
                limits.max_watches
            );
            Error::new(Reason::Overloaded, text).with_operation(operation)
        })?;
        let (watcher, poller) = watches.hub.join((operation.provider.name, key));
        if let Some(poller) = poller {
            let poll = Poll {
                operation,
                ask,
                timeout: watches.poll_timeout,
                clock: Arc::clone(&self.clock),
                _counted: Counted::new(&watches.polls),
            };
            let pacing = Pacing {
                // A heartbeat has a newer time only if there was a poll since the last one.
                longest_wait: LONGEST_WAIT.min(limits.heartbeat / 2),
                stale_timeout: limits.stale_timeout,
            };
            let polling: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(run(poller, poll, pacing));
            tokio::spawn(polling);
        }
        let watching = Watching {
            watcher,
            heartbeat: limits.heartbeat,
            next_heartbeat: Instant::now() + limits.heartbeat,
            call: call.clone(),
            _place: place,
        };
        let messages = unfold(watching, async |mut watching| {
            watching.next().await.map(|next| (next, watching))
        });
        Ok(messages.map(move |next| next.map(|message| respond(message.observation()))))
    }
}
