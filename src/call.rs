//! One RPC on its way through the gateway: how long it may take, and what is known of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::failure::{Failure, Outcome};
use crate::telemetry::Trace;
use crate::upstream::Sent;

/// One RPC: its bounds, and the record that its log line and metrics are written from.
///
/// Clones share everything: the handler and the task that outlives a cancelled handler see
/// the same call.
#[derive(Debug, Clone)]
pub struct Call(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deadline: Deadline,
    /// Ends the call when the process must go.
    stop: CancellationToken,
    sent: Sent,
    attempts: AtomicU32,
    http_status: AtomicU16,
    ended: Mutex<Ended>,
    peer: Option<SocketAddr>,
    trace: Option<Trace>,
}

/// How a call ended, as far as its record needs it.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Whether the job may have been changed although it failed.
    pub outcome: Option<Outcome>,
    /// The provider's own code.
    pub provider_code: Option<String>,
    /// The provider's id of the request.
    pub provider_request_id: Option<String>,
}

impl Call {
    /// A call that begins now.
    pub fn new(
        deadline: Deadline,
        stop: CancellationToken,
        peer: Option<SocketAddr>,
        trace: Option<Trace>,
    ) -> Self {
        Self(Arc::new(Inner {
            deadline,
            stop,
            sent: Sent::default(),
            attempts: AtomicU32::new(0),
            http_status: AtomicU16::new(0),
            ended: Mutex::default(),
            peer,
            trace,
        }))
    }

    /// When it must have been answered.
    pub fn deadline(&self) -> Deadline {
        self.0.deadline
    }

    /// Whether any byte of the current attempt may have left.
    pub fn sent(&self) -> &Sent {
        &self.0.sent
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> u32 {
        self.0.attempts.load(Ordering::Relaxed)
    }

    /// The HTTP status of the last answer, if there was one.
    pub fn http_status(&self) -> Option<u16> {
        Some(self.0.http_status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// The caller's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// The trace that it belongs to, if anybody traces it.
    pub fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// How it ended, as far as that is known by now.
    pub fn ended(&self) -> Ended {
        self.lock().clone()
    }

    /// Why it failed, as far as that is known by now.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure
    }

    pub(crate) fn begin_attempt(&self) {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        self.0.http_status.store(0, Ordering::Relaxed);
    }

    pub(crate) fn note_http_status(&self, status: u16) {
        self.0.http_status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn note_retry(&self, error: &Error, wait: Duration) {
        tracing::debug!(
            provider = error.provider().map(tracing::field::display),
            reason = error.failure().row().reason,
            attempts = self.attempts(),
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "trying again"
        );
    }

    pub(crate) fn note_success(&self, provider_request_id: &str) {
        self.lock().provider_request_id = Some(provider_request_id.to_owned());
    }

    pub(crate) fn note_failure(&self, error: &Error) {
        let fault = error.fault();
        *self.lock() = Ended {
            failure: Some(error.failure()),
            outcome: error.outcome(),
            provider_code: fault.code.clone(),
            provider_request_id: fault.request_id.clone(),
        };
    }

    /// Runs this until it is done, the deadline passes or the process must go. It is pinned
    /// where the caller has it: a future that is handed on is copied, and kept room for, twice.
    ///
    /// # Errors
    /// Its own, or [`Failure::DeadlineExceeded`] or [`Failure::Draining`].
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
            () = tokio::time::sleep_until(self.0.deadline.instant()) => Err(deadline_exceeded()),
            () = self.0.stop.cancelled() => {
                Err(Error::new(Failure::Draining, "the gateway is shutting down"))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        // A panic elsewhere leaves a record that is still good to read.
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn deadline_exceeded() -> Error {
    Error::new(Failure::DeadlineExceeded, "the deadline passed before the provider answered")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn call(timeout: Duration) -> (Call, CancellationToken) {
        let stop = CancellationToken::new();
        (Call::new(Deadline::after(timeout), stop.clone(), None, None), stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_with_its_deadline() {
        let (call, _stop) = call(Duration::from_secs(1));
        let began = tokio::time::Instant::now();
        let result = call.bound(pin!(std::future::pending::<Result<(), Error>>())).await;
        assert_eq!(result.map_err(|e| e.failure()), Err(Failure::DeadlineExceeded));
        assert_eq!(began.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_deadline_starts_nothing() {
        let (call, _stop) = call(Duration::ZERO);
        let mut started = false;
        let result = call
            .bound(pin!(async {
                started = true;
                Ok(())
            }))
            .await;
        assert_eq!(result.map_err(|e| e.failure()), Err(Failure::DeadlineExceeded));
        assert!(!started);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_when_the_process_must_go() {
        let (call, stop) = call(Duration::from_secs(1));
        stop.cancel();
        let result = call.bound(pin!(std::future::pending::<Result<(), Error>>())).await;
        assert_eq!(result.map_err(|e| e.failure()), Err(Failure::Draining));
    }
}
