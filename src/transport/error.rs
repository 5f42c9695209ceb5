//! Errors of exchanges without a response.

use std::error::Error as StdError;
use std::io;

use super::WriteStarted;
use super::tunnel::TunnelError;
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::tls::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Resolving,
    ConnectTimedOut,
    Connecting,
    Connected,
}

pub(super) fn too_large() -> Error {
    Error::new(Reason::ResponseTooLarge, "the response exceeds the size limit")
}

/// The error for an exchange without a response. The libraries' own texts are not used, because
/// they contain the URL.
pub(super) fn classify(
    error: &(dyn StdError + 'static),
    phase: Phase,
    write_started: &WriteStarted,
) -> Error {
    let causes = || causes(error);
    let tunnel = causes().find_map(|cause| cause.downcast_ref::<TunnelError>());
    match tunnel {
        Some(TunnelError::Refused(status)) => return refused_by_proxy(*status),
        Some(TunnelError::Malformed) => {
            let text = "the proxy's response to CONNECT is not HTTP, or incomplete";
            return Error::new(Reason::ConnectFailed, text);
        }
        Some(TunnelError::Broken(_)) => {
            let text = "the connection to the proxy broke before there was a tunnel";
            return Error::new(Reason::ConnectFailed, text);
        }
        Some(TunnelError::Unreachable(_)) | None => {}
    }
    let peer = if tunnel.is_some() { "proxy" } else { "provider" };
    let tls = causes().find_map(tls_error);
    if let Some(rustls::Error::InvalidCertificate(why)) = tls {
        let text =
            format!("the {peer}'s certificate is not trusted: {}", words::of_certificate(why));
        return Error::new(Reason::CertificateRejected, text);
    }
    if let Some(rustls::Error::AlertReceived(alert)) = tls
        && words::is_about_a_certificate(*alert)
    {
        // With TLS 1.3 this arrives after the handshake, but before any of the request was read.
        let text =
            format!("the gateway's client certificate was rejected or is missing: {alert:?}");
        return Error::new(Reason::CertificateRejected, text);
    }
    let hyper = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>());
    if hyper.is_some_and(hyper::Error::is_parse_too_large) {
        return too_large();
    }
    if hyper.is_some_and(hyper::Error::is_parse) {
        return Error::new(Reason::MalformedResponse, "the response is not HTTP");
    }
    let io = causes().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if phase == Phase::Connected && write_started.get() {
        let text = "the connection broke before the complete response arrived";
        return Error::new(Reason::ConnectionLost, text);
    }
    let what = match (phase, io) {
        (Phase::Resolving, _) => "the host name could not be resolved",
        _ if tls.is_some() => "the TLS handshake failed",
        (Phase::ConnectTimedOut, _) => "connecting timed out",
        (_, Some(io::ErrorKind::ConnectionRefused)) => "the connection was refused",
        (_, Some(io::ErrorKind::ConnectionReset)) => "the connection was reset",
        (_, Some(io::ErrorKind::HostUnreachable)) => "the host is unreachable",
        (_, Some(io::ErrorKind::NetworkUnreachable)) => "the network is unreachable",
        (_, Some(io::ErrorKind::TimedOut)) => "connecting timed out",
        _ => "the connection failed",
    };
    match tunnel {
        Some(_) => Error::new(Reason::ConnectFailed, format!("connecting to the proxy: {what}")),
        None => Error::new(Reason::ConnectFailed, what),
    }
}

/// The proxy's own text is not shown.
fn refused_by_proxy(status: u16) -> Error {
    let (reason, fix) = match status {
        407 => (Reason::ProxyDenied, "; check user and password in --upstream-proxy"),
        403 => (Reason::ProxyDenied, "; it does not allow connections to this host"),
        _ => (Reason::ProxyRefused, ""),
    };
    Error::new(reason, format!("the proxy refused the connection with HTTP {status}{fix}"))
}

/// An error and its causes, outermost first.
pub(super) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let now = next?;
        next = now.source();
        Some(now)
    })
}

/// The rustls error in a cause. tokio and hyper wrap it in `io::Error`s, which [`StdError::source`]
/// skips.
fn tls_error<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = cause.downcast_ref() {
        return Some(error);
    }
    tls_error(cause.downcast_ref::<io::Error>()?.get_ref()?)
}

/// Whether the peer closed the connection cleanly, but before the end of the body.
pub(super) fn is_end_of_stream(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}
