//! Credentials: what a request is signed with, and where it comes from.

mod redact;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::error::Error;
use crate::secret::Secret;

/// An access key of a provider, with the token that temporary ones come with.
///
/// The signing key is prepared once, here, rather than for each request.
pub struct Credential {
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Option<Secret>,
    key: hmac::Key,
}

impl Credential {
    /// A credential of these parts. An empty token counts as none.
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
        let token = security_token.as_ref().map(Secret::expose);
        for (part, text) in [
            ("access key id", Some(access_key_id.as_str())),
            ("access key secret", Some(access_key_secret.expose())),
            ("security token", token),
        ] {
            let Some(text) = text else { continue };
            if text.is_empty() {
                return Err(InvalidCredential { part, fault: "is empty" });
            }
            if !text.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(InvalidCredential {
                    part,
                    fault: "holds a character other than visible ASCII, perhaps a space or a line break",
                });
            }
        }
        if access_key_id.contains([',', ';', '=']) {
            return Err(InvalidCredential {
                part: "access key id",
                fault: "holds a comma, a semicolon or an equals sign",
            });
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, access_key_secret.expose().as_bytes());
        Ok(Self { access_key_id, access_key_secret, security_token, key })
    }

    /// The public half of the key: it goes over the wire with each request.
    pub fn access_key_id(&self) -> &str {
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

    /// A provider's text without anything in it that must not be shown: the parts of this
    /// credential, and whatever a provider echoes of signed headers when it refuses a
    /// signature.
    pub(crate) fn redact(&self, text: &str) -> String {
        let token = self.security_token.as_ref().map(Secret::expose);
        let known = [Some(self.access_key_secret.expose()), token, Some(&self.access_key_id)];
        redact::redact(text, known.into_iter().flatten())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

/// A credential that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} {fault}")]
pub struct InvalidCredential {
    part: &'static str,
    fault: &'static str,
}

/// Where the requests to one provider get their credential from.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Credential>);

impl Credentials {
    /// One credential for as long as the process lives.
    pub fn fixed(credential: Credential) -> Self {
        Self(Arc::new(credential))
    }

    /// The credential to sign the next request with.
    ///
    /// # Errors
    /// [`crate::failure::Failure::CredentialsUnavailable`] when none can be had.
    pub async fn current(&self) -> Result<Arc<Credential>, Error> {
        Ok(Arc::clone(&self.0))
    }
}

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
                "the access key secret holds a character other than visible ASCII, perhaps a space or a line break",
            ),
            (
                "ID",
                "s",
                Some("hidden\r"),
                "the security token holds a character other than visible ASCII, perhaps a space or a line break",
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
        assert!(credential.security_token().is_none());
    }
}
