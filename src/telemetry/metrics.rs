//! Counters and histograms, under the names that dashboards for gRPC servers know.
//!
//! No label ever holds anything that a caller or a provider chose: the number of series is
//! fixed at start-up, but for the HTTP statuses that a provider answers with.
//!
//! # Reference
//! - Names of `grpc_server_*`: <https://github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus>
//! - Labels of `http_client_*`: <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use super::{CredentialMetrics, ProjectLookupMetrics, SpanMetrics, TlsMetrics};
use crate::operation::{Operation, Provider};
use crate::status::code_name;

/// A method as metrics and logs know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A method of the savepoint service.
    Savepoint(Operation),
    /// Whatever else was asked for: health, reflection, or nothing that exists.
    Other,
}

impl Method {
    const ALL: [Self; 3] = [
        Self::Savepoint(Operation::ImportSavepoint),
        Self::Savepoint(Operation::GetSavepoint),
        Self::Other,
    ];

    const fn index(self) -> usize {
        match self {
            Self::Savepoint(Operation::ImportSavepoint) => 0,
            Self::Savepoint(Operation::GetSavepoint) => 1,
            Self::Other => 2,
        }
    }

    /// The values of `grpc_service` and `grpc_method`.
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Savepoint(operation) => ("savepoint.v1.SavepointService", operation.name()),
            Self::Other => ("_OTHER", "_OTHER"),
        }
    }
}

const CODES: usize = 17;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    grpc_type: &'static str,
    grpc_service: &'static str,
    grpc_method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandledLabels {
    grpc_type: &'static str,
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExchangeLabels {
    provider: &'static str,
    http_request_method: &'static str,
    http_response_status_code: String,
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProviderLabels {
    pub(super) provider: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) provider: &'static str,
    pub(super) outcome: &'static str,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    // Looked up once, at start-up: a call then costs a few atomic additions.
    started: [Counter; 3],
    handled: [[Counter; CODES]; 3],
    handling: [Histogram; 3],
    exchanges: Family<ExchangeLabels, Histogram, fn() -> Histogram>,
    /// Those of `exchanges` that were answered with 200, which most are.
    exchanges_ok: [Histogram; 2],
    retries: [Counter; 2],
    shed: [Counter; 2],
    in_flight: [Gauge; 2],
    credentials: [CredentialMetrics; 2],
    project_lookup: ProjectLookupMetrics,
    tls: TlsMetrics,
    spans: SpanMetrics,
    connections: Gauge,
    connections_refused: Counter,
    log_lines_dropped: Counter,
}

const fn provider_index(provider: Provider) -> usize {
    match provider {
        Provider::HuaweiDli => 0,
        Provider::AlibabaFlink => 1,
    }
}

fn exchange(operation: Operation, status: Option<u16>, error_type: &'static str) -> ExchangeLabels {
    ExchangeLabels {
        provider: operation.provider().as_str(),
        http_request_method: operation.http_method(),
        http_response_status_code: status.map(|s| s.to_string()).unwrap_or_default(),
        error_type,
    }
}

/// From 1 ms, as answers of a provider in the same region take, to the default deadline.
fn histogram() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

impl Metrics {
    /// Metrics that begin at zero. Every series that can be known is there from the start,
    /// so that a first failure is a rise and not a new line.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let started = Family::<MethodLabels, Counter>::default();
        let handled = Family::<HandledLabels, Counter>::default();
        let handling =
            Family::<MethodLabels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
        let exchanges =
            Family::<ExchangeLabels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
        let retries = Family::<ProviderLabels, Counter>::default();
        let shed = Family::<ProviderLabels, Counter>::default();
        let in_flight = Family::<ProviderLabels, Gauge>::default();
        let connections = Gauge::default();
        let connections_refused = Counter::default();
        let log_lines_dropped = Counter::default();

        registry.register("grpc_server_started", "RPCs begun", started.clone());
        registry.register("grpc_server_handled", "RPCs ended, by code", handled.clone());
        registry.register_with_unit(
            "grpc_server_handling",
            "How long RPCs took",
            Unit::Seconds,
            handling.clone(),
        );
        registry.register_with_unit(
            "http_client_request_duration",
            "How long exchanges with providers took, one for each attempt",
            Unit::Seconds,
            exchanges.clone(),
        );
        registry.register("upstream_retries", "Attempts after the first", retries.clone());
        registry.register(
            "upstream_shed",
            "RPCs refused because too many were in flight",
            shed.clone(),
        );
        registry.register("upstream_in_flight", "RPCs at work on a provider", in_flight.clone());
        registry.register("grpc_server_connections", "Open connections", connections.clone());
        registry.register(
            "grpc_server_connections_refused",
            "Connections closed at once because there were too many",
            connections_refused.clone(),
        );
        registry.register(
            "log_lines_dropped",
            "Log lines lost because nobody read them",
            log_lines_dropped.clone(),
        );
        let credentials = CredentialMetrics::all(&mut registry, Provider::ALL);
        let project_lookup = ProjectLookupMetrics::new(&mut registry);
        let tls = TlsMetrics::new(&mut registry);
        let spans = SpanMetrics::new(&mut registry);
        registry.register(
            "savepoint_gateway_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );

        let method = |method: Method| {
            let (grpc_service, grpc_method) = method.names();
            MethodLabels { grpc_type: "unary", grpc_service, grpc_method }
        };
        let ended = |method: Method, code: usize| {
            let (grpc_service, grpc_method) = method.names();
            let grpc_code = code_name(Code::from(i32::try_from(code).unwrap_or_default()));
            HandledLabels { grpc_type: "unary", grpc_service, grpc_method, grpc_code }
        };
        let provider = |provider: Provider| ProviderLabels { provider: provider.as_str() };
        let exchanged_ok =
            |operation| exchanges.get_or_create_owned(&exchange(operation, Some(200), ""));
        Self {
            exchanges_ok: [Operation::ImportSavepoint, Operation::GetSavepoint].map(exchanged_ok),
            started: Method::ALL.map(|m| started.get_or_create_owned(&method(m))),
            handled: Method::ALL
                .map(|m| std::array::from_fn(|code| handled.get_or_create_owned(&ended(m, code)))),
            handling: Method::ALL.map(|m| handling.get_or_create_owned(&method(m))),
            retries: Provider::ALL.map(|p| retries.get_or_create_owned(&provider(p))),
            shed: Provider::ALL.map(|p| shed.get_or_create_owned(&provider(p))),
            in_flight: Provider::ALL.map(|p| in_flight.get_or_create_owned(&provider(p))),
            credentials,
            project_lookup,
            tls,
            spans,
            registry,
            exchanges,
            connections,
            connections_refused,
            log_lines_dropped,
        }
    }

    /// An RPC began.
    pub fn started(&self, method: Method) {
        self.started[method.index()].inc();
    }

    /// An RPC ended.
    pub fn handled(&self, method: Method, code: Code, took: Duration) {
        self.handled[method.index()][code as usize].inc();
        self.handling[method.index()].observe(took.as_secs_f64());
    }

    /// An exchange with a provider ended: with this status, or for this reason without one.
    pub fn exchanged(
        &self,
        operation: Operation,
        status: Option<u16>,
        error_type: &'static str,
        took: Duration,
    ) {
        let seconds = took.as_secs_f64();
        if status == Some(200) {
            self.exchanges_ok[Method::Savepoint(operation).index()].observe(seconds);
        } else {
            let labels = exchange(operation, status, error_type);
            self.exchanges.get_or_create(&labels).observe(seconds);
        }
    }

    /// An attempt follows another.
    pub fn retried(&self, provider: Provider) {
        self.retries[provider_index(provider)].inc();
    }

    /// An RPC was refused because too many were in flight.
    pub fn shed(&self, provider: Provider) {
        self.shed[provider_index(provider)].inc();
    }

    /// How many RPCs are at work on a provider.
    pub fn in_flight(&self, provider: Provider) -> &Gauge {
        &self.in_flight[provider_index(provider)]
    }

    /// The credential of a provider.
    pub fn credential(&self, provider: Provider) -> &CredentialMetrics {
        &self.credentials[provider_index(provider)]
    }

    /// The lookup of the project of requests that name none.
    pub fn project_lookup(&self) -> &ProjectLookupMetrics {
        &self.project_lookup
    }

    /// The server's certificate.
    pub fn tls(&self) -> &TlsMetrics {
        &self.tls
    }

    /// The spans that were made and exported.
    pub fn spans(&self) -> &SpanMetrics {
        &self.spans
    }

    /// How many connections are open.
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// A connection was closed at once because there were too many.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// All of them in the OpenMetrics text format.
    ///
    /// # Reference
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    pub fn encode(&self, log_lines_dropped: u64) -> String {
        let counted: &AtomicU64 = self.log_lines_dropped.inner();
        counted.store(log_lines_dropped, std::sync::atomic::Ordering::Relaxed);
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_that_dashboards_know() {
        let metrics = Metrics::new();
        let get = Method::Savepoint(Operation::GetSavepoint);
        metrics.started(get);
        metrics.handled(get, Code::NotFound, Duration::from_millis(3));
        metrics.exchanged(Operation::GetSavepoint, Some(404), "404", Duration::from_millis(2));
        let text = metrics.encode(7);
        for line in [
            r#"grpc_server_started_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint"} 1"#,
            r#"grpc_server_handled_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint",grpc_code="NotFound"} 1"#,
            r#"grpc_server_handled_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="ImportSavepoint",grpc_code="OK"} 0"#,
            r#"grpc_server_handling_seconds_count{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint"} 1"#,
            r#"http_client_request_duration_seconds_count{provider="alibaba-flink",http_request_method="GET",http_response_status_code="404",error_type="404"} 1"#,
            "log_lines_dropped_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
