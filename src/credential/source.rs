//! What a source of credentials is, and what it hands out.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Credential, Exchange, SourceError};
use crate::clock::Clock;

/// Before most temporary credentials of an hour end, that is after three quarters of them.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// A credential, and how long it may be used.
#[derive(Debug, Clone)]
pub struct Lease {
    pub(super) credential: Arc<Credential>,
    pub(super) expires: Option<Timestamp>,
}

impl Lease {
    /// A credential without an end that is known.
    pub fn open(credential: Credential) -> Self {
        Self { credential: Arc::new(credential), expires: None }
    }

    /// A credential that ends at this time.
    pub fn until(credential: Credential, expires: Timestamp) -> Self {
        Self { credential: Arc::new(credential), expires: Some(expires) }
    }

    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a source is doing to get a credential.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Lease, SourceError>> + Send + 'a>>;

/// Waiting for something that a source depends on to be another.
pub type Changed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where credentials come from.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Gets a credential.
    fn fetch<'a>(&'a self, exchange: &'a Exchange, clock: &'a dyn Clock) -> Fetch<'a>;

    /// How long before its end a credential is replaced, if it lives long enough for that.
    fn margin(&self) -> Duration {
        MARGIN
    }

    /// How often to look whether there is another credential, for sources that cost nothing
    /// to ask and cannot tell when theirs ends.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// Returns when asking again is worthwhile although it is not yet time for it: something
    /// that the last answer depended on has changed.
    fn changed(&self) -> Changed<'_> {
        Box::pin(std::future::pending())
    }

    /// Whether it is reached over TLS.
    fn is_tls(&self) -> bool {
        false
    }
}
