//! The record of one call, written when the call ends in whatever way.

use std::io::Write as _;
use std::time::Instant;

use serde::Serialize;
use tonic::Code;

use super::{LogFormat, LogLevel, Method, SpanId, Telemetry, Trace, TraceId};
use crate::call::Call;
use crate::clock::{Clock, SystemClock};
use crate::failure::Failure;
use crate::status::code_name;

/// Writes one log line and the metrics of a call when it is dropped. So a caller that leaves,
/// which drops the handler without a word, is recorded like any other.
#[derive(Debug)]
pub struct Record {
    telemetry: Telemetry,
    method: Method,
    call: Call,
    began: Instant,
    code: Option<Code>,
}

impl Record {
    /// Begins the record of a call.
    pub fn begin(telemetry: Telemetry, method: Method, call: Call) -> Self {
        telemetry.metrics().started(method);
        Self { telemetry, method, call, began: Instant::now(), code: None }
    }

    /// Notes the code of the answer. Without it, the caller left.
    pub fn end(&mut self, code: Code) {
        self.code = Some(code);
    }

    fn line(&self, code: Code, level: LogLevel) -> Vec<u8> {
        let ended = self.call.ended();
        let (service, method) = self.method.names();
        let provider = match self.method {
            Method::Savepoint(operation) => Some(operation.provider().as_str()),
            Method::Other => None,
        };
        let line = Line {
            timestamp: SystemClock.now(),
            level: match level {
                LogLevel::Error => "ERROR",
                LogLevel::Warn => "WARN",
                LogLevel::Info => "INFO",
                LogLevel::Debug | LogLevel::Trace | LogLevel::Off => "DEBUG",
            },
            message: "call",
            service,
            method,
            code: code_name(code),
            reason: ended.failure.map(|failure: Failure| failure.row().reason),
            outcome: ended.outcome.map(crate::failure::Outcome::as_str),
            provider,
            http_status: self.call.http_status(),
            provider_code: ended.provider_code.as_deref(),
            provider_request_id: ended.provider_request_id.as_deref().filter(|id| !id.is_empty()),
            attempts: self.call.attempts(),
            duration_ms: (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
            peer: self.call.peer(),
            trace_id: self.call.trace().map(Trace::trace_id),
            span_id: self.call.trace().map(Trace::span_id),
        };
        let mut bytes = Vec::with_capacity(384);
        // Writing to a vector cannot fail.
        let _ = match self.telemetry.log().format() {
            LogFormat::Json => serde_json::to_writer(&mut bytes, &line).map_err(Into::into),
            LogFormat::Text { colour } => line.write_text(&mut bytes, colour),
        };
        bytes.push(b'\n');
        bytes
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.telemetry.metrics().handled(self.method, code, self.began.elapsed());
        if let (Some(trace), Method::Savepoint(operation)) = (self.call.trace(), self.method) {
            let reason = self.call.failure().map(|failure| failure.row().reason);
            trace.end(operation, code, reason, self.call.peer(), self.began.elapsed());
        }
        let level = level_of(self.method, code);
        if level <= self.telemetry.log().level() {
            self.telemetry.log().write(&self.line(code, level));
        }
    }
}

/// How loud a call's end is: a defect here is an error, trouble elsewhere a warning, and what
/// the caller did wrong no news for the operator.
fn level_of(method: Method, code: Code) -> LogLevel {
    match (method, code) {
        (_, Code::Internal | Code::Unknown | Code::DataLoss) => LogLevel::Error,
        (_, Code::Unavailable | Code::DeadlineExceeded | Code::Unauthenticated)
        | (Method::Savepoint(_), Code::ResourceExhausted | Code::Unimplemented) => LogLevel::Warn,
        // Probes come every few seconds.
        (Method::Other, _) => LogLevel::Debug,
        (Method::Savepoint(_), _) => LogLevel::Info,
    }
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    timestamp: jiff::Timestamp,
    level: &'static str,
    message: &'static str,
    service: &'static str,
    method: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_request_id: Option<&'a str>,
    attempts: u32,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<std::net::SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<SpanId>,
}

impl Line<'_> {
    fn write_text(&self, out: &mut Vec<u8>, colour: bool) -> std::io::Result<()> {
        let (on, off) = match (colour, self.level) {
            (false, _) => ("", ""),
            (true, "ERROR") => ("\x1b[31m", "\x1b[0m"),
            (true, "WARN") => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[32m", "\x1b[0m"),
        };
        write!(
            out,
            "{} {on}{:>5}{off} {} {} in {} ms",
            self.timestamp, self.level, self.method, self.code, self.duration_ms
        )?;
        let http_status = self.http_status.map(|status| status.to_string());
        let trace_id = self.trace_id.map(|id| id.to_string());
        let attempts = (self.attempts > 1).then(|| self.attempts.to_string());
        for (name, value) in [
            ("reason", self.reason),
            ("outcome", self.outcome),
            ("provider", self.provider),
            ("http_status", http_status.as_deref()),
            ("provider_code", self.provider_code),
            ("provider_request_id", self.provider_request_id),
            ("attempts", attempts.as_deref()),
            ("trace_id", trace_id.as_deref()),
        ] {
            if let Some(value) = value {
                write!(out, " {name}={value}")?;
            }
        }
        Ok(())
    }
}
