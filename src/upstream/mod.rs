//! Calling a provider: one HTTP exchange at a time, and the rules for trying again.

mod client;
mod identity;
mod pool;
mod retry;
mod trouble;

pub use client::{Client, ClientOptions, Proxy, Trust};
pub use identity::Identity;
pub use pool::Pool;
pub use retry::{Backoff, RetryBudget};

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;

use crate::call::Call;
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::failure::{Failure, Outcome};
use crate::operation::Operation;
use crate::telemetry::Telemetry;

/// A provider's answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, 1 MiB at most.
    pub body: Bytes,
    /// Whether the body arrived to its end.
    pub whole: bool,
}

impl Answer {
    /// Whether the HTTP status speaks of success, which proves none.
    pub(crate) fn is_2xx(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether any byte of a request may have left the gateway.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Notes that the request is being written.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Forgets it, before a new attempt of which nothing has left yet.
    fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether the request may have left.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all calls to one provider share, so that one provider's trouble stays its own.
#[derive(Debug)]
pub struct Limits {
    in_flight: Arc<Semaphore>,
    budget: RetryBudget,
    backoff: Backoff,
}

impl Limits {
    /// Limits for one provider: how many calls may be in flight, and how failed ones are
    /// tried again.
    pub fn new(max_in_flight: usize, backoff: Backoff) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(max_in_flight)),
            budget: RetryBudget::default(),
            backoff,
        }
    }
}

/// One provider's REST API as one worker calls it.
#[derive(Debug, Clone)]
pub struct Upstream {
    pool: Pool,
    endpoint: Endpoint,
    limits: Arc<Limits>,
    clock: Arc<dyn Clock>,
    telemetry: Telemetry,
}

impl Upstream {
    /// Puts the parts together.
    pub fn new(
        pool: Pool,
        endpoint: Endpoint,
        limits: Arc<Limits>,
        clock: Arc<dyn Clock>,
        telemetry: Telemetry,
    ) -> Self {
        Self { pool, endpoint, limits, clock, telemetry }
    }

    /// Where requests go.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The clock that requests are signed by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Sends one signed request and reads the answer whole.
    ///
    /// # Errors
    /// When there is no answer, or none that may be read.
    pub async fn send(
        &self,
        operation: Operation,
        mut request: Request<Bytes>,
        call: &Call,
    ) -> Result<Answer, Error> {
        let mut exchange = call.trace().map(|trace| {
            trace.exchange(operation, &self.endpoint, call.attempts(), call.deadline())
        });
        if let Some(exchange) = exchange.as_ref().filter(|_| self.telemetry.forwards_traces()) {
            exchange.write_to(request.headers_mut());
        }
        let mut measured = Measured::begin(&self.telemetry, operation, call);
        let result = self.pool.send(request, call.sent()).await;
        let (status, error_type) = match &result {
            Ok(answer) => {
                call.note_http_status(answer.status);
                (Some(answer.status), "")
            }
            Err(error) => (None, error.failure().row().reason),
        };
        measured.end(status, error_type);
        if let Some(exchange) = &mut exchange {
            exchange.ended(status.ok_or(error_type));
        }
        result
    }

    /// Runs attempts until one succeeds, no further one makes sense, or the call's time is
    /// over. Each attempt signs afresh: the date and the nonce are part of the signature.
    ///
    /// # Errors
    /// The last attempt's, or [`Failure::Overloaded`] before any, [`Failure::DeadlineExceeded`]
    /// or [`Failure::Draining`] during one.
    pub async fn call<T, F>(
        &self,
        operation: Operation,
        call: &Call,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (metrics, provider) = (self.telemetry.metrics(), operation.provider());
        let Ok(_permit) = self.limits.in_flight.try_acquire() else {
            metrics.shed(provider);
            let text = format!("too many calls to {provider} are in flight");
            return Err(Error::new(Failure::Overloaded, text).with_operation(operation));
        };
        let _in_flight = InFlight::new(metrics.in_flight(provider));
        let result = call.bound(pin!(self.attempts(operation, call, attempt))).await;
        result.map_err(|error| {
            let error = error.with_operation(operation).with_attempts(call.attempts());
            // What ends a call from outside says nothing of its effect; whether a byte left does.
            let ended_from_outside =
                matches!(error.failure(), Failure::DeadlineExceeded | Failure::Draining);
            if ended_from_outside && !call.sent().get() {
                error.with_outcome(Outcome::NotApplied)
            } else {
                error
            }
        })
    }

    async fn attempts<T, F>(
        &self,
        operation: Operation,
        call: &Call,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.limits.budget.deposit();
        loop {
            call.sent().clear();
            call.begin_attempt();
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = self.limits.backoff.wait(
                &retry::Situation {
                    idempotent: operation.is_idempotent(),
                    failure: error.failure(),
                    attempts: call.attempts(),
                    asked: error.fault().retry_after,
                    remaining: call.deadline().remaining(),
                },
                || self.clock.chance(),
            );
            match wait {
                Some(wait) if self.limits.budget.withdraw() => {
                    // What was sent has been answered: from here on nothing is under way.
                    call.sent().clear();
                    call.note_retry(&error, wait);
                    self.telemetry.metrics().retried(operation.provider());
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
    }
}

/// A call in the gauge of those in flight, however it ends.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An exchange in the histogram, however it ends: one that the deadline or the caller ends is
/// dropped without a word, and would be missing just where a provider hangs.
struct Measured<'a> {
    telemetry: &'a Telemetry,
    operation: Operation,
    call: &'a Call,
    began: Instant,
    ended: bool,
}

impl<'a> Measured<'a> {
    fn begin(telemetry: &'a Telemetry, operation: Operation, call: &'a Call) -> Self {
        Self { telemetry, operation, call, began: Instant::now(), ended: false }
    }

    fn end(&mut self, status: Option<u16>, error_type: &'static str) {
        self.ended = true;
        self.telemetry.metrics().exchanged(
            self.operation,
            status,
            error_type,
            self.began.elapsed(),
        );
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let why = match self.call.deadline().has_passed() {
                true => Failure::DeadlineExceeded,
                false => Failure::Cancelled,
            };
            self.end(None, why.row().reason);
        }
    }
}
