//! The `OTEL_*` variables of traces.
//!
//! Other programs read them, too, and platforms set them for all. So what this one does not know or
//! support is ignored with a warning, as the specification asks; nothing here stops the start.
//!
//! # Reference
//! - <https://opentelemetry.io/docs/specs/otel/configuration/common/>
//! - <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! - <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
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
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

struct EnvVar {
    name: String,
    value: String,
}

/// How traces are accepted, forwarded and exported. Spans are exported if an endpoint is set;
/// without one, variables of the export are not read.
pub(crate) fn traces(problems: &mut Problems<'_>, forward: bool) -> TraceConfig {
    let mut variables = Variables(problems);
    let off = variables.switch("OTEL_SDK_DISABLED");
    let accept = variables.lists("OTEL_PROPAGATORS", "tracecontext", &["baggage"]) && !off;
    let otlp = variables.lists("OTEL_TRACES_EXPORTER", "otlp", &[]);
    let export = match variables.variable(ENDPOINT) {
        Some(endpoint) if !off && otlp => variables.export(&endpoint),
        _ => None,
    };
    TraceConfig { accept, forward, export }
}

struct Variables<'a, 'p>(&'a mut Problems<'p>);

impl Variables<'_, '_> {
    /// None if the endpoint cannot be used.
    fn export(&mut self, endpoint: &EnvVar) -> Option<ExportConfig> {
        let protocol =
            self.read("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", |value| match value {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::Http),
                _ => Err("is not supported"),
            });
        let protocol = protocol.unwrap_or(Protocol::Http);
        let uri = self.collector(endpoint, protocol)?;
        let gzip = self.read("OTEL_EXPORTER_OTLP_COMPRESSION", "none", |value| match value {
            "gzip" => Ok(true),
            "none" => Ok(false),
            _ => Err("is not supported"),
        });
        let timeout = self.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000);
        let batch_timeout = self.milliseconds("OTEL_BSP_EXPORT_TIMEOUT", 30_000);
        let max_queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1..=1_000_000);
        let default = 512.min(max_queue);
        let max_batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default, 1..=max_queue);
        for name in ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] {
            if let Some(EnvVar { name, .. }) = self.variable(name) {
                self.0.warn(
                    &name,
                    "is not supported and ignored: the gateway presents no certificate to a collector",
                );
            }
        }
        let is_tls = uri.scheme_str() == Some("https");
        Some(ExportConfig {
            protocol,
            gzip: gzip.unwrap_or_default(),
            timeout: Duration::from_millis(timeout.min(batch_timeout)),
            max_queue,
            max_batch,
            delay: Duration::from_millis(self.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5_000)),
            sampler: self.sampler(),
            headers: self.headers(),
            resource: self.resource(),
            trust: self.collector_trust(is_tls)?,
            endpoint: uri,
        })
    }

    /// A variable that is set. Of those of the exporter, the variable for traces, else the one for
    /// all signals.
    fn variable(&mut self, name: &str) -> Option<EnvVar> {
        let own = name.strip_prefix(EXPORTER).map(|what| format!("{EXPORTER}_TRACES{what}"));
        own.into_iter().chain([name.to_owned()]).find_map(|name| {
            let Ok(value) = self.0.foreign_variable(&name) else {
                self.0.warn(&name, "is not UTF-8 text, and ignored");
                return None;
            };
            let value = value?.trim().to_owned();
            (!value.is_empty()).then_some(EnvVar { name, value })
        })
    }

    /// Parses a variable that is set with `read`. After a failure, the default applies.
    fn read<T, E: Display>(
        &mut self,
        name: &str,
        default: impl Display,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let EnvVar { name, value } = self.variable(name)?;
        let warn = |why| self.0.warn(&name, format_args!("{value:?} {why}; {default} is used"));
        read(&value).map_err(warn).ok()
    }

    /// A boolean: true is `true` in any case, and everything else is false.
    fn switch(&mut self, name: &str) -> bool {
        let read = self.read(name, "false", |value| match value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither true nor false"),
        });
        read.unwrap_or_default()
    }

    /// Whether a list contains `ours`, which is the default. `ignored`: what it may also contain.
    fn lists(&mut self, name: &str, ours: &str, ignored: &[&str]) -> bool {
        let Some(EnvVar { name, value }) = self.variable(name) else { return true };
        let mut found = false;
        for item in value.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == ours {
                found = true;
            } else if item != "none" && !ignored.contains(&item) {
                self.0.warn(&name, format_args!("{item:?} is not supported and ignored"));
            }
        }
        found
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
        let name = self.read("OTEL_TRACES_SAMPLER", SAMPLERS[0], |value| {
            let known = SAMPLERS.into_iter().find(|known| known.eq_ignore_ascii_case(value));
            known.ok_or("is not supported")
        });
        let name = name.unwrap_or(SAMPLERS[0]);
        let ratio = if name.ends_with("always_on") {
            1.0
        } else if name.ends_with("always_off") {
            0.0
        } else {
            let ratio = self.read("OTEL_TRACES_SAMPLER_ARG", "1.0", |value| match value.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
                _ => Err("is not a number from 0 to 1"),
            });
            ratio.unwrap_or(1.0)
        };
        Sampler { parent_based: name.starts_with("parentbased"), ratio }
    }

    /// A time in milliseconds, without a unit.
    fn milliseconds(&mut self, name: &str, default: u64) -> u64 {
        let read = self.read(name, default, |value| match value.parse() {
            Ok(count @ 1..=86_400_000) => Ok(count),
            _ => Err("is not a number of milliseconds from 1 to 86400000"),
        });
        read.unwrap_or(default)
    }

    fn number(&mut self, name: &str, default: usize, range: RangeInclusive<usize>) -> usize {
        let read = self.read(name, default, |value| match value.parse() {
            Ok(count) if range.contains(&count) => Ok(count),
            _ => Err(format!("is not a number from {} to {}", range.start(), range.end())),
        });
        read.unwrap_or(default)
    }

    /// The headers of every request. Values are not shown: they often contain a key.
    fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(EnvVar { name, value }) = self.variable("OTEL_EXPORTER_OTLP_HEADERS") else {
            return headers;
        };
        for (number, pair) in (1..).zip(pairs(&value)) {
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
                None => self.0.warn(
                    &name,
                    format_args!("header {number} is not api-key=example, and not sent"),
                ),
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
            let attribute = |pair| key_value(pair).filter(|(key, _)| !key.is_empty());
            // The specification discards all of them if one is wrong.
            match pairs(&value).map(attribute).collect::<Option<Vec<_>>>() {
                Some(found) => {
                    found.into_iter().for_each(|(key, value)| set(key, value.into_owned()));
                }
                None => self
                    .0
                    .warn(&name, format_args!("{value:?} is not a list of key=value, and ignored")),
            }
        }
        if let Some(EnvVar { value, .. }) = self.variable("OTEL_SERVICE_NAME") {
            set("service.name", value);
        }
        attributes
    }

    /// The CAs of the collector, if it uses TLS; none if they cannot be had.
    fn collector_trust(&mut self, is_tls: bool) -> Option<Option<Trust>> {
        const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
        let (name, trust) = match self.variable(CERTIFICATE) {
            Some(EnvVar { name, value }) => {
                (Some(name), Trust::of_file(CERTIFICATE, Path::new(&value)))
            }
            None if is_tls => (None, Trust::platform()),
            None => return Some(None),
        };
        let warn = |FileProblem { flag, why }: FileProblem| {
            self.0.warn(name.as_deref().unwrap_or(flag), format_args!("{why}; {NO_EXPORT}"));
        };
        trust.map_err(warn).ok().map(Some)
    }

    /// The URL of batches. For gRPC this is the origin. For HTTP `/v1/traces` is appended, except to
    /// the variable for traces.
    fn collector(&mut self, endpoint: &EnvVar, protocol: Protocol) -> Option<Uri> {
        let EnvVar { name, value } = endpoint;
        let scheme = match protocol {
            // The specification allows what gRPC libraries accept.
            Protocol::Grpc if !value.contains("://") => {
                if self.switch("OTEL_EXPORTER_OTLP_INSECURE") { "http://" } else { "https://" }
            }
            Protocol::Grpc | Protocol::Http => "",
        };
        // Not shown: it may contain a password.
        let url = read_collector(&format!("{scheme}{value}"));
        let mut url =
            url.map_err(|why| self.0.warn(name, format_args!("{why}; {NO_EXPORT}"))).ok()?;
        match protocol {
            Protocol::Grpc if url.path() != "/" => {
                self.0.warn(name, "has a path, which gRPC does not use");
                url.set_path("/");
            }
            Protocol::Http if !name.ends_with("TRACES_ENDPOINT") => {
                let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
                url.set_path(&path);
            }
            Protocol::Grpc | Protocol::Http => {}
        }
        url.as_str().parse().ok()
    }
}

const NO_EXPORT: &str = "no spans are exported";

fn read_collector(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL such as http://127.0.0.1:4318")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password; use OTEL_EXPORTER_OTLP_HEADERS");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment");
    }
    Ok(url)
}

fn pairs(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|pair| !pair.is_empty())
}

fn key_value(pair: &str) -> Option<(&str, Cow<'_, str>)> {
    let (key, value) = pair.split_once('=')?;
    Some((key.trim(), percent_decode_str(value.trim()).decode_utf8().ok()?))
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

    const ENDPOINT: (&str, &str) = (super::ENDPOINT, "http://127.0.0.1:4318");

    /// The configuration and the warnings. There are never problems.
    fn traces(env: &[(&str, &str)]) -> (TraceConfig, String) {
        let lookup = |name: &str| {
            Ok(env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let mut problems = Problems::new(&lookup);
        let config = super::traces(&mut problems, false);
        let warnings = problems.take_warnings().join("\n");
        problems.finish((config, warnings)).unwrap()
    }

    fn export(env: &[(&str, &str)]) -> ExportConfig {
        traces(env).0.export.unwrap()
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
            let (config, warnings) = traces(&env);
            assert!(config.export.is_none(), "{env:?}");
            assert_eq!(warnings, "", "{env:?}");
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
    fn what_is_not_supported_is_ignored_with_a_warning_and_no_key_is_shown() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key exampleSecret,good=1,host=exampleSecret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/key"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,lonely"),
            ("OTEL_SDK_DISABLED", "0"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_TRACES_EXPORTER", "console,otlp"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ];
        let (config, warnings) = traces(&[&wrong[..], &[ENDPOINT]].concat());
        for (name, _) in wrong {
            let found = warnings.lines().any(|line| line.starts_with(&format!("{name}: ")));
            assert!(found, "{name}\n{warnings}");
        }
        assert!(!warnings.contains("exampleSecret"), "{warnings}");
        assert!(config.accept);
        let (found, default) = (config.export.unwrap(), export(&[ENDPOINT]));
        let of = |config: &ExportConfig| {
            let ExportConfig { endpoint, protocol, timeout, gzip, .. } = config;
            (endpoint.clone(), *protocol, *timeout, *gzip, config.delay, config.resource.len())
        };
        assert_eq!(of(&found), of(&default));
        assert_eq!((found.max_queue, found.max_batch), (default.max_queue, default.max_batch));
        assert_eq!(found.sampler, default.sampler);
        assert_eq!(found.headers.keys().collect::<Vec<_>>(), ["good"]);
    }

    #[test]
    fn an_endpoint_that_cannot_be_used_stops_the_export_and_not_the_start() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        for (env, why) in [
            (vec![(super::ENDPOINT, "http://u:exampleSecret@h")], "a user or a password"),
            (vec![(super::ENDPOINT, "otel-collector:4318")], "must begin with http://"),
            (vec![(super::ENDPOINT, "http://h/?x=1")], "a query"),
            (vec![(super::ENDPOINT, "unix:///run/otel.sock"), grpc], "must begin with http://"),
            (vec![(super::ENDPOINT, "http://"), grpc], "is not a URL"),
            (vec![ENDPOINT, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca")], "does not exist"),
        ] {
            let (config, warnings) = traces(&env);
            assert!(config.export.is_none(), "{env:?}");
            assert!(warnings.contains(why) && warnings.contains(NO_EXPORT), "{warnings}");
            assert!(!warnings.contains("exampleSecret"), "{warnings}");
        }
    }

    #[test]
    fn grpc_endpoints_may_lack_the_scheme() {
        let insecure = "OTEL_EXPORTER_OTLP_INSECURE";
        for (endpoint, env, want) in [
            ("otel-collector:4317", None, "https://otel-collector:4317/"),
            ("otel-collector:4317", Some((insecure, "True")), "http://otel-collector:4317/"),
            ("otel-collector:4317", Some((insecure, "1")), "https://otel-collector:4317/"),
            ("otel-collector", Some((insecure, "true")), "http://otel-collector/"),
            ("[::1]:4317", Some((insecure, "true")), "http://[::1]:4317/"),
            ("http://h:4317", Some((insecure, "false")), "http://h:4317/"),
            ("https://h:4317", Some((insecure, "true")), "https://h:4317/"),
            ("http://h:4317/v1/traces", None, "http://h:4317/"),
            ("h:4317", Some(("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")), "http://h:4317/"),
        ] {
            let mut all =
                vec![(super::ENDPOINT, endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
            all.extend(env);
            assert_eq!(export(&all).endpoint, want, "{all:?}");
        }
    }

    #[test]
    fn only_true_is_true() {
        for (value, off, warns) in [
            ("true", true, false),
            ("TRUE", true, false),
            ("false", false, false),
            ("0", false, true),
            ("1", false, true),
            ("yes", false, true),
            ("", false, false),
        ] {
            let (config, warnings) = traces(&[ENDPOINT, ("OTEL_SDK_DISABLED", value)]);
            assert_eq!(config.export.is_none(), off, "{value:?}");
            assert_eq!(!warnings.is_empty(), warns, "{value:?}: {warnings}");
        }
    }

    #[test]
    fn lists_may_name_what_is_for_other_programs() {
        for (value, accept, warns) in [
            ("tracecontext,baggage", true, false),
            ("tracecontext", true, false),
            ("tracecontext,baggage,b3", true, true),
            (" b3 , tracecontext,", true, true),
            ("baggage", false, false),
            ("b3", false, true),
            ("none", false, false),
            ("", true, false),
        ] {
            let (config, warnings) = traces(&[("OTEL_PROPAGATORS", value)]);
            assert_eq!(config.accept, accept, "{value:?}");
            assert_eq!(!warnings.is_empty(), warns, "{value:?}: {warnings}");
        }
        for (value, exports, warns) in [
            ("otlp", true, false),
            ("otlp,console", true, true),
            ("console", false, true),
            ("none", false, false),
            ("", true, false),
        ] {
            let (config, warnings) = traces(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", value)]);
            assert_eq!(config.export.is_some(), exports, "{value:?}");
            assert_eq!(!warnings.is_empty(), warns, "{value:?}: {warnings}");
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
