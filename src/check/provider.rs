//! The steps for one provider: name, connections, credential, lookups, clock and signature.

use std::io;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::SignedDuration;

use super::SOON;
use super::report::{Outcome, Report, Step};
use crate::clock::Clock;
use crate::providers::{Probe, Setup};
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::transport::{ClientOptions, Reach};
use crate::upstream::{Probed, Proof};

/// A difference of clocks from which there is a warning. Signatures are valid for a quarter of an
/// hour at both clouds.
const CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(60);

/// Time limit for a credential and for a lookup: as long as one fetch may take, and a little more.
const FETCH: Duration = Duration::from_secs(35);

/// Maximum number of addresses of a name that are tried. A client tries as many as it has time for.
const ADDRESSES: usize = 16;

/// One provider, and how it is checked.
pub(super) struct Check<'a> {
    pub(super) setup: &'a Setup,
    pub(super) options: &'a ClientOptions,
    /// Time limit for the signed request.
    pub(super) limit: Duration,
    pub(super) clock: &'a dyn Clock,
}

impl Check<'_> {
    pub(super) async fn run(&self, probe: &dyn Probe, report: &mut Report<'_>) -> io::Result<()> {
        let mut missing = None;
        if !self.connect(report).await? {
            missing = Some("there is no connection");
        }
        let credential = self.credential().await;
        if credential.has_failed() {
            missing = missing.or(Some("there is no credential"));
        }
        report.tell(credential.of(self.setup))?;
        for lookup in &self.setup.lookups {
            let _ = tokio::time::timeout(FETCH, lookup.attempted()).await;
            let step = match (lookup.known(), lookup.missing()) {
                (Some(known), _) => Step::ok("lookup", known),
                (None, why) => Step::new("lookup", Outcome::Failed, why.unwrap_or_default())
                    .fix("without it only requests that name it can be served"),
            };
            if step.has_failed() {
                missing = missing.or(Some("a lookup has failed"));
            }
            report.tell(step.of(self.setup))?;
        }
        if let Some(missing) = missing {
            let text = format!("not tried: {missing}");
            report.tell(Step::new("clock", Outcome::Skipped, &text).of(self.setup))?;
            return report.tell(Step::new("signature", Outcome::Skipped, &text).of(self.setup));
        }
        let probed = match tokio::time::timeout(self.limit, probe.probe()).await {
            Ok(probed) => probed,
            Err(_) => {
                let text = format!("no response within {:?}", self.limit);
                let proof = Proof::Failed(Error::new(Reason::DeadlineExceeded, text));
                Probed { proof, clock_offset: None }
            }
        };
        report.tell(clock(&probed).of(self.setup))?;
        report.tell(signature(probed.proof).of(self.setup))
    }

    /// The name and every address. Whether a connection can be made.
    async fn connect(&self, report: &mut Report<'_>) -> io::Result<bool> {
        let endpoint = &self.setup.endpoint;
        let found = match Reach::new(self.options, endpoint) {
            Ok(reach) => reach.addresses().await.map(|found| (reach, found)),
            Err(error) => Err(error),
        };
        let (reach, mut found) = match found {
            Ok(found) => found,
            Err(error) => {
                let text = format!("{}: {error}", endpoint.origin());
                let step = Step::of_error("name", Outcome::Failed, &error, text).of(self.setup);
                let fix = "check the name, and the name server of this machine";
                report.tell(step.fix(fix))?;
                return Ok(false);
            }
        };
        let (host, _) = reach.host();
        if !reach.is_address() {
            let mut shown: Vec<_> =
                found.iter().take(ADDRESSES).map(|address| address.ip().to_string()).collect();
            if let Some(more) = found.len().checked_sub(ADDRESSES).filter(|more| *more > 0) {
                shown.push(format!("and {more} more, which are not tried"));
            }
            let of = if reach.is_proxied() { "the proxy " } else { "" };
            report.tell(
                Step::ok("name", format!("{of}{host} is {}", shown.join(", "))).of(self.setup),
            )?;
        }
        found.truncate(ADDRESSES);
        let began = Instant::now();
        let tried = join_all(found.iter().map(async |address| {
            let result = reach.connect(*address).await;
            (address, result, began.elapsed())
        }))
        .await;
        let is_any = tried.iter().any(|(_, result, _)| result.is_ok());
        for (address, result, took) in tried {
            let step = match result {
                Ok(reached) => self
                    .reached(&format!("{address} in {} ms", took.as_millis()), reached.certificate),
                Err(error) => {
                    // A client goes on to the next address, but not after a wrong certificate.
                    let is_tolerable = is_any && error.reason() == Reason::ConnectFailed;
                    let text = format!("{address}: {error}");
                    let outcome = if is_tolerable { Outcome::Warning } else { Outcome::Failed };
                    Step::of_error("connect", outcome, &error, text).fix(fix(error.reason()))
                }
            };
            report.tell(step.of(self.setup))?;
        }
        Ok(is_any)
    }

    fn reached(&self, what: &str, certificate: Option<Option<jiff::Timestamp>>) -> Step {
        let Some(not_after) = certificate else {
            return Step::ok("connect", format!("{what}, without TLS"));
        };
        let left = not_after.map(|end| end.duration_since(self.clock.now()));
        let step = match left {
            Some(left) if left < SOON => {
                Step::new("connect", Outcome::Warning, format!("{what}, certificate valid"))
                    .fix("who runs the endpoint must replace its certificate soon")
            }
            _ => Step::ok("connect", format!("{what}, certificate valid")),
        };
        step.expires(not_after)
    }

    async fn credential(&self) -> Step {
        let credentials = &self.setup.credentials;
        let from = credentials.source_name();
        if from.is_empty() {
            return Step::ok("credential", "none is configured, and requests have none");
        }
        let had = tokio::time::timeout(FETCH, credentials.current(self.clock)).await;
        let failed = |error: &Error| {
            Step::of_error("credential", Outcome::Failed, error, format!("{from}: {error}"))
                .fix("docs/credentials.md says what this source needs")
        };
        match had {
            Ok(Ok(_)) => {
                let end = match credentials.expires() {
                    Some(_) => "",
                    None => ", without a known end",
                };
                Step::ok("credential", format!("from {from}{end}")).expires(credentials.expires())
            }
            Ok(Err(error)) => failed(&error),
            Err(_) => {
                let text = format!("no credential within {FETCH:?}");
                failed(&Error::new(Reason::CredentialsUnavailable, text))
            }
        }
    }
}

fn clock(probed: &Probed) -> Step {
    let Some(offset) = probed.clock_offset else {
        return Step::new("clock", Outcome::Skipped, "not compared: no response with a date");
    };
    let seconds = offset.as_secs().unsigned_abs();
    let direction = if offset.is_negative() { "ahead of" } else { "behind" };
    if offset.abs() >= CLOCK_DIFFERENCE {
        let text = format!("{seconds} s {direction} the provider's");
        return Step::new("clock", Outcome::Warning, text)
            .fix("set the clock of this machine, for example with NTP");
    }
    Step::ok("clock", format!("{seconds} s from the provider's"))
}

fn signature(proof: Proof) -> Step {
    match proof {
        Proof::Accepted(text) => Step::ok("signature", format!("accepted: {text}")),
        Proof::NotTried(missing) => {
            Step::new("signature", Outcome::Warning, format!("not tried without {missing}"))
                .fix("set it for this check")
        }
        Proof::Failed(error) => Step::failed("signature", &error).fix(fix(error.reason())),
    }
}

/// What to do about a failure.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "these are the ones that a configuration causes"
)]
fn fix(reason: Reason) -> &'static str {
    match reason {
        Reason::ConnectFailed => "check the endpoint, firewalls, routes and --upstream-proxy",
        Reason::ConnectionLost | Reason::DeadlineExceeded => {
            "check that the endpoint is the provider's, and what is on the way to it"
        }
        Reason::CertificateRejected => {
            "check the endpoint; for a private CA set --upstream-ca, for a client certificate \
             --upstream-client-cert"
        }
        Reason::ProxyDenied | Reason::ProxyRefused => {
            "check the user, the password and what the proxy allows, and --upstream-proxy"
        }
        Reason::CredentialsRejected => "check the key and its secret, and that they are in use",
        Reason::ClockSkew => "set the clock of this machine, for example with NTP",
        Reason::PermissionDenied => "grant the identity the permissions of the README",
        Reason::EndpointMisconfigured | Reason::MalformedResponse | Reason::RedirectRefused => {
            "check the region or the endpoint: it may be that of another service"
        }
        Reason::NotFound | Reason::RejectedArgument => {
            "check the project or the workspace, and the region"
        }
        Reason::Throttled | Reason::Unavailable | Reason::ProviderInternal => "try again later",
        _ => "docs/operations.md has a row for this reason",
    }
}
