//! Spans as the OpenTelemetry protocol has them.
//!
//! # Reference
//! <https://opentelemetry.io/docs/specs/otlp/>

use http::uri::Authority;
use tonic::Code;

use super::trace::{Of, Span};
use crate::operation::Operation;
use crate::pb::otlp::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
use crate::pb::otlp::opentelemetry::proto::common::v1::any_value::Value;
use crate::pb::otlp::opentelemetry::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use crate::pb::otlp::opentelemetry::proto::resource::v1::Resource;
use crate::pb::otlp::opentelemetry::proto::trace::v1 as wire;
use crate::server::Address;
use wire::span::SpanKind;
use wire::status::StatusCode;

/// That the parent's side is known, and that it is another process.
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

/// The attributes of the process.
pub(super) fn resource(attributes: &[(String, String)]) -> Resource {
    Resource {
        attributes: attributes.iter().map(|(key, value)| text(key, value.as_str())).collect(),
        ..Resource::default()
    }
}

/// Where calls come in.
pub(super) fn server(listen: &Address) -> Vec<KeyValue> {
    match listen {
        Address::Tcp(listen) => {
            let (address, port) = address(listen.as_bytes(), false);
            vec![text("server.address", address), number("server.port", port)]
        }
        Address::Unix(path) => vec![text("server.address", path.display().to_string())],
    }
}

/// What a batch is sent as.
pub(super) fn request(
    resource: &Resource,
    server: &[KeyValue],
    spans: &[Span],
) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let spans = wire::ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().map(|one| span(one, server)).collect(),
        ..wire::ScopeSpans::default()
    };
    let spans = wire::ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![spans],
        ..wire::ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

fn span(span: &Span, server: &[KeyValue]) -> wire::Span {
    let context = &span.context;
    let took = u64::try_from(span.took.as_nanos()).unwrap_or(u64::MAX);
    let (name, kind, attributes, status) = match &span.of {
        Of::Call { operation, code, reason, peer } => {
            let is_error = is_error_of_server(*code);
            let code = code_name(*code);
            let mut attributes = vec![
                text("rpc.system.name", "grpc"),
                text("rpc.method", operation.full_name()),
                text("rpc.status_code", code),
            ];
            attributes.extend_from_slice(server);
            if let Some(peer) = peer {
                attributes.push(text("client.address", peer.ip().to_string()));
                attributes.push(number("client.port", peer.port()));
            }
            let status = is_error.then(|| {
                attributes.push(text("error.type", code));
                error(reason.unwrap_or_default())
            });
            (operation.full_name().to_owned(), SpanKind::Server, attributes, status)
        }
        Of::Exchange { operation, host, tls, status, error: failed, resent } => {
            let (address, port) = address(host.as_bytes(), *tls);
            let mut attributes = exchange(*operation);
            attributes.push(text("server.address", address));
            attributes.push(number("server.port", port));
            if let Some(status) = status {
                attributes.push(number("http.response.status_code", *status));
            }
            if *resent > 0 {
                attributes.push(number("http.request.resend_count", *resent));
            }
            let failed = failed
                .map(str::to_owned)
                .or_else(|| status.filter(|status| *status >= 400).map(|s| s.to_string()));
            let status = failed.map(|failed| {
                attributes.push(text("error.type", failed));
                error("")
            });
            let name = format!("{} {}", operation.http_method(), operation.url_template());
            (name, SpanKind::Client, attributes, status)
        }
    };
    let remote = match (&span.of, span.parent) {
        (Of::Call { .. }, Some(_)) => PARENT_REMOTE,
        _ => 0,
    };
    wire::Span {
        trace_id: context.trace_id.0.to_vec(),
        span_id: context.span_id.0.to_vec(),
        trace_state: context
            .state
            .as_ref()
            .and_then(|state| state.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        parent_span_id: span.parent.map(|id| id.0.to_vec()).unwrap_or_default(),
        flags: u32::from(context.flags) | PARENT_KNOWN | remote,
        name,
        kind: kind.into(),
        start_time_unix_nano: span.began,
        end_time_unix_nano: span.began.saturating_add(took),
        attributes,
        status,
        ..wire::Span::default()
    }
}

fn exchange(operation: Operation) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(8);
    attributes.push(text("http.request.method", operation.http_method()));
    attributes.push(text("url.template", operation.url_template()));
    attributes
}

/// The host without its port, and the port.
fn address(host: &[u8], tls: bool) -> (String, u16) {
    let default = if tls { 443 } else { 80 };
    match Authority::try_from(host) {
        Ok(authority) => (
            authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            authority.port_u16().unwrap_or(default),
        ),
        Err(_) => (String::from_utf8_lossy(host).into_owned(), default),
    }
}

fn error(message: &str) -> wire::Status {
    wire::Status { message: message.to_owned(), code: StatusCode::Error.into() }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// What callers do wrong is no error of the server.
const fn is_error_of_server(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}

/// The name of a code as the gRPC specification spells it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_split_as_it_is_spelled() {
        for (host, tls, want) in [
            ("h.example", true, ("h.example", 443)),
            ("h.example", false, ("h.example", 80)),
            ("127.0.0.1:8080", false, ("127.0.0.1", 8080)),
            ("[::1]:9", false, ("::1", 9)),
        ] {
            assert_eq!(address(host.as_bytes(), tls), (want.0.to_owned(), want.1), "{host}");
        }
    }
}
