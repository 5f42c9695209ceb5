//! The record of one call, written when its last byte is written, or when the call ends early.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tonic::Code;
use tonic::body::Body;
use tracing::Level;

use super::log_line::Line;
use super::rescue;
use crate::call::Call;
use crate::clock::{Clock, SystemClock};
use crate::rpc::Error;
use crate::rpc::operation::Kind;
use crate::rpc::reason::{Outcome, Reason};
use crate::rpc::status::code_names;
use crate::telemetry::{LevelFilter, LogFormat, Telemetry, method_names};

/// Writes the log line and the metrics of a call when dropped. A caller that leaves drops the
/// handler or the response, so its call is recorded, too.
#[derive(Debug)]
pub(crate) struct Record {
    telemetry: Telemetry,
    call: Call,
    began: Instant,
    code: Option<Code>,
}

impl Record {
    pub(crate) fn begin(telemetry: Telemetry, call: Call) -> Self {
        telemetry.metrics().started(call.operation());
        Self { telemetry, call, began: Instant::now(), code: None }
    }

    /// Sets the code of the status. If it is never set, the caller left.
    pub(crate) fn end(&mut self, code: Code) {
        self.code = Some(code);
    }

    fn line(&self, code: Code, level: Level) -> Vec<u8> {
        let ended = self.call.ended();
        let operation = self.call.operation();
        let (service, method) = method_names(operation);
        let trace = self.call.trace().map(|trace| &trace.context);
        let is_stream = operation.is_some_and(|operation| operation.kind == Kind::ServerStream);
        let target = self.call.target();
        let watched = is_stream.then(|| self.call.watched());
        let line = Line {
            timestamp: SystemClock.now(),
            level: level.as_str(),
            message: "call",
            service,
            method,
            code: code_names(code).pascal,
            reason: ended.reason.map(|reason: Reason| reason.row().name),
            error: ended.error.as_deref(),
            fields: &ended.fields,
            outcome: ended.outcome.map(Outcome::as_str),
            provider: operation.map(|operation| operation.provider.name),
            endpoint: self.call.endpoint(),
            project_id: target.and_then(|target| target.project_id.as_deref()),
            job_id: target.and_then(|target| target.job_id.as_deref()),
            workspace: target.and_then(|target| target.workspace.as_deref()),
            namespace: target.and_then(|target| target.namespace.as_deref()),
            deployment_id: target.and_then(|target| target.deployment_id.as_deref()),
            cluster: target.and_then(|target| target.cluster.as_deref()),
            http_status: self.call.http_status(),
            provider_code: ended.provider_code.as_deref(),
            provider_request_id: ended.provider_request_id.as_deref(),
            attempts: self.call.requests(),
            messages: watched.map(|(messages, _)| messages),
            polls: watched.map(|(_, polls)| polls),
            duration_ms: (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            deadline_ms: operation.map(|_| {
                let deadline = self.call.deadline().instant().into_std();
                let limit = deadline.saturating_duration_since(self.began);
                let rounded = (limit + Duration::from_micros(500)).as_millis();
                u64::try_from(rounded).unwrap_or(u64::MAX)
            }),
            peer: self.call.peer().address,
            caller: self.call.peer().caller.as_str(),
            policy: self
                .call
                .access()
                .filter(|access| access.would_refuse())
                .map(|_| "would_refuse"),
            trace_id: trace.map(|trace| trace.trace_id),
            span_id: trace.map(|trace| trace.span_id),
        };
        let mut bytes = Vec::with_capacity(1024);
        // Writing to a vector cannot fail.
        let _ = match self.telemetry.log().format {
            LogFormat::Json => line.write_json(&mut bytes),
            LogFormat::Text { colour } => line.write_text(&mut bytes, colour),
        };
        bytes.push(b'\n');
        bytes
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let operation = self.call.operation();
        self.telemetry.metrics().handled(operation, code, self.began.elapsed());
        if let Some(operation) = operation.filter(|_| code != Code::Ok) {
            let reason = self.call.reason().unwrap_or(Reason::Cancelled);
            self.telemetry.metrics().failed(operation, reason.row().name);
        }
        if let (Some(trace), Some(operation)) = (self.call.trace(), operation) {
            let reason = self.call.reason().map(|reason| reason.row().name);
            trace.end(operation, code, reason, self.call.peer());
        }
        let level = level_of(operation.is_some(), code);
        let log = self.telemetry.log();
        // So that it can be found who changed something.
        let is_audited = operation.is_some_and(|operation| operation.changes_something)
            && log.level != LevelFilter::OFF;
        if level <= log.level || is_audited {
            self.telemetry.log().write(&self.line(code, level));
        }
    }
}

/// The level of a call's line: ERROR for bugs, WARN for problems of others that an operator should
/// see, INFO for mistakes of the caller.
fn level_of(is_of_the_contract: bool, code: Code) -> Level {
    match (is_of_the_contract, code) {
        (_, Code::Internal | Code::Unknown | Code::DataLoss) => Level::ERROR,
        (_, Code::Unavailable | Code::DeadlineExceeded | Code::Unauthenticated)
        | (true, Code::ResourceExhausted | Code::Unimplemented) => Level::WARN,
        // Probes are frequent.
        (false, _) => Level::DEBUG,
        (true, _) => Level::INFO,
    }
}

/// The body of a response. The record ends with its last frame, and a panic becomes trailers.
pub(super) struct RecordedBody {
    inner: Body,
    /// None once the status is known, and the body is complete.
    record: Option<Record>,
    call: Call,
}

impl RecordedBody {
    /// Moves the record of a call into its response.
    pub(super) fn wrap(response: Response<Body>, mut record: Record, call: Call) -> Response<Body> {
        let (code, response) = rescue::with_details(response, &call);
        if let Some(code) = code {
            // The status is in the headers (a trailers-only response).
            record.end(code);
            return response;
        }
        response.map(|inner| Body::new(Self { inner, record: Some(record), call }))
    }

    /// Ends the body with trailers, and records their status.
    fn end_with(&mut self, code: Code, trailers: http::HeaderMap) -> Frame<Bytes> {
        // First, because a stream notes at its end what the record tells.
        self.inner = Body::empty();
        if let Some(mut record) = self.record.take() {
            record.end(code);
        }
        Frame::trailers(trailers)
    }

    fn end_with_status(&mut self, status: &tonic::Status) -> Frame<Bytes> {
        let mut trailers = http::HeaderMap::new();
        // Fails only for a message that is not text, which ours never are.
        let _ = status.add_header(&mut trailers);
        self.end_with(status.code(), trailers)
    }

    fn fail(&mut self, error: Error) -> Frame<Bytes> {
        let status = tonic::Status::from(self.call.failed(error));
        self.end_with_status(&status)
    }
}

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        if this.record.is_none() {
            return Poll::Ready(None);
        }
        let inner = &mut this.inner;
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *inner).poll_frame(cx)));
        let frame = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(frame)) => frame,
            Err(_) => return Poll::Ready(Some(Ok(this.fail(rescue::panicked())))),
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_trailers() {
                Err(data) => data,
                Ok(trailers) => {
                    let code = rescue::code_of(&trailers).unwrap_or(Code::Unknown);
                    // Statuses of an extra service are passed on unchanged.
                    let is_ours = this.call.operation().is_some();
                    let described = || rescue::described(code, &trailers, &this.call);
                    match is_ours.then(described).flatten() {
                        Some(status) => this.end_with_status(&status),
                        None => this.end_with(code, trailers),
                    }
                }
            })),
            Some(Err(status)) => Some(Ok(this.end_with_status(&status))),
            None => {
                // Without trailers it is not a gRPC response.
                if let Some(mut record) = this.record.take() {
                    record.end(Code::Unknown);
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.record.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http_body_util::{BodyExt as _, StreamBody};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::caller::Peer;
    use crate::providers::huawei::HUAWEI;
    use crate::rpc::Deadline;
    use crate::rpc::operation::{Kind, Operation};
    use crate::server::stream_end;
    use crate::telemetry::LogSink;

    static STREAM: Operation = Operation {
        service: "test.v1.TestService",
        name: "Watch",
        provider: &HUAWEI,
        kind: Kind::ServerStream,
        rest: &[],
        is_idempotent: true,
        changes_something: false,
        controls_jobs: false,
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A response with this body, the log, and the token that ends calls.
    struct Setup {
        lines: Lines,
        log: LogSink,
        stop: CancellationToken,
        body: Body,
    }

    impl Setup {
        fn new(
            frames: impl tokio_stream::Stream<Item = Result<Frame<Bytes>, tonic::Status>>
            + Send
            + 'static,
        ) -> Self {
            let lines = Lines::default();
            let log = LogSink::new(lines.clone(), LogFormat::Json, LevelFilter::INFO).unwrap();
            let telemetry = Telemetry::new(log.clone(), &[&STREAM]);
            let stop = CancellationToken::new();
            let deadline = Deadline::after(Duration::from_secs(10));
            let call = Call::new(Some(&STREAM), deadline, stop.clone(), Peer::default(), None);
            let record = Record::begin(telemetry, call.clone());
            let limit = {
                let call = call.clone();
                async move { tonic::Status::from(call.failed(call.limit().await)) }
            };
            let response = Response::new(Body::new(StreamBody::new(frames)));
            let response = stream_end::ended_by(response, limit);
            let body = RecordedBody::wrap(response, record, call).into_body();
            Self { lines, log, stop, body }
        }

        /// The codes that were logged so far.
        fn logged(&self) -> Vec<String> {
            self.log.flush(Duration::from_secs(60));
            let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
            let line = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
            text.lines().map(|text| line(text)["code"].as_str().unwrap().to_owned()).collect()
        }

        /// The next frame, which must be trailers with this code.
        async fn ends_with(&mut self, code: Code) {
            let frame = self.body.frame().await.unwrap().unwrap();
            let trailers = frame.into_trailers().unwrap();
            assert_eq!(rescue::code_of(&trailers), Some(code));
            assert!(trailers.contains_key("grpc-status-details-bin"), "{trailers:?}");
            assert!(self.body.frame().await.is_none());
        }
    }

    fn message() -> Result<Frame<Bytes>, tonic::Status> {
        Ok(Frame::data(Bytes::from_static(b"message")))
    }

    fn ok() -> Result<Frame<Bytes>, tonic::Status> {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        Ok(Frame::trailers(trailers))
    }

    #[tokio::test]
    async fn the_record_ends_with_the_trailers() {
        let mut setup = Setup::new(tokio_stream::iter([message(), message(), ok()]));
        for _ in 0..2 {
            assert!(setup.body.frame().await.unwrap().unwrap().is_data());
            assert!(setup.logged().is_empty());
        }
        assert!(setup.body.frame().await.unwrap().unwrap().is_trailers());
        assert_eq!(setup.logged(), ["OK"]);
        drop(setup.body.frame().await);
        assert_eq!(setup.logged(), ["OK"]);
    }

    #[tokio::test]
    async fn a_panic_in_a_body_becomes_its_status() {
        let mut polls = 0;
        let frames = tokio_stream::StreamExt::map(tokio_stream::iter(0..3), move |_| {
            polls += 1;
            assert!(polls < 2, "secret");
            message()
        });
        let mut setup = Setup::new(frames);
        assert!(setup.body.frame().await.unwrap().unwrap().is_data());
        setup.ends_with(Code::Internal).await;
        assert_eq!(setup.logged(), ["Internal"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_its_deadline_and_at_the_end_of_a_drain() {
        let silent = || Setup::new(tokio_stream::pending());
        let mut drained = silent();
        drained.stop.cancel();
        drained.ends_with(Code::Unavailable).await;
        assert_eq!(drained.logged(), ["Unavailable"]);
        let mut late = silent();
        late.ends_with(Code::DeadlineExceeded).await;
        assert_eq!(late.logged(), ["DeadlineExceeded"]);
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_or_that_ends_without_a_status_is_recorded() {
        let left = Setup::new(tokio_stream::iter([message(), ok()]));
        let (lines, log) = (left.lines.clone(), left.log.clone());
        drop(left);
        log.flush(Duration::from_secs(60));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains(r#""code":"Canceled""#), "{text}");

        let mut cut = Setup::new(tokio_stream::iter([message()]));
        assert!(cut.body.frame().await.unwrap().unwrap().is_data());
        assert!(cut.body.frame().await.is_none());
        assert_eq!(cut.logged(), ["Unknown"]);
    }
}
