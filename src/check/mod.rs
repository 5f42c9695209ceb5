//! `check`: proves, step by step, that the options of `serve` work, and changes nothing.

mod provider;
mod report;

pub use report::Style;

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::clock::Clock;
use crate::gateway::{Clients, Config, ServeOptions};
use crate::options::{Address, ConfigError, Lookup};
use crate::policy::Right;
use crate::server::listener;
use crate::service::OPERATIONS;
use crate::telemetry::{LevelFilter, LogFormat, LogSink, Telemetry};
use crate::tls::FileProblem;
use report::{Outcome, Report, Step};

/// The options of `check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Form of the steps: text or json
    ///
    /// text for people, or json for programs: one object on each line
    #[arg(long, hide_possible_values = true, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Also print what this caller may do under --policy
    ///
    /// For example spiffe://prod.example/ns/flink/jobs, uid:1000 or anonymous
    #[arg(long, value_name = "CALLER")]
    caller: Option<String>,
    #[command(flatten)]
    pub(crate) serve: ServeOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The exit codes.
const GOOD: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

impl CheckOptions {
    /// How the steps are written to standard output.
    pub fn style(&self) -> Style {
        match self.format {
            Format::Json => Style::Json,
            Format::Text => Style::of_standard_output(),
        }
    }

    /// Whose rights are told, if anyone's.
    pub fn caller(&self) -> Option<&str> {
        self.caller.as_deref().filter(|caller| !caller.is_empty())
    }

    /// The configuration, as `serve` would have it.
    ///
    /// # Errors
    /// All problems.
    pub fn config(&self, lookup: Lookup<'_>) -> Result<Config, ConfigError> {
        self.serve.config(lookup).map(|(config, _)| config)
    }
}

/// Makes all steps, and writes each when it has ended. Returns the exit code.
///
/// # Errors
/// If `out` cannot be written to.
pub async fn run(
    config: Result<Config, ConfigError>,
    clock: Arc<dyn Clock>,
    out: &mut (dyn Write + Send),
    style: Style,
    caller: Option<&str>,
) -> io::Result<u8> {
    let mut report = Report::new(out, style);
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            for problem in error.problems() {
                report.tell(Step::new("configuration", Outcome::Failed, problem))?;
            }
            report.end()?;
            return Ok(USAGE);
        }
    };
    for warning in &config.warnings {
        report.tell(Step::new("configuration", Outcome::Warning, warning))?;
    }
    if config.warnings.is_empty() {
        report.tell(Step::ok("configuration", "valid"))?;
    }
    policy(&config, caller, &mut report)?;
    own_certificates(&config, clock.now(), &mut report)?;
    let server = &config.server;
    for (flag, address) in [("--listen", &server.listen), ("--admin-listen", &server.admin_listen)]
    {
        report.tell(listen(flag, address, server.socket_mode).await)?;
    }
    providers(&config, &clock, &mut report).await?;
    Ok(if report.end()? { GOOD } else { FAILED })
}

async fn providers(
    config: &Config,
    clock: &Arc<dyn Clock>,
    report: &mut Report<'_>,
) -> io::Result<()> {
    // Nothing is logged: each step says how it ended.
    let sink = LogSink::new(io::sink(), LogFormat::Json, LevelFilter::OFF)?;
    let telemetry = Telemetry::new(sink, OPERATIONS);
    let clients = match Clients::start(config, telemetry, Arc::clone(clock)) {
        Ok(clients) => clients,
        Err(error) => {
            return report.tell(Step::new("certificates", Outcome::Failed, error.to_string()));
        }
    };
    ignored(clients.trust.ignored(), report)?;
    let limit = config.server.timeouts.default;
    for (setup, probe) in &clients.probes {
        let check = provider::Check { setup, options: &clients.options, limit, clock: &**clock };
        check.run(&**probe, report).await?;
    }
    Ok(())
}

fn ignored(problems: &[FileProblem], report: &mut Report<'_>) -> io::Result<()> {
    for FileProblem { flag, why } in problems {
        let text = format!("{flag}: {why}, and is ignored");
        report.tell(Step::new("certificates", Outcome::Warning, text))?;
    }
    Ok(())
}

/// The policy, and what a caller may do under it.
fn policy(config: &Config, caller: Option<&str>, report: &mut Report<'_>) -> io::Result<()> {
    let Some(enforcement) = &config.server.policy else {
        return match caller {
            Some(_) => report.tell(
                Step::new(
                    "policy",
                    Outcome::Warning,
                    "there is none: everyone may call everything",
                )
                .fix("set --policy"),
            ),
            None => Ok(()),
        };
    };
    let policy = enforcement.file.current();
    let text = format!("valid, {} rules", policy.len());
    report.tell(match enforcement.dry_run {
        true => Step::new(
            "policy",
            Outcome::Warning,
            format!("{text}; --policy-dry-run refuses nothing"),
        ),
        false if policy.is_empty() => Step::new(
            "policy",
            Outcome::Warning,
            "it has no rule, so that nobody may call anything",
        ),
        false => Step::ok("policy", text),
    })?;
    let Some(caller) = caller else { return Ok(()) };
    for operation in OPERATIONS {
        let right = match policy.right(caller, operation) {
            Right::None => "may not call it".to_owned(),
            Right::All => "may call it".to_owned(),
            Right::Within(scopes) => format!("may call it within {}", scopes.join(", or ")),
        };
        report.tell(Step::ok("policy", format!("{operation}: {caller} {right}")))?;
    }
    Ok(())
}

/// The certificates that the gateway shows to callers and to providers.
fn own_certificates(config: &Config, now: Timestamp, report: &mut Report<'_>) -> io::Result<()> {
    if let Some(tls) = &config.server.tls {
        report.tell(expiry("certificate", "--tls-cert", tls.not_after(), now))?;
        ignored(&tls.ignored(), report)?;
    }
    if let Some(identity) = &config.upstream.identity {
        report.tell(expiry("certificate", "--upstream-client-cert", identity.not_after(), now))?;
    }
    Ok(())
}

/// A certificate in use must have been replaced by then.
const SOON: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// The step for a certificate of the gateway's own.
fn expiry(step: &'static str, flag: &str, not_after: Option<Timestamp>, now: Timestamp) -> Step {
    let left = not_after.map(|end| end.duration_since(now));
    let told = match left {
        Some(left) if left.is_negative() => {
            Step::new(step, Outcome::Failed, format!("that of {flag} has expired"))
                .fix("replace the file")
        }
        Some(left) if left < SOON => {
            Step::new(step, Outcome::Warning, format!("that of {flag} expires soon"))
                .fix("replace the file; a running gateway reads it again")
        }
        _ => Step::ok(step, format!("that of {flag} can be used")),
    };
    told.expires(not_after)
}

/// Whether `serve` can listen on this address.
async fn listen(flag: &str, address: &Address, mode: Option<u32>) -> Step {
    let failed =
        |outcome, why: &str| Step::new("listen", outcome, format!("{flag} {address}: {why}"));
    match listener::bind(address, mode).await {
        Ok(_) => Step::ok("listen", format!("{flag} {address} is free")),
        // Perhaps by the gateway that this configuration is for.
        Err(error) if error.kind() == ErrorKind::AddrInUse => failed(Outcome::Warning, "is in use")
            .fix("if that is not the gateway itself, choose another address: it could not start"),
        Err(error) => failed(Outcome::Failed, &error.to_string())
            .fix("choose an address of this machine that this user may listen on"),
    }
}
