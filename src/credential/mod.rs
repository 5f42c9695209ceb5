//! Credentials: what a request is authorized with, and where it comes from.
//!
//! A [`Credential`] is one key or token. A [`Source`] grants credentials, and [`Credentials`] is
//! the one in use: it is refreshed in the background, before the old one expires, so that no call
//! waits and no two calls cause two requests.

mod client;
mod credentials;
mod files;
mod lease;
mod metadata;
mod metrics;
mod options;
mod redact;
mod source;

pub use client::SourceClient;
pub(crate) use client::{granted, rejected};
pub use credentials::Credentials;
pub use files::{Directory, SecretFile};
pub use lease::Lease;
pub(crate) use lease::{lease, token_lease};
pub(crate) use metadata::Metadata;
pub use metrics::CredentialMetrics;
pub(crate) use options::{SESSION_NAME, Sources, key_from_environment, of_files};
pub(crate) use redact::Redactor;
pub use source::{Changed, Fetch, Source};

use std::fmt;

use aws_lc_rs::hmac;

use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::secret::Secret;

/// Proves to a provider who sends a request.
pub struct Credential(Kind);

enum Kind {
    Key(Box<AccessKey>),
    Token(Secret),
}

/// An access key of a provider, with the token that temporary ones come with.
///
/// The signing key is prepared once, here, rather than for each request.
pub struct AccessKey {
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Option<Secret>,
    key: hmac::Key,
}

impl Credential {
    /// An access key of these parts. An empty token counts as none.
    ///
    /// # Errors
    /// When a part is empty or cannot be sent in a header. The text names the part and shows
    /// nothing of it.
    pub fn new(
        access_key_id: impl Into<String>,
        access_key_secret: Secret,
        security_token: Option<Secret>,
    ) -> Result<Self, InvalidCredential> {
        let access_key_id = access_key_id.into();
        let security_token = security_token.filter(|token| !token.expose().is_empty());
        check("access key id", &access_key_id)?;
        check("access key secret", access_key_secret.expose())?;
        if let Some(token) = &security_token {
            check("security token", token.expose())?;
        }
        if access_key_id.contains([',', ';', '=']) {
            return Err(InvalidCredential {
                part: "access key id",
                fault: "holds a comma, a semicolon or an equals sign",
            });
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, access_key_secret.expose().as_bytes());
        let key = AccessKey { access_key_id, access_key_secret, security_token, key };
        Ok(Self(Kind::Key(Box::new(key))))
    }

    /// A token that is sent as it is, without a signature.
    ///
    /// # Errors
    /// When it is empty or cannot be sent in a header.
    pub fn token(token: Secret) -> Result<Self, InvalidCredential> {
        check("token", token.expose())?;
        Ok(Self(Kind::Token(token)))
    }

    /// The key to sign with.
    ///
    /// # Errors
    /// [`Reason::CredentialsUnavailable`] when there is a token instead.
    pub fn access_key(&self) -> Result<&AccessKey, Error> {
        match &self.0 {
            Kind::Key(key) => Ok(key),
            Kind::Token(_) => Err(Error::new(
                Reason::CredentialsUnavailable,
                "the credential is a token, and this request needs a signature",
            )),
        }
    }

    /// The token to send instead of a signature.
    pub fn auth_token(&self) -> Option<&Secret> {
        match &self.0 {
            Kind::Key(_) => None,
            Kind::Token(token) => Some(token),
        }
    }

    /// The texts that must never be shown.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let known = match &self.0 {
            Kind::Key(key) => [
                Some(key.access_key_secret.expose()),
                key.security_token.as_ref().map(Secret::expose),
                Some(key.access_key_id.as_str()),
            ],
            Kind::Token(token) => [Some(token.expose()), None, None],
        };
        known.into_iter().flatten()
    }
}

/// Refuses what is empty or cannot go into a header.
fn check(part: &'static str, text: &str) -> Result<(), InvalidCredential> {
    if text.is_empty() {
        return Err(InvalidCredential { part, fault: "is empty" });
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        let fault = "holds a character other than visible ASCII, such as a space or a line break";
        return Err(InvalidCredential { part, fault });
    }
    Ok(())
}

impl AccessKey {
    /// The public half of the key: it goes over the wire with each request.
    pub fn id(&self) -> &str {
        &self.access_key_id
    }

    /// The token of a temporary credential.
    pub fn security_token(&self) -> Option<&Secret> {
        self.security_token.as_ref()
    }

    /// The key that signs. Both providers use the secret as it is, without deriving from it.
    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

/// By their texts: a key has more of them than a token.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.secrets().eq(other.secrets())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey([redacted])")
    }
}

/// A credential that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} {fault}")]
pub struct InvalidCredential {
    part: &'static str,
    fault: &'static str,
}

#[cfg(test)]
mod scripted;

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(
        id: &str,
        secret: &str,
        token: Option<&str>,
    ) -> Result<Credential, InvalidCredential> {
        Credential::new(id, Secret::new(secret), token.map(Secret::new))
    }

    #[test]
    fn unusable_parts_are_named_and_not_shown() {
        for (id, secret, token, want) in [
            ("", "s", None, "the access key id is empty"),
            ("ID", "", None, "the access key secret is empty"),
            (
                "ID",
                "hidden\n",
                None,
                "the access key secret holds a character other than visible ASCII, such as a space or a line break",
            ),
            (
                "ID",
                "s",
                Some("hidden\r"),
                "the security token holds a character other than visible ASCII, such as a space or a line break",
            ),
            ("I,D", "s", None, "the access key id holds a comma, a semicolon or an equals sign"),
        ] {
            let error = credential(id, secret, token).expect_err(want);
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let credential = credential("EXAMPLEID", "exampleSecret", Some("exampleToken"));
        let shown = format!("{credential:?}");
        for part in ["EXAMPLEID", "exampleSecret", "exampleToken"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn an_empty_token_is_none() {
        let credential = credential("ID", "s", Some("")).expect("valid");
        assert!(credential.access_key().expect("a key").security_token().is_none());
    }
}
