//! Credentials of requests, and their sources.
//!
//! A [`Credential`] is one key or token. A [`Source`] issues credentials. [`Credentials`] holds the
//! current one and refreshes it in the background before it expires, so that no call waits for it.

mod client;
mod credentials;
mod files;
mod lease;
mod metadata;
mod metrics;
mod needles;
mod options;
mod redact;
mod source;

pub use client::SourceClient;
pub(crate) use client::{Sent, granted, rejected};
pub use credentials::Credentials;
pub use files::{Directory, SecretFile};
pub use lease::Lease;
pub(crate) use lease::{lease, token_lease};
pub(crate) use metadata::Metadata;
pub(crate) use metrics::CredentialMetrics;
pub(crate) use options::{SESSION_NAME, Sources, key_from_environment, of_files};
pub(crate) use redact::Redactor;
pub use source::Source;
pub(crate) use source::{Changed, Fetch};

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use needles::Needles;

use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::secret::Secret;
use crate::text::header_fault;

pub struct Credential {
    kind: Kind,
    needles: Needles,
}

enum Kind {
    Key(Box<AccessKey>),
    Token(Secret),
    Authorization(Authorization),
    Nothing,
}

/// The value of an `Authorization` header.
struct Authorization {
    value: Secret,
    /// What follows the scheme, such as `Bearer`.
    token: Option<Secret>,
    /// The password in the token of `Basic`.
    password: Option<Secret>,
}

impl Authorization {
    fn new(value: Secret) -> Self {
        let (scheme, token) = value.expose().split_once(' ').unwrap_or_default();
        let token = token.trim();
        let is_basic = scheme.eq_ignore_ascii_case("basic");
        let decoded = is_basic.then(|| STANDARD.decode(token).ok()).flatten();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let password = decoded.as_deref().and_then(|pair| pair.split_once(':'));
        let secret = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
        let (token, password) = (secret(token), password.and_then(|(_, word)| secret(word)));
        Self { value, token, password }
    }
}

/// An access key, with the security token of a temporary one.
///
/// The signing key is computed once, not for each request.
pub struct AccessKey {
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Option<Secret>,
    key: hmac::Key,
}

impl Credential {
    /// An access key from these parts. An empty token counts as none.
    ///
    /// # Errors
    /// If a part is empty or cannot be sent in a header. The text names the part without showing
    /// it.
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
                fault: "contains a comma, a semicolon or an equals sign",
            });
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, access_key_secret.expose().as_bytes());
        let key = AccessKey { access_key_id, access_key_secret, security_token, key };
        Ok(Self::of(Kind::Key(Box::new(key))))
    }

    /// A token that is sent as it is, without a signature.
    pub(crate) fn token(token: Secret) -> Result<Self, InvalidCredential> {
        check("token", token.expose())?;
        Ok(Self::of(Kind::Token(token)))
    }

    /// The value of the `Authorization` header, such as `Bearer abc`.
    ///
    /// # Errors
    /// If it is empty or cannot be sent in a header.
    pub fn of_authorization(value: Secret) -> Result<Self, InvalidCredential> {
        check("authorization", &value.expose().replace(' ', ""))?;
        Ok(Self::of(Kind::Authorization(Authorization::new(value))))
    }

    /// For a provider that needs none.
    pub fn none() -> Self {
        Self::of(Kind::Nothing)
    }

    fn of(kind: Kind) -> Self {
        let mut credential = Self { kind, needles: Needles::default() };
        let mut needles = Needles::default();
        credential.secrets().for_each(|secret| needles.add(secret.as_bytes()));
        credential.needles = needles;
        credential
    }

    /// The key to sign with.
    ///
    /// # Errors
    /// [`Reason::CredentialsUnavailable`] if it is a token.
    pub fn access_key(&self) -> Result<&AccessKey, Error> {
        match &self.kind {
            Kind::Key(key) => Ok(key),
            Kind::Token(_) | Kind::Authorization(_) | Kind::Nothing => Err(Error::new(
                Reason::CredentialsUnavailable,
                "the credential is no key, and this request needs a signature",
            )),
        }
    }

    /// The token to send instead of a signature.
    pub(crate) fn auth_token(&self) -> Option<&Secret> {
        match &self.kind {
            Kind::Token(token) => Some(token),
            Kind::Key(_) | Kind::Authorization(_) | Kind::Nothing => None,
        }
    }

    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self) -> Option<&Secret> {
        match &self.kind {
            Kind::Authorization(authorization) => Some(&authorization.value),
            Kind::Key(_) | Kind::Token(_) | Kind::Nothing => None,
        }
    }

    /// What to look for in a text that may have a secret.
    fn needles(&self) -> &Needles {
        &self.needles
    }

    /// All secret texts, for redaction.
    fn secrets(&self) -> impl Iterator<Item = &str> + Clone {
        let known = match &self.kind {
            Kind::Key(key) => [
                Some(key.access_key_secret.expose()),
                key.security_token.as_ref().map(Secret::expose),
                Some(key.access_key_id.as_str()),
            ],
            Kind::Token(token) => [Some(token.expose()), None, None],
            Kind::Authorization(authorization) => [
                Some(authorization.value.expose()),
                authorization.token.as_ref().map(Secret::expose),
                authorization.password.as_ref().map(Secret::expose),
            ],
            Kind::Nothing => [None, None, None],
        };
        known.into_iter().flatten()
    }
}

/// Rejects texts that are empty or cannot be sent in a header.
fn check(part: &'static str, text: &str) -> Result<(), InvalidCredential> {
    header_fault(text).map_or(Ok(()), |fault| Err(InvalidCredential { part, fault }))
}

impl AccessKey {
    /// The key's id, which is sent with each request.
    pub fn id(&self) -> &str {
        &self.access_key_id
    }

    pub(crate) fn security_token(&self) -> Option<&Secret> {
        self.security_token.as_ref()
    }

    /// The signing key. Both providers use the secret without key derivation.
    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

/// Compares the texts: a key has more of them than a token.
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
    fn invalid_parts_are_named_but_not_shown() {
        for (id, secret, token, want) in [
            ("", "s", None, "the access key id is empty"),
            ("ID", "", None, "the access key secret is empty"),
            (
                "ID",
                "hidden\n",
                None,
                "the access key secret contains a character other than visible ASCII, such as a space or a line break",
            ),
            (
                "ID",
                "s",
                Some("hidden\r"),
                "the security token contains a character other than visible ASCII, such as a space or a line break",
            ),
            ("I,D", "s", None, "the access key id contains a comma, a semicolon or an equals sign"),
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
