//! One RPC: its time limits, and what is known about it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::caller::Peer;
use crate::rpc::operation::Operation;
use crate::rpc::reason::{Outcome, Reason};
use crate::rpc::{Deadline, Error};
use crate::telemetry::Trace;
use crate::transport::WriteStarted;

/// One RPC: its time limits, and the data for its log line and metrics.
///
/// Clones share all data: the handler and the task that outlives a cancelled handler use the same
/// call.
#[derive(Debug, Clone)]
pub struct Call(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    operation: Option<&'static Operation>,
    deadline: Deadline,
    /// Ends the call at the end of a drain.
    stop: CancellationToken,
    write_started: WriteStarted,
    attempts: AtomicU32,
    http_status: AtomicU16,
    /// Messages of a stream, and the polls that were made for it.
    messages: AtomicU32,
    polls: AtomicU32,
    ended: Mutex<Ended>,
    peer: Peer,
    trace: Option<Trace>,
}

/// How a call ended, for its record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    pub(crate) reason: Option<Reason>,
    /// Whether the change may have been made despite the failure.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) provider_code: Option<String>,
    pub(crate) provider_request_id: Option<String>,
}

impl Call {
    /// Starts a call; without an operation if it is not an RPC of this service.
    pub fn new(
        operation: Option<&'static Operation>,
        deadline: Deadline,
        stop: CancellationToken,
        peer: Peer,
        trace: Option<Trace>,
    ) -> Self {
        Self(Arc::new(Inner {
            operation,
            deadline,
            stop,
            write_started: WriteStarted::default(),
            attempts: AtomicU32::new(0),
            http_status: AtomicU16::new(0),
            messages: AtomicU32::new(0),
            polls: AtomicU32::new(0),
            ended: Mutex::default(),
            peer,
            trace,
        }))
    }

    /// The RPC, if it is one of this service.
    pub(crate) fn operation(&self) -> Option<&'static Operation> {
        self.0.operation
    }

    pub fn deadline(&self) -> Deadline {
        self.0.deadline
    }

    /// Whether any byte of the current attempt may have been sent.
    pub(crate) fn write_started(&self) -> &WriteStarted {
        &self.0.write_started
    }

    /// Number of attempts of the current REST call.
    pub fn attempts(&self) -> u32 {
        self.0.attempts.load(Ordering::Relaxed)
    }

    /// The HTTP status of the last response.
    pub(crate) fn http_status(&self) -> Option<u16> {
        Some(self.0.http_status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Its trace, if it is traced.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// How it ended, as far as known.
    pub(crate) fn ended(&self) -> Ended {
        self.lock().clone()
    }

    /// Why it failed, as far as known.
    pub fn reason(&self) -> Option<Reason> {
        self.lock().reason
    }

    /// An RPC may make several REST calls, each with its own attempts.
    pub(crate) fn begin_run(&self) {
        self.0.attempts.store(0, Ordering::Relaxed);
    }

    pub(crate) fn begin_attempt(&self) {
        self.0.write_started.clear();
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        self.0.http_status.store(0, Ordering::Relaxed);
    }

    pub(crate) fn note_http_status(&self, status: u16) {
        self.0.http_status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn note_message(&self) {
        self.0.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_polls(&self, polls: u64) {
        self.0.polls.store(polls.try_into().unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The number of messages and of polls of a watch so far.
    pub(crate) fn watched(&self) -> (u32, u32) {
        let load = |number: &AtomicU32| number.load(Ordering::Relaxed);
        (load(&self.0.messages), load(&self.0.polls))
    }

    pub(crate) fn note_retry(&self, error: &Error, wait: Duration) {
        tracing::debug!(
            provider = error.provider().map(tracing::field::display),
            reason = error.reason().row().name,
            attempts = self.attempts(),
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "retrying"
        );
    }

    pub(crate) fn note_success(&self, provider_request_id: Option<String>) {
        self.lock().provider_request_id = provider_request_id;
    }

    /// Records a failure, and adds the RPC to the error.
    pub(crate) fn failed(&self, error: Error) -> Error {
        let error = match self.0.operation {
            Some(operation) => error.with_operation(operation),
            None => error,
        };
        self.note_failure(&error);
        error
    }

    pub(crate) fn note_failure(&self, error: &Error) {
        let provider_error = error.provider_error();
        *self.lock() = Ended {
            reason: Some(error.reason()),
            outcome: error.outcome(),
            provider_code: provider_error.code.clone(),
            provider_request_id: provider_error.request_id.clone(),
        };
    }

    /// Runs this until it completes, the deadline passes or the drain ends. Takes a pinned
    /// reference, so that the future's state is not duplicated in this one.
    ///
    /// # Errors
    /// The future's own, [`Reason::DeadlineExceeded`] or [`Reason::Draining`].
    pub async fn bound<T>(
        &self,
        work: Pin<&mut impl Future<Output = Result<T, Error>>>,
    ) -> Result<T, Error> {
        if self.0.deadline.has_passed() {
            return Err(deadline_exceeded());
        }
        tokio::select! {
            biased;
            result = work => result,
            error = self.limit() => Err(error),
        }
    }

    /// Returns at the deadline or the end of a drain, with the error.
    pub async fn limit(&self) -> Error {
        tokio::select! {
            () = tokio::time::sleep_until(self.0.deadline.instant()) => deadline_exceeded(),
            () = self.0.stop.cancelled() => {
                Error::new(Reason::Draining, "the gateway is shutting down")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        // The data is valid even after a panic elsewhere.
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deadline_exceeded() -> Error {
    Error::new(Reason::DeadlineExceeded, "the deadline passed before the provider responded")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn call(timeout: Duration) -> (Call, CancellationToken) {
        let stop = CancellationToken::new();
        (Call::new(None, Deadline::after(timeout), stop.clone(), Peer::default(), None), stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_with_its_deadline() {
        let (call, _stop) = call(Duration::from_secs(1));
        let began = tokio::time::Instant::now();
        let result = call.bound(pin!(std::future::pending::<Result<(), Error>>())).await;
        assert_eq!(result.map_err(|e| e.reason()), Err(Reason::DeadlineExceeded));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_starts_after_the_deadline() {
        let (call, _stop) = call(Duration::ZERO);
        let mut started = false;
        let result = call
            .bound(pin!(async {
                started = true;
                Ok(())
            }))
            .await;
        assert_eq!(result.map_err(|e| e.reason()), Err(Reason::DeadlineExceeded));
        assert!(!started);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_the_end_of_a_drain() {
        let (call, stop) = call(Duration::from_secs(1));
        stop.cancel();
        let result = call.bound(pin!(std::future::pending::<Result<(), Error>>())).await;
        assert_eq!(result.map_err(|e| e.reason()), Err(Reason::Draining));
    }
}
