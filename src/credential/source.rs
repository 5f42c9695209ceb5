//! Sources of credentials, and the leases that they grant.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::{Lease, SourceClient};
use crate::clock::Clock;
use crate::refresh::FetchError;

/// For a temporary credential of an hour: after three quarters of it.
const MARGIN: Duration = Duration::from_secs(15 * 60);

/// A fetch under way.
pub type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Lease, FetchError>> + Send + 'a>>;

/// Waiting for a change of something that a source depends on.
pub type Changed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where credentials come from.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Gets a credential.
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a>;

    /// How long before its expiry a credential is replaced, if it lives long enough for that.
    fn margin(&self) -> Duration {
        MARGIN
    }

    /// How often to ask for another credential, for sources that cost nothing to ask and do not
    /// know when theirs expires.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// Returns when something that the last answer depended on has changed, so that the source
    /// should be asked before it is time.
    fn changed(&self) -> Changed<'_> {
        Box::pin(std::future::pending())
    }

    /// Whether it is reached over TLS.
    fn is_tls(&self) -> bool {
        false
    }
}
