//! Counters and histograms, with the names that dashboards for gRPC servers expect.
//!
//! No label contains a value chosen by callers or providers, except HTTP statuses, so the number of
//! series is fixed.
//!
//! # Reference
//! - Names of `grpc_server_*`: <https://github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus>
//! - Labels of `http_client_*`: <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use tonic::Code;

use super::SpanMetrics;
use super::exposition::Exposition;
use super::process::Process;
use super::registry::{Labels, MetricRegistry};
use crate::rpc::operation::{Kind, Operation, Provider, Rest};
use crate::rpc::status::code_names;

const CODES: usize = 17;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExchangeLabels {
    provider: &'static str,
    http_request_method: &'static str,
    http_response_status_code: String,
    error_type: &'static str,
}

/// The value of `grpc_service` and `grpc_method` for everything outside the contract's services:
/// health, reflection, unknown names.
const OTHER: &str = "_OTHER";

/// The names of a service and a method in metrics and logs.
pub(crate) fn method_names(operation: Option<&'static Operation>) -> (&'static str, &'static str) {
    operation.map_or((OTHER, OTHER), |operation| (operation.service, operation.name))
}

/// All metrics of the process.
///
/// Series are looked up once, so that a call costs only a few atomic additions. Those of a provider
/// exist from the start, at zero, if it is configured ([`Metrics::show`]), so that a first failure
/// shows as an increase; else from the first call on.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: MetricRegistry,
    started: Family<Labels<3>, Counter>,
    handled: Family<Labels<4>, Counter>,
    handling: Family<Labels<3>, Histogram, fn() -> Histogram>,
    methods: Vec<(&'static Operation, OnceLock<MethodMetrics>)>,
    others: OnceLock<MethodMetrics>,
    retries: Family<Labels<1>, Counter>,
    shed: Family<Labels<1>, Counter>,
    in_flight: Family<Labels<1>, Gauge>,
    providers: Vec<(&'static Provider, OnceLock<ProviderMetrics>)>,
    failures: Family<Labels<3>, Counter>,
    exchanges: Family<ExchangeLabels, Histogram, fn() -> Histogram>,
    /// The series of `exchanges` for HTTP 200, the usual status.
    exchanges_ok: Vec<(&'static Provider, &'static str, OnceLock<Histogram>)>,
    pub(crate) spans: SpanMetrics,
    pub(crate) connections: Gauge,
    /// What callers make the process hold, in bytes.
    pub(crate) request_memory: Gauge,
    /// Connections that were closed because there were too many.
    pub(crate) connections_refused: Counter,
    log_lines_dropped: Counter,
}

#[derive(Debug)]
struct MethodMetrics {
    started: Counter,
    handled: [Counter; CODES],
    handling: Histogram,
}

#[derive(Debug)]
struct ProviderMetrics {
    retries: Counter,
    shed: Counter,
    in_flight: Gauge,
}

fn exchange(
    provider: &'static Provider,
    http_request_method: &'static str,
    result: Result<u16, &'static str>,
) -> ExchangeLabels {
    let status = result.ok().map(|status| status.to_string());
    ExchangeLabels {
        provider: provider.name,
        http_request_method,
        http_response_status_code: status.unwrap_or_default(),
        error_type: result.err().unwrap_or_default(),
    }
}

/// From 1 ms, as within a region, to the longest deadline.
fn histogram() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

/// The providers of these operations, each once.
pub(crate) fn providers_of(operations: &[&'static Operation]) -> Vec<&'static Provider> {
    let mut providers = Vec::new();
    for operation in operations {
        if !providers.contains(&operation.provider) {
            providers.push(operation.provider);
        }
    }
    providers
}

impl Metrics {
    /// Metrics of these operations.
    pub(crate) fn new(operations: &[&'static Operation]) -> Self {
        let registry = MetricRegistry::default();
        let started: Family<Labels<3>, Counter> =
            registry.add("grpc_server_started", "RPCs started");
        let handled: Family<Labels<4>, Counter> =
            registry.add("grpc_server_handled", "RPCs completed, by code");
        let handling = registry.add_seconds(
            "grpc_server_handling",
            "Duration of RPCs, until their last byte",
            Family::<Labels<3>, _, fn() -> Histogram>::new_with_constructor(histogram),
        );
        let exchanges = registry.add_seconds(
            "http_client_request_duration",
            "Duration of requests to providers, one for each attempt",
            Family::<_, _, fn() -> Histogram>::new_with_constructor(histogram),
        );
        let retries: Family<Labels<1>, Counter> =
            registry.add("savepoint_gateway_upstream_retries", "Attempts after the first");
        let shed: Family<Labels<1>, Counter> = registry.add(
            "savepoint_gateway_upstream_shed",
            "RPCs rejected because too many were in flight",
        );
        let in_flight: Family<Labels<1>, Gauge> =
            registry.add("savepoint_gateway_upstream_in_flight", "RPCs in flight to a provider");
        let connections = registry.add("savepoint_gateway_connections", "Open connections");
        let request_memory = registry.add(
            "savepoint_gateway_request_memory_bytes",
            "Memory taken by the requests of callers, of --max-request-memory",
        );
        let connections_refused = registry.add(
            "savepoint_gateway_connections_refused",
            "Connections closed at once because there were too many",
        );
        let log_lines_dropped = registry.add(
            "savepoint_gateway_log_lines_dropped",
            "Log lines lost: their reader was too slow or gone, or they could not be written",
        );
        let failures: Family<Labels<3>, Counter> =
            registry.add("savepoint_gateway_failures", "RPCs that failed, by reason");
        registry.lock().register_collector(Box::new(Process));
        let spans = SpanMetrics::new(&registry);
        registry.lock().register(
            "savepoint_gateway_build",
            "The version of the gateway",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );

        let mut exchanges_ok: Vec<(&'static Provider, &'static str, _)> = Vec::new();
        for operation in operations {
            for Rest { http_method, .. } in operation.rest {
                let provider = operation.provider;
                if !exchanges_ok.iter().any(|(p, m, _)| *p == provider && m == http_method) {
                    exchanges_ok.push((provider, http_method, OnceLock::new()));
                }
            }
        }
        let providers = providers_of(operations).into_iter();
        let metrics = Self {
            started,
            handled,
            handling,
            methods: operations.iter().map(|operation| (*operation, OnceLock::new())).collect(),
            others: OnceLock::new(),
            retries,
            shed,
            in_flight,
            providers: providers.map(|provider| (provider, OnceLock::new())).collect(),
            registry,
            failures,
            exchanges,
            exchanges_ok,
            spans,
            connections,
            request_memory,
            connections_refused,
            log_lines_dropped,
        };
        metrics.method(None);
        metrics
    }

    /// Makes the series of a provider exist, at zero.
    pub(crate) fn show(&self, provider: &'static Provider) {
        for (operation, _) in self.methods.iter().filter(|(known, _)| known.provider == provider) {
            self.method(Some(operation));
            for rest in operation.rest {
                self.exchange_ok(provider, rest);
            }
        }
        self.provider(provider);
    }

    fn method(&self, operation: Option<&'static Operation>) -> &MethodMetrics {
        let found = self.methods.iter().find(|(known, _)| Some(*known) == operation);
        let place = found.map_or(&self.others, |(_, place)| place);
        place.get_or_init(|| {
            let operation = found.map(|(known, _)| *known);
            let (grpc_service, grpc_method) = method_names(operation);
            let grpc_type = operation.map_or(Kind::Unary, |operation| operation.kind).as_str();
            let labels = [
                ("grpc_type", grpc_type),
                ("grpc_service", grpc_service),
                ("grpc_method", grpc_method),
            ];
            let [kind, service, method] = labels;
            let ended = |code: usize| {
                let code = Code::from(i32::try_from(code).unwrap_or_default());
                [kind, service, method, ("grpc_code", code_names(code).pascal)]
            };
            MethodMetrics {
                started: self.started.get_or_create_owned(&labels),
                handled: std::array::from_fn(|code| self.handled.get_or_create_owned(&ended(code))),
                handling: self.handling.get_or_create_owned(&labels),
            }
        })
    }

    fn provider(&self, provider: &'static Provider) -> Option<&ProviderMetrics> {
        let (_, place) = self.providers.iter().find(|(known, _)| *known == provider)?;
        Some(place.get_or_init(|| {
            let labels = [("provider", provider.name)];
            ProviderMetrics {
                retries: self.retries.get_or_create_owned(&labels),
                shed: self.shed.get_or_create_owned(&labels),
                in_flight: self.in_flight.get_or_create_owned(&labels),
            }
        }))
    }

    fn exchange_ok(&self, provider: &'static Provider, rest: &'static Rest) -> Option<&Histogram> {
        let (_, http_method, place) =
            self.exchanges_ok.iter().find(|(known, http_method, _)| {
                *known == provider && *http_method == rest.http_method
            })?;
        Some(place.get_or_init(|| {
            self.exchanges.get_or_create_owned(&exchange(provider, http_method, Ok(200)))
        }))
    }

    pub(crate) fn started(&self, operation: Option<&'static Operation>) {
        self.method(operation).started.inc();
    }

    pub(crate) fn handled(
        &self,
        operation: Option<&'static Operation>,
        code: Code,
        took: Duration,
    ) {
        let method = self.method(operation);
        method.handled[code as usize].inc();
        method.handling.observe(took.as_secs_f64());
    }

    /// Counts a failed RPC of the contract. There are too many reasons for series without failures.
    pub(crate) fn failed(&self, operation: &'static Operation, reason: &'static str) {
        let labels = [
            ("grpc_service", operation.service),
            ("grpc_method", operation.name),
            ("reason", reason),
        ];
        self.failures.get_or_create(&labels).inc();
    }

    /// Records a request to a provider: its status, or the reason if there was no response.
    pub(crate) fn upstream_request(
        &self,
        provider: &'static Provider,
        rest: &'static Rest,
        result: Result<u16, &'static str>,
        took: Duration,
    ) {
        let seconds = took.as_secs_f64();
        let prepared = if result == Ok(200) { self.exchange_ok(provider, rest) } else { None };
        match prepared {
            Some(histogram) => histogram.observe(seconds),
            None => {
                let labels = exchange(provider, rest.http_method, result);
                self.exchanges.get_or_create(&labels).observe(seconds);
            }
        }
    }

    pub(crate) fn retried(&self, provider: &'static Provider) {
        if let Some(metrics) = self.provider(provider) {
            metrics.retries.inc();
        }
    }

    /// Counts an RPC that was rejected because too many were in flight.
    pub(crate) fn shed(&self, provider: &'static Provider) {
        if let Some(metrics) = self.provider(provider) {
            metrics.shed.inc();
        }
    }

    pub(crate) fn in_flight(&self, provider: &'static Provider) -> Option<&Gauge> {
        self.provider(provider).map(|metrics| &metrics.in_flight)
    }

    /// Encodes all metrics.
    pub(crate) fn encode(&self, log_lines_dropped: u64, format: Exposition) -> String {
        let counted: &AtomicU64 = self.log_lines_dropped.inner();
        counted.store(log_lines_dropped, Ordering::Relaxed);
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.registry.lock());
        format.rewrite(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::alibaba::GET_SAVEPOINT;
    use crate::providers::huawei::IMPORT_SAVEPOINT;

    #[test]
    fn names_and_labels_match_common_dashboards() {
        let metrics = Metrics::new(&[&IMPORT_SAVEPOINT, &GET_SAVEPOINT]);
        metrics.show(IMPORT_SAVEPOINT.provider);
        let get = Some(&GET_SAVEPOINT);
        metrics.started(get);
        metrics.handled(get, Code::NotFound, Duration::from_millis(3));
        let (provider, rest) = (GET_SAVEPOINT.provider, &GET_SAVEPOINT.rest[0]);
        metrics.upstream_request(provider, rest, Ok(404), Duration::from_millis(2));
        metrics.upstream_request(provider, rest, Ok(200), Duration::from_millis(2));
        let text = metrics.encode(7, Exposition::OpenMetrics);
        for line in [
            r#"grpc_server_started_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint"} 1"#,
            r#"grpc_server_handled_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint",grpc_code="NotFound"} 1"#,
            r#"grpc_server_handled_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="ImportSavepoint",grpc_code="OK"} 0"#,
            r#"grpc_server_handling_seconds_count{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint"} 1"#,
            r#"http_client_request_duration_seconds_count{provider="alibaba-flink",http_request_method="GET",http_response_status_code="404",error_type=""} 1"#,
            r#"http_client_request_duration_seconds_count{provider="alibaba-flink",http_request_method="GET",http_response_status_code="200",error_type=""} 1"#,
            "savepoint_gateway_log_lines_dropped_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Not configured, and not called: no series, for example of another method.
        let fresh = Metrics::new(&[&IMPORT_SAVEPOINT, &GET_SAVEPOINT]);
        fresh.show(GET_SAVEPOINT.provider);
        let text = fresh.encode(0, Exposition::OpenMetrics);
        assert!(text.contains("GetSavepoint") && !text.contains("ImportSavepoint"), "{text}");
        assert!(!text.contains(IMPORT_SAVEPOINT.provider.name), "{text}");
    }
}
