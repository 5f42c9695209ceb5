//! What may be read of an answer, and what an exchange came to that brought none.

use std::error::Error as StdError;
use std::io;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use rustls::AlertDescription;

use super::Sent;
use crate::error::Error;
use crate::failure::Failure;

/// Larger bodies are not read. The documented answers are below 1 KiB.
pub(super) const BODY_BYTES: usize = 1024 * 1024;

/// Larger headers are not accepted. Both providers send below 2 KiB.
pub(super) const HEADER_BYTES: usize = 64 * 1024;

/// Where an exchange broke, as far as the HTTP client tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The name of the host was not resolved.
    Resolving,
    /// No connection was made in time.
    ConnectingTooLong,
    /// No connection was made.
    Connecting,
    /// On a connection that stood.
    Connected,
}

/// Refuses a head that is too large or contradicts itself.
pub(super) fn check_head(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112, section 6.3: a sign of response splitting, to be handled as an error.
        return Err(Error::new(
            Failure::MalformedResponse,
            "the answer has both Content-Length and Transfer-Encoding",
        ));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES {
        return Err(too_large());
    }
    Ok(())
}

pub(super) fn too_large() -> Error {
    Error::new(Failure::ResponseTooLarge, "the answer is larger than the gateway reads")
}

/// What went wrong on the way. The libraries' own texts name the URL, so none is passed on.
pub(super) fn trouble(error: &(dyn StdError + 'static), broken: Broken, sent: &Sent) -> Error {
    let causes = || causes(error);
    let tls = causes().find_map(tls_error);
    if let Some(rustls::Error::InvalidCertificate(why)) = tls {
        return Error::new(
            Failure::CertificateRejected,
            format!("the certificate is not to be trusted: {why:?}"),
        );
    }
    if let Some(rustls::Error::AlertReceived(alert)) = tls
        && is_about_our_certificate(*alert)
    {
        // With TLS 1.3 this arrives behind the handshake, and still before any of the request
        // was read.
        return Error::new(
            Failure::CertificateRejected,
            format!("the gateway's own certificate, or that it has none, was refused: {alert:?}"),
        );
    }
    let hyper = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>());
    if hyper.is_some_and(hyper::Error::is_parse_too_large) {
        return too_large();
    }
    if hyper.is_some_and(hyper::Error::is_parse) {
        return Error::new(Failure::MalformedResponse, "the answer is not HTTP");
    }
    if broken == Broken::Connected && sent.get() {
        let text = "the connection broke before the whole answer arrived";
        return Error::new(Failure::ConnectionLost, text);
    }
    let io = causes().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let what = match (broken, io) {
        (Broken::Resolving, _) => "the name of the host was not resolved",
        _ if tls.is_some() => "the TLS handshake failed",
        (Broken::ConnectingTooLong, _) => "no connection was made in time",
        (_, Some(io::ErrorKind::ConnectionRefused)) => "the connection was refused",
        _ => "no connection could be made",
    };
    Error::new(Failure::ConnectFailed, what)
}

/// Whether a peer says by this that it does not want the certificate that it asked for.
///
/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

/// An error and what it was caused by, from the nearest to the first.
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

/// The TLS library's error in a cause. tokio and hyper hand it on inside of `io::Error`s, which
/// [`StdError::source`] skips.
fn tls_error<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = cause.downcast_ref() {
        return Some(error);
    }
    tls_error(cause.downcast_ref::<io::Error>()?.get_ref()?)
}

/// Whether the peer closed the connection in good order, but before the end of the body.
pub(super) fn is_end_of_stream(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}
