//! Credentials with their expiry, built from the parts of a response.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

use super::{Credential, InvalidCredential};
use crate::clock::Clock;
use crate::json::Text;
use crate::refresh::FetchError;
use crate::secret::Secret;

#[derive(Debug, Clone)]
pub struct Lease {
    pub(super) credential: Arc<Credential>,
    pub(super) expires: Option<Timestamp>,
}

impl Lease {
    /// A credential without a known expiry.
    pub fn open(credential: Credential) -> Self {
        Self { credential: Arc::new(credential), expires: None }
    }

    pub(crate) fn until(credential: Credential, expires: Timestamp) -> Self {
        Self { credential: Arc::new(credential), expires: Some(expires) }
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The credential, unless it has expired. Without an expiry, as for most files, the clock is
    /// not read.
    pub(super) fn usable(&self, clock: &dyn Clock) -> Option<Arc<Credential>> {
        (self.expires.is_none() || !self.has_expired(clock.now()))
            .then(|| Arc::clone(&self.credential))
    }
}

pub(crate) fn token_lease(
    who: &str,
    token: Option<Secret>,
    expires: &Text,
    now: Timestamp,
) -> Result<Lease, FetchError> {
    let Some(token) = token else {
        return Err(FetchError::new(format!("the response of {who} has no token")));
    };
    lease_until(who, Credential::token(token), expires, now)
}

pub(crate) fn lease(
    who: &str,
    [id, secret, token]: [Text; 3],
    expires: &Text,
    now: Timestamp,
) -> Result<Lease, FetchError> {
    let (secret, token) = (secret.0.map(Secret::new), token.0.map(Secret::new));
    let (Some(id), Some(secret), Some(token)) = (id.0, secret, token) else {
        return Err(FetchError::new(format!("the response of {who} has no complete credential")));
    };
    lease_until(who, Credential::new(id, secret, Some(token)), expires, now)
}

fn lease_until(
    who: &str,
    credential: Result<Credential, InvalidCredential>,
    expires: &Text,
    now: Timestamp,
) -> Result<Lease, FetchError> {
    let credential =
        credential.map_err(|error| FetchError::new(format!("the response of {who}: {error}")))?;
    let Some(expires) = expires.0.as_deref().and_then(read_expiry) else {
        return Err(FetchError::new(format!("the response of {who} has no valid expiry")));
    };
    if expires <= now {
        return Err(FetchError::new(format!("the credential from {who} has already expired")));
    }
    Ok(Lease::until(credential, expires))
}

/// Reads an RFC 3339 time. Services write the last second of the year 9999 for "without an end",
/// which is later than the latest time that can be computed with.
fn read_expiry(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let is_last_year = || Pieces::parse(text).is_ok_and(|pieces| pieces.date().year() == 9999);
    text.parse().ok().or_else(|| is_last_year().then_some(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_beyond_all_computable_times_is_the_latest_of_them() {
        for (text, want) in [
            (" 2026-01-16T08:30:00.701000Z\n", Some("2026-01-16T08:30:00.701Z")),
            ("2026-01-16T08:30:00+08:00", Some("2026-01-16T00:30:00Z")),
            ("9999-12-31T23:59:59Z", Some("9999-12-30T22:00:00.999999999Z")),
            ("9999-12-31T23:59:59.999999Z", Some("9999-12-30T22:00:00.999999999Z")),
            ("9999-12-31T23:59:59-12:00", Some("9999-12-30T22:00:00.999999999Z")),
            ("9999-12-31", Some("9999-12-30T22:00:00.999999999Z")),
            ("soon", None),
            ("2026-13-31T23:59:59Z", None),
            ("", None),
        ] {
            let want = want.map(|text| text.parse().unwrap());
            assert_eq!(read_expiry(text), want, "{text:?}");
        }
    }
}
