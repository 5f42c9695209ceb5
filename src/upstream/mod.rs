//! Calls a provider: credential, request, response and retries.

mod error_body;
mod probe;
mod provider_error;
mod reply;
mod request;
mod retry;
mod stack_trace;
mod values;
mod watch;

pub(crate) use probe::{Probed, Proof};
pub(crate) use provider_error::NotSuccess;
#[cfg(feature = "internals")]
pub(crate) use provider_error::retry_after;
pub(crate) use reply::{ProviderText, Reply, string};
pub(crate) use request::{json_body, not_built};
pub use retry::Backoff;
pub(crate) use values::{named, timestamp};
pub(crate) use watch::{Observation, Seen};
pub use watch::{WatchLimits, Watches};

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;

use crate::call::Call;
use crate::clock::Clock;
use crate::credential::{Credential, Credentials};
use crate::options::Endpoint;
use crate::policy::Shares;
use crate::rpc::operation::{Operation, Provider, Rest};
use crate::rpc::reason::{Outcome, Reason};
use crate::rpc::{Error, deadline::Deadline};
use crate::telemetry::{AttemptSpan, Telemetry};
use crate::transport::{LargeBodies, Place, Pool, Response};
use retry::RetryBudget;

/// One REST call of an RPC. A provider's room implements its two ends; [`Upstream`] runs it.
pub(crate) trait RestCall: Sync {
    /// What the call returns on success.
    type Output;

    /// The REST call as metrics and traces name it.
    fn rest(&self) -> &'static Rest;

    /// Builds the signed request. Each attempt needs a new one, because date and nonce are signed.
    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error>;

    /// The part of a response's body that is about this call.
    fn body<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        body
    }

    /// Reads a response. Anything that does not prove success is [`NotSuccess`].
    fn response(&self, reply: &Reply<'_>) -> Result<Self::Output, NotSuccess>;
}

/// Limits that all calls to one provider share, in all workers.
#[derive(Debug)]
pub struct Limits {
    in_flight: Semaphore,
    budget: RetryBudget,
    backoff: Backoff,
    large_bodies: LargeBodies,
    /// Calls in flight of each caller, if they are limited.
    of_caller: Option<Arc<Shares>>,
}

impl Limits {
    /// Limits for one provider: the maximum number of calls in flight, and the retries.
    pub fn new(max_in_flight: usize, backoff: Backoff) -> Self {
        let in_flight = Semaphore::new(max_in_flight);
        let (budget, large_bodies) = (RetryBudget::default(), LargeBodies::default());
        Self { in_flight, budget, backoff, large_bodies, of_caller: None }
    }

    /// The same, with a maximum number of calls in flight for each caller.
    #[must_use]
    pub fn with_share(self, most: Option<usize>) -> Self {
        Self { of_caller: most.map(Shares::new), ..self }
    }
}

/// One provider's REST API, with the connections of one worker.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub(crate) provider: &'static Provider,
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) pool: Pool,
    pub(crate) limits: Arc<Limits>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Telemetry,
}

impl Upstream {
    /// Makes attempts of a REST call until one succeeds, a retry is not allowed, or the call's
    /// deadline passes.
    ///
    /// # Errors
    /// The last attempt's, [`Reason::Overloaded`] before the first, or [`Reason::DeadlineExceeded`]
    /// or [`Reason::Draining`] during one.
    pub(crate) async fn call<C: RestCall>(
        &self,
        operation: &'static Operation,
        rest: &C,
        call: &Call,
    ) -> Result<C::Output, Error> {
        call.must_be_judged()?;
        let metrics = self.telemetry.metrics();
        let of_caller = self.limits.of_caller.as_ref().zip(call.caller());
        let share = of_caller.map(|(shares, caller)| shares.take(caller, 1));
        if matches!(share, Some(None)) {
            metrics.shed(self.provider);
            let text = format!("too many calls of this caller to {} are in flight", self.provider);
            return Err(Error::new(Reason::Overloaded, text).with_operation(operation));
        }
        let Ok(_permit) = self.limits.in_flight.try_acquire() else {
            metrics.shed(self.provider);
            let text = format!("too many calls to {} are in flight", self.provider);
            return Err(Error::new(Reason::Overloaded, text).with_operation(operation));
        };
        let _in_flight = InFlight::new(metrics.in_flight(self.provider));
        call.begin_run(self.endpoint.host());
        call.bound(pin!(self.attempts(operation, rest, call))).await.map_err(|error| {
            let error = error.with_operation(operation).with_attempts(call.requests());
            // A deadline or drain says nothing about the effect; whether a byte was sent does.
            let ended_from_outside =
                matches!(error.reason(), Reason::DeadlineExceeded | Reason::Draining);
            if ended_from_outside && !call.write_started().get() {
                error.with_outcome(Outcome::NotApplied)
            } else {
                error
            }
        })
    }

    async fn attempts<C: RestCall>(
        &self,
        operation: &'static Operation,
        rest: &C,
        call: &Call,
    ) -> Result<C::Output, Error> {
        self.limits.budget.deposit();
        loop {
            call.begin_attempt();
            let error = match self.attempt(operation, rest, call).await {
                Ok(output) => return Ok(output),
                Err(error) => error.with_operation(operation),
            };
            let wait = self.limits.backoff.wait(
                &retry::Situation {
                    idempotent: operation.is_idempotent,
                    not_applied: error.outcome() == Some(Outcome::NotApplied),
                    reason: error.reason(),
                    attempts: call.attempts(),
                    asked: error.provider_error().retry_after,
                    remaining: call.deadline().remaining(),
                },
                || self.clock.chance(),
            );
            match wait {
                Some(wait) if self.limits.budget.withdraw() => {
                    // The response is complete: no request is in flight now.
                    call.write_started().clear();
                    call.note_retry(&error, wait);
                    self.telemetry.metrics().retried(self.provider);
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
    }

    async fn attempt<C: RestCall>(
        &self,
        operation: &'static Operation,
        rest: &C,
        call: &Call,
    ) -> Result<C::Output, Error> {
        let credential = self.credentials.current(&*self.clock).await?;
        let request = self.request(rest, &credential)?;
        // A provider may say it again.
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let mut place = self.limits.large_bodies.place();
        let response = self.send(rest.rest(), request, call, &mut place).await?;
        let reply = self.reply(rest, &response, &credential, authorization.as_ref());
        match rest.response(&reply) {
            Ok(output) => {
                call.note_success(reply.into_found_id());
                Ok(output)
            }
            Err(failed) => {
                let error = reply.error(operation, &failed, self.clock.now());
                if error.reason() == Reason::CredentialsRejected {
                    self.credentials.report_rejected(&credential);
                }
                Err(error)
            }
        }
    }

    pub(crate) fn request<C: RestCall>(
        &self,
        rest: &C,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let mut request = rest.request(credential)?;
        // Added after signing, because proxies may change them.
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
        Ok(request)
    }

    /// Reads a response, or builds the error for one that is not a success.
    #[cfg(feature = "internals")]
    pub(crate) fn read<C: RestCall>(
        &self,
        operation: &'static Operation,
        rest: &C,
        response: &Response,
        credential: &Credential,
    ) -> Result<C::Output, Error> {
        let reply = self.reply(rest, response, credential, None);
        rest.response(&reply).map_err(|failed| reply.error(operation, &failed, self.clock.now()))
    }

    /// `authorization`: the header of the request, if it was signed.
    fn reply<'a, C: RestCall>(
        &self,
        rest: &C,
        response: &'a Response,
        credential: &'a Credential,
        authorization: Option<&'a HeaderValue>,
    ) -> Reply<'a> {
        let body = rest.body(&response.body);
        Reply::new(response, body, self.provider, credential, authorization)
    }

    async fn send(
        &self,
        rest: &'static Rest,
        mut request: Request<Bytes>,
        call: &Call,
        place: &mut Place<'_>,
    ) -> Result<Response, Error> {
        call.note_request();
        let span = call.trace().map(|trace| trace.attempt(rest, &self.endpoint, call.attempts()));
        if let Some(span) = span.as_ref().filter(|_| self.telemetry.forwards_traces) {
            span.write_to(request.headers_mut());
        }
        let mut exchange = Exchange::begin(self, rest, span, call.deadline());
        let result = self.pool.send(request, call.write_started(), place).await;
        match &result {
            Ok(response) => {
                call.note_http_status(response.status);
                exchange.end(Ok(response.status));
            }
            Err(error) => exchange.end(Err(error.reason())),
        }
        result
    }
}

/// Counts a call in the gauge of calls in flight, until dropped.
struct InFlight<'a>(Option<&'a Gauge>);

impl<'a> InFlight<'a> {
    fn new(gauge: Option<&'a Gauge>) -> Self {
        if let Some(gauge) = gauge {
            gauge.inc();
        }
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(gauge) = self.0 {
            gauge.dec();
        }
    }
}

/// Records an exchange in metrics and trace, also when it is dropped by a deadline or a cancelled
/// call: otherwise hanging providers would not show.
struct Exchange<'a> {
    upstream: &'a Upstream,
    rest: &'static Rest,
    span: Option<AttemptSpan<'a>>,
    deadline: Deadline,
    began: Instant,
    ended: bool,
}

impl<'a> Exchange<'a> {
    fn begin(
        upstream: &'a Upstream,
        rest: &'static Rest,
        span: Option<AttemptSpan<'a>>,
        deadline: Deadline,
    ) -> Self {
        Self { upstream, rest, span, deadline, began: Instant::now(), ended: false }
    }

    fn end(&mut self, result: Result<u16, Reason>) {
        self.ended = true;
        let result = result.map_err(|reason| reason.row().name);
        let metrics = self.upstream.telemetry.metrics();
        metrics.upstream_request(self.upstream.provider, self.rest, result, self.began.elapsed());
        if let Some(span) = self.span.take() {
            span.end(result);
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let passed = self.deadline.has_passed();
            self.end(Err(if passed { Reason::DeadlineExceeded } else { Reason::Cancelled }));
        }
    }
}
