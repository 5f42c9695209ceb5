//! One RPC: its time limits, and what is known about it.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio_util::sync::CancellationToken;

use crate::caller::{Caller, Peer};
use crate::policy::{Access, Scope};
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
    /// Attempts of the current REST call, and of those before it.
    attempts: AtomicU32,
    earlier: AtomicU32,
    http_status: AtomicU16,
    /// The host that the attempts go to.
    endpoint: OnceLock<HeaderValue>,
    /// What the call is about to change.
    target: OnceLock<Target>,
    /// Messages of a stream, and the polls that were made for it.
    messages: AtomicU32,
    polls: AtomicU32,
    ended: Mutex<Ended>,
    peer: Peer,
    /// Who calls; none for the gateway's own polls.
    caller: Option<Caller>,
    /// What the policy says, if there is one.
    access: Option<Access>,
    trace: Option<Trace>,
}

/// What a call changes, by ids that were found valid, so that it can be found at the provider.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) project_id: Option<String>,
    pub(crate) job_id: Option<String>,
    pub(crate) workspace: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) deployment_id: Option<String>,
    pub(crate) cluster: Option<String>,
}

/// How a call ended, for its record.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// What went wrong, in the gateway's own words.
    pub(crate) error: Option<String>,
    /// The invalid fields of the request.
    pub(crate) fields: Vec<&'static str>,
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
        Self::judged(operation, deadline, stop, peer, trace, None)
    }

    /// A call that belongs to no caller.
    pub(crate) fn internal(operation: &'static Operation, deadline: Deadline) -> Self {
        let (stop, peer) = (CancellationToken::new(), Peer::default());
        let mut call = Self::new(Some(operation), deadline, stop, peer, None);
        if let Some(inner) = Arc::get_mut(&mut call.0) {
            inner.caller = None;
        }
        call
    }

    /// The same, under a policy.
    pub(crate) fn judged(
        operation: Option<&'static Operation>,
        deadline: Deadline,
        stop: CancellationToken,
        peer: Peer,
        trace: Option<Trace>,
        access: Option<Access>,
    ) -> Self {
        Self(Arc::new(Inner {
            operation,
            deadline,
            stop,
            write_started: WriteStarted::default(),
            attempts: AtomicU32::new(0),
            earlier: AtomicU32::new(0),
            http_status: AtomicU16::new(0),
            endpoint: OnceLock::new(),
            target: OnceLock::new(),
            messages: AtomicU32::new(0),
            polls: AtomicU32::new(0),
            ended: Mutex::default(),
            caller: Some(peer.caller.clone()),
            peer,
            access,
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

    /// Number of requests to the provider, of all REST calls.
    pub(crate) fn requests(&self) -> u32 {
        self.0.earlier.load(Ordering::Relaxed) + self.attempts()
    }

    /// The HTTP status of the last response.
    pub(crate) fn http_status(&self) -> Option<u16> {
        Some(self.0.http_status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// The host of the provider, once there was an attempt.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.get()?.to_str().ok()
    }

    /// What it changes, if it is about to change something.
    pub(crate) fn target(&self) -> Option<&Target> {
        self.0.target.get()
    }

    /// Notes what it is about to change. Only the first time counts.
    pub(crate) fn note_target(&self, target: Target) {
        // It is set already.
        let _ = self.0.target.set(target);
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Who calls; none for the gateway's own polls.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.0.caller.as_ref()
    }

    pub(crate) fn access(&self) -> Option<&Access> {
        self.0.access.as_ref()
    }

    /// Judges the call by what it is about. Every handler does so once its request is valid:
    /// [`crate::upstream::Upstream`] runs no call that was not judged.
    ///
    /// # Errors
    /// [`Reason::CallerNotAllowed`]
    pub(crate) fn judge(&self, scope: &Scope<'_>) -> Result<(), Error> {
        self.access().map_or(Ok(()), |access| access.judge(scope))
    }

    /// # Errors
    /// [`Reason::GatewayInternal`] if there is a policy and the call was not judged by it.
    pub(crate) fn must_be_judged(&self) -> Result<(), Error> {
        match self.access() {
            Some(access) if !access.is_judged() => {
                Err(Error::new(Reason::GatewayInternal, "the policy was not asked"))
            }
            _ => Ok(()),
        }
    }

    /// Its trace, if it is traced.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.0.trace.as_ref()
    }

    /// How it ended, as far as known.
    pub(crate) fn ended(&self) -> impl Deref<Target = Ended> {
        self.lock()
    }

    /// Why it failed, as far as known.
    pub fn reason(&self) -> Option<Reason> {
        self.lock().reason
    }

    /// An RPC may make several REST calls, each with its own attempts.
    pub(crate) fn begin_run(&self, endpoint: &HeaderValue) {
        self.0.earlier.fetch_add(self.0.attempts.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        // Cloning shares the text.
        self.0.endpoint.get_or_init(|| endpoint.clone());
    }

    pub(crate) fn begin_attempt(&self) {
        self.0.write_started.clear();
        self.0.http_status.store(0, Ordering::Relaxed);
    }

    /// Counts the request that an attempt is about to send. One without a credential sends none.
    pub(crate) fn note_request(&self) {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
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
            error: Some(error.own_text().to_owned()),
            fields: error.violations().iter().map(|violation| violation.field).collect(),
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
