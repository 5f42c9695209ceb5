//! Spans as OTLP messages.
//!
//! # Reference
//! <https://opentelemetry.io/docs/specs/otlp/>

use http::uri::Authority;

use crate::options::Address;
use crate::pb::otlp::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
use crate::pb::otlp::opentelemetry::proto::common::v1::any_value::Value;
use crate::pb::otlp::opentelemetry::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use crate::pb::otlp::opentelemetry::proto::resource::v1::Resource;
use crate::pb::otlp::opentelemetry::proto::trace::v1 as wire;
use crate::rpc::operation::Rest;
use crate::rpc::status::code_names;
use crate::telemetry::{Span, SpanKind as Kind};
use wire::span::SpanKind;
use wire::status::StatusCode;

/// Flags: the parent's origin is known, and it is remote.
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

pub(super) fn resource(attributes: &[(String, String)]) -> Resource {
    Resource {
        attributes: attributes.iter().map(|(key, value)| text(key, value.as_str())).collect(),
        ..Resource::default()
    }
}

pub(super) fn server(listen: &Address) -> Vec<KeyValue> {
    match listen {
        Address::Tcp(listen) => {
            let (address, port) = address(listen.as_bytes(), false);
            vec![text("server.address", address), number("server.port", port)]
        }
        Address::Unix(path) => vec![text("server.address", path.display().to_string())],
    }
}

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
    let (name, kind, attributes, status) = match &span.kind {
        Kind::Call { operation, code, reason, peer } => {
            let names = code_names(*code);
            let method = operation.to_string();
            let mut attributes = vec![
                text("rpc.system.name", "grpc"),
                text("rpc.method", method.as_str()),
                text("rpc.status_code", names.screaming),
            ];
            attributes.extend_from_slice(server);
            if let Some(name) = peer.caller.name() {
                attributes.push(text("enduser.id", name.to_owned()));
            }
            if let Some(peer) = peer.address {
                attributes.push(text("client.address", peer.ip().to_string()));
                attributes.push(number("client.port", peer.port()));
            }
            let status = names.is_server_error.then(|| {
                attributes.push(text("error.type", names.screaming));
                error(reason.unwrap_or_default())
            });
            (method, SpanKind::Server, attributes, status)
        }
        Kind::Attempt { rest, host, tls, result, resent } => {
            let (address, port) = address(host.as_bytes(), *tls);
            let Rest { http_method, url_template } = *rest;
            let mut attributes = vec![
                text("http.request.method", *http_method),
                text("url.template", *url_template),
                text("server.address", address),
                number("server.port", port),
            ];
            attributes
                .extend(result.ok().map(|status| number("http.response.status_code", status)));
            attributes.extend((*resent > 0).then(|| number("http.request.resend_count", *resent)));
            let failed = match result {
                Ok(status @ 400..) => Some(status.to_string()),
                Ok(_) => None,
                Err(reason) => Some((*reason).to_owned()),
            };
            let status = failed.map(|failed| {
                attributes.push(text("error.type", failed));
                error("")
            });
            let name = format!("{http_method} {url_template}");
            (name, SpanKind::Client, attributes, status)
        }
    };
    let remote = match (&span.kind, span.parent) {
        (Kind::Call { .. }, Some(_)) => PARENT_REMOTE,
        _ => 0,
    };
    let state = context.state.as_ref();
    wire::Span {
        trace_id: context.trace_id.0.to_vec(),
        span_id: context.span_id.0.to_vec(),
        trace_state: state.and_then(|state| state.to_str().ok()).unwrap_or_default().to_owned(),
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

/// Splits a host header into host and port.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_is_split_into_host_and_port() {
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
