//! The `OTEL_*` variables of traces.
//!
//! # Reference
//! - <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! - <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{ExportConfig, Protocol, TraceConfig};
use crate::options::Problems;
use crate::telemetry::Sampler;
use crate::text::hex;
use crate::tls::{FileProblem, Trust};

const EXPORTER: &str = "OTEL_EXPORTER_OTLP";

struct EnvVar {
    name: String,
    value: String,
}

/// How traces are accepted, forwarded and exported. Spans are exported if an endpoint is set;
/// without one, variables of the export are not read.
pub(crate) fn traces(problems: &mut Problems<'_>, forward: bool) -> TraceConfig {
    let mut variables = Variables(problems);
    let off = variables.one_of("OTEL_SDK_DISABLED", &["true", "false"]) == Some("true");
    let accept = variables.accepts_context() && !off;
    let exporter = variables.one_of("OTEL_TRACES_EXPORTER", &["otlp", "none"]);
    let export = match variables.variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
        Some(endpoint) if !off && exporter != Some("none") => variables.export(&endpoint),
        _ => None,
    };
    TraceConfig { accept, forward, export }
}

struct Variables<'a, 'p>(&'a mut Problems<'p>);

impl Variables<'_, '_> {
    fn export(&mut self, endpoint: &EnvVar) -> Option<ExportConfig> {
        let protocol = self.read("OTEL_EXPORTER_OTLP_PROTOCOL", |value| match value {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::Http),
            _ => Err("is neither grpc nor http/protobuf"),
        });
        let protocol = protocol.unwrap_or(Protocol::Http);
        // Not shown: it may contain a password.
        let uri = collector(endpoint, protocol).map_err(|why| self.0.report(&endpoint.name, why));
        let gzip = self.read("OTEL_EXPORTER_OTLP_COMPRESSION", |value| match value {
            "gzip" => Ok(true),
            "none" => Ok(false),
            _ => Err("is neither gzip nor none"),
        });
        let timeout = self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000);
        let batch_timeout = self.milliseconds("OTEL_BSP_EXPORT_TIMEOUT", 30_000);
        let max_queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1_000_000);
        let default = 512.min(max_queue);
        let max_batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default, max_queue);
        for name in ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] {
            if let Some(EnvVar { name, .. }) = self.variable(name) {
                self.0.report(
                    &name,
                    "is not supported: the gateway presents no certificate to a collector",
                );
            }
        }
        let is_tls = uri.as_ref().is_ok_and(|uri| uri.scheme_str() == Some("https"));
        Some(ExportConfig {
            protocol,
            gzip: gzip.unwrap_or_default(),
            timeout: timeout.min(batch_timeout),
            max_queue,
            max_batch,
            delay: self.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5_000),
            sampler: self.sampler(),
            headers: self.headers(),
            resource: self.resource(),
            trust: self.collector_trust(is_tls),
            // After all others, so that every problem is reported.
            endpoint: uri.ok()?,
        })
    }

    /// A variable that is set. Of those of the exporter, the variable for traces, else the one for
    /// all signals.
    fn variable(&mut self, name: &str) -> Option<EnvVar> {
        let own = name.strip_prefix(EXPORTER).map(|what| format!("{EXPORTER}_TRACES{what}"));
        own.into_iter().chain([name.to_owned()]).find_map(|name| {
            let value = self.0.variable(&name)?.trim().to_owned();
            (!value.is_empty()).then_some(EnvVar { name, value })
        })
    }

    /// Parses a variable that is set with `read`, and reports a failure.
    fn read<T, E: Display>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let EnvVar { name, value } = self.variable(name)?;
        self.0.read(&name, &value, read)
    }

    fn one_of(&mut self, name: &str, known: &[&'static str]) -> Option<&'static str> {
        self.read(name, |value| {
            let found = known.iter().find(|known| known.eq_ignore_ascii_case(value)).copied();
            found.ok_or_else(|| format!("is not one of {}", known.join(", ")))
        })
    }

    /// Baggage is ignored, but allowed: it is part of the default value.
    fn accepts_context(&mut self) -> bool {
        let Some(EnvVar { name, value }) = self.variable("OTEL_PROPAGATORS") else { return true };
        let mut accepts = false;
        for propagator in value.split(',').map(str::trim) {
            let read = self.0.read(&name, propagator, |propagator| match propagator {
                "tracecontext" => Ok(true),
                "baggage" | "none" | "" => Ok(false),
                _ => Err("is not one of tracecontext, baggage, none"),
            });
            accepts |= read.unwrap_or_default();
        }
        accepts
    }

    fn sampler(&mut self) -> Sampler {
        const SAMPLERS: [&str; 6] = [
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
            "always_on",
            "always_off",
            "traceidratio",
        ];
        let name = self.one_of("OTEL_TRACES_SAMPLER", &SAMPLERS).unwrap_or(SAMPLERS[0]);
        let ratio = if name.ends_with("always_on") {
            1.0
        } else if name.ends_with("always_off") {
            0.0
        } else {
            let ratio = self.read("OTEL_TRACES_SAMPLER_ARG", |value| match value.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
                _ => Err("is not a number from 0 to 1"),
            });
            ratio.unwrap_or(1.0)
        };
        Sampler { parent_based: name.starts_with("parentbased"), ratio }
    }

    /// A duration in milliseconds, without a unit.
    fn milliseconds(&mut self, name: &str, default: u64) -> Duration {
        let read = self.read(name, |value| match value.parse() {
            Ok(count @ 1..=86_400_000) => Ok(count),
            _ => Err("is not a number of milliseconds"),
        });
        Duration::from_millis(read.unwrap_or(default))
    }

    fn number(&mut self, name: &str, default: usize, most: usize) -> usize {
        let variable = self.variable(name);
        variable.map_or(default, |EnvVar { name, value }| self.0.count(&name, &value, most))
    }

    /// The headers of every request. Values are not shown: they often contain a key.
    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(EnvVar { name, value }) = self.variable("OTEL_EXPORTER_OTLP_HEADERS") else {
            return headers;
        };
        for pair in pairs(&value) {
            let header = key_value(pair).and_then(|(key, value)| {
                let key = HeaderName::try_from(key).ok()?;
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                // The protocol's own headers cannot be set.
                let own = matches!(key.as_str(), "host" | "content-type" | "content-length" | "te");
                (!own && !key.as_str().starts_with("grpc-") && !key.as_str().ends_with("-bin"))
                    .then_some((key, value))
            });
            match header {
                Some((key, value)) => drop(headers.append(key, value)),
                None => {
                    self.0.report(&name, "is not a list such as api-key=example,other=value");
                    break;
                }
            }
        }
        headers
    }

    /// The attributes of the process. `OTEL_SERVICE_NAME` overrides `service.name`.
    fn resource(&mut self) -> Vec<(String, String)> {
        const NAME: &str = env!("CARGO_PKG_NAME");
        const VERSION: &str = env!("CARGO_PKG_VERSION");
        let own = [
            ("service.name", NAME),
            ("service.version", VERSION),
            ("service.instance.id", &instance_id()),
            ("telemetry.sdk.name", NAME),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", VERSION),
        ];
        let mut attributes = own.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let mut set = |key: &str, value: String| match attributes
            .iter_mut()
            .find(|(known, _)| known == key)
        {
            Some((_, old)) => *old = value,
            None => attributes.push((key.to_owned(), value)),
        };
        if let Some(EnvVar { name, value }) = self.variable("OTEL_RESOURCE_ATTRIBUTES") {
            for pair in pairs(&value) {
                let attribute = self.0.read(&name, pair, |_| {
                    let attribute = key_value(pair).filter(|(key, _)| !key.is_empty());
                    attribute.ok_or("is not key=value")
                });
                if let Some((key, value)) = attribute {
                    set(key, value.into_owned());
                }
            }
        }
        if let Some(EnvVar { value, .. }) = self.variable("OTEL_SERVICE_NAME") {
            set("service.name", value);
        }
        attributes
    }

    fn collector_trust(&mut self, is_tls: bool) -> Option<Trust> {
        const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
        let trust = match self.variable(CERTIFICATE) {
            Some(EnvVar { value, .. }) => Trust::of_file(CERTIFICATE, Path::new(&value)),
            None if is_tls => Trust::platform(),
            None => return None,
        };
        trust.map_err(|found| FileProblem::report(vec![found], self.0)).ok()
    }
}

fn pairs(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|pair| !pair.is_empty())
}

fn key_value(pair: &str) -> Option<(&str, Cow<'_, str>)> {
    let (key, value) = pair.split_once('=')?;
    Some((key.trim(), percent_decode_str(value.trim()).decode_utf8().ok()?))
}

/// The URL of batches. For gRPC this is the origin. For HTTP `/v1/traces` is appended, except to
/// the variable for traces.
fn collector(endpoint: &EnvVar, protocol: Protocol) -> Result<Uri, &'static str> {
    const NO_URL: &str = "is not a URL such as http://127.0.0.1:4318";
    let mut url = Url::parse(&endpoint.value).map_err(|_| NO_URL)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password; use OTEL_EXPORTER_OTLP_HEADERS");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment");
    }
    match protocol {
        Protocol::Grpc if url.path() != "/" => return Err("must not have a path for gRPC"),
        Protocol::Http if !endpoint.name.ends_with("TRACES_ENDPOINT") => {
            let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Protocol::Grpc | Protocol::Http => {}
    }
    Uri::try_from(url.as_str()).map_err(|_| NO_URL)
}

/// A random UUID (RFC 9562) that identifies this process.
fn instance_id() -> String {
    let mut id: [u8; 16] = crate::clock::random();
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let text = hex(&id);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn traces(env: &[(&str, &str)]) -> Result<TraceConfig, String> {
        let lookup = |name: &str| {
            Ok(env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let mut problems = Problems::new(&lookup);
        let config = super::traces(&mut problems, false);
        problems.finish(config).map_err(|error| error.to_string())
    }

    fn export(env: &[(&str, &str)]) -> ExportConfig {
        traces(env).unwrap().export.unwrap()
    }

    #[test]
    fn without_an_endpoint_there_are_no_spans() {
        for env in [
            vec![],
            vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "nonsense")],
            vec![ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
            vec![ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        ] {
            let config = traces(&env).unwrap();
            assert!(config.export.is_none(), "{env:?}");
            assert_eq!(config.accept, !env.contains(&("OTEL_SDK_DISABLED", "true")));
        }
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = export(&[ENDPOINT]);
        assert_eq!(config.endpoint, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(config.protocol, Protocol::Http);
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert_eq!((config.max_queue, config.max_batch), (2048, 512));
        assert_eq!(config.delay, Duration::from_secs(5));
        assert_eq!(config.sampler, Sampler { parent_based: true, ratio: 1.0 });
        assert!(!config.gzip && config.headers.is_empty() && config.trust.is_none());
        let name = |config: &ExportConfig| config.resource[0].clone();
        assert_eq!(name(&config), ("service.name".into(), "savepoint-gateway".into()));
        let named = export(&[
            ENDPOINT,
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=x%2Cy"),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        assert_eq!(name(&named).1, "b");
        assert_eq!(
            named.resource.last().unwrap(),
            &("deployment.environment.name".to_owned(), "x,y".to_owned())
        );
    }

    #[test]
    fn the_variable_for_traces_takes_precedence() {
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:1/as/it/is");
        for (env, want) in [
            (vec![ENDPOINT, own], "http://h:1/as/it/is"),
            (
                vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:1/base/")],
                "http://h:1/base/v1/traces",
            ),
            (
                vec![
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://h"),
                    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ],
                "https://h/",
            ),
        ] {
            assert_eq!(export(&env).endpoint, want, "{env:?}");
        }
        let config = export(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=example%20Secret, b = 2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "40000"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ]);
        assert_eq!(config.headers["api-key"], "example Secret");
        assert_eq!(config.headers["b"], "2");
        assert!(!config.headers.contains_key("a"));
        assert_eq!(config.timeout, Duration::from_secs(30));
        assert!(config.gzip);
        assert_eq!(config.sampler, Sampler { parent_based: false, ratio: 0.25 });
        assert_eq!((config.max_queue, config.max_batch), (100, 100));
        assert!(!format!("{config:?}").contains("Secret"));
    }

    #[test]
    fn all_problems_are_reported_and_no_key_is_shown() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:exampleSecret@h"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key exampleSecret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/key"),
            ("OTEL_RESOURCE_ATTRIBUTES", "lonely"),
            ("OTEL_SDK_DISABLED", "maybe"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ];
        let error = traces(&wrong).unwrap_err();
        for (name, _) in wrong {
            assert!(error.contains(&format!("\n  {name}: ")), "{name}\n{error}");
        }
        assert!(!error.contains("exampleSecret"), "{error}");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "h:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h/?x=1"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
        ] {
            let env = [(name, value), ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio")];
            assert!(traces(&env).unwrap_err().contains(name), "{name}");
        }
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h/x"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ];
        assert!(traces(&env).unwrap_err().contains("must not have a path"));
    }

    #[test]
    fn a_callers_context_is_accepted_unless_disabled() {
        for (value, want) in [
            ("tracecontext,baggage", true),
            ("tracecontext", true),
            ("baggage", false),
            ("none", false),
        ] {
            assert_eq!(traces(&[("OTEL_PROPAGATORS", value)]).unwrap().accept, want, "{value}");
        }
    }

    #[test]
    fn an_instance_id_is_a_uuid() {
        let id = instance_id();
        let shape: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12]);
        assert_eq!(id.as_bytes()[14], b'4');
        assert_ne!(id, instance_id());
    }
}
