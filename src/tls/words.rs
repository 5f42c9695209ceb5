//! What is wrong with a certificate or a handshake, in words. Names in certificates are not shown:
//! the peer chose them.

use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use crate::text;

/// What is wrong with a certificate, as the end of a sentence.
#[expect(clippy::wildcard_enum_match_arm, reason = "the names of the others say enough")]
pub(crate) fn of_certificate(why: &CertificateError) -> String {
    let time = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).ok();
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        time.map_or_else(String::new, |time| format!(" {time}"))
    };
    match why {
        CertificateError::Expired => "it has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it has expired at{}", time(not_after))
        }
        CertificateError::NotValidYet => "it is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before{}", time(not_before))
        }
        CertificateError::UnknownIssuer => {
            "its issuer is not a trusted CA, or an intermediate certificate is missing".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is that of another host".to_owned()
        }
        // The library has no name of its own for it.
        CertificateError::Other(other)
            if format!("{other:?}").contains("UnsupportedCertVersion") =>
        {
            "it is of X.509 version 1, and only version 3 is accepted: issue it with extensions, \
             such as a subject alternative name"
                .to_owned()
        }
        other => text::clean(&format!("{other:?}"), 100),
    }
}

/// An error of the TLS library about a file of certificates.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others have texts of their own")]
pub(super) fn of_file(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => {
            format!("the certificate cannot be used: {}", of_certificate(why))
        }
        other => text::clean(&other.to_string(), 200),
    }
}

/// Why the handshake of a caller failed, and what to do.
pub(crate) fn of_handshake(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    match (cause, error.kind()) {
        (Some(Error::InvalidCertificate(why)), _) => {
            format!("the caller's certificate is not accepted: {}", of_certificate(why))
        }
        (Some(Error::NoCertificatesPresented), _) => {
            "the caller presented no certificate, which --tls-client-auth requires".to_owned()
        }
        (Some(Error::AlertReceived(alert)), _) if is_about_a_certificate(*alert) => {
            format!("the caller does not accept the gateway's certificate ({alert:?})")
        }
        (Some(Error::AlertReceived(alert)), _) => format!("the caller ended it ({alert:?})"),
        (Some(Error::InvalidMessage(_)), _) => "the caller does not speak TLS".to_owned(),
        (Some(Error::PeerIncompatible(_)), _) => {
            "the caller has no TLS version or cipher in common with the gateway".to_owned()
        }
        (_, io::ErrorKind::TimedOut) => "it was not complete within --peer-timeout".to_owned(),
        (_, io::ErrorKind::UnexpectedEof) => "the caller closed the connection".to_owned(),
        (_, io::ErrorKind::ConnectionReset) => "the caller reset the connection".to_owned(),
        _ => text::clean(&error.to_string(), 100),
    }
}

/// Whether this alert rejects a certificate.
///
/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
pub(crate) fn is_about_a_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    use rustls::server::ParsedCertificate;

    use super::*;

    /// What `openssl x509 -req` without extensions makes: the version comes before all else.
    #[test]
    fn a_certificate_of_version_1_is_told_in_words() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut der = certificate.der().to_vec();
        ParsedCertificate::try_from(&der[..].into()).unwrap();
        let version = der.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).unwrap();
        der[version + 4] = 0;
        let error = ParsedCertificate::try_from(&der[..].into()).map(drop).unwrap_err();
        let Error::InvalidCertificate(why) = &error else { panic!("{error}") };
        assert!(of_certificate(why).contains("X.509 version 1"), "{error:?}");
        assert!(of_file(&error).contains("X.509 version 1"), "{error:?}");
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        assert!(of_handshake(&error).starts_with("the caller's certificate is not accepted: "));
    }
}
