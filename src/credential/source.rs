//! The interface of credential sources.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::{Lease, SourceClient};
use crate::clock::Clock;
use crate::refresh::FetchError;

pub(crate) type Fetch<'a> = Pin<Box<dyn Future<Output = Result<Lease, FetchError>> + Send + 'a>>;

/// A wait for a change of something that a source depends on.
pub(crate) type Changed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where a provider's credentials come from. Errors show nothing that was sent or received, except
/// an error code.
pub trait Source: fmt::Debug + Send + Sync + 'static {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a>;

    /// How long before its expiry a credential is refreshed, if its lifetime allows it. The default
    /// is a quarter of an hour.
    fn margin(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }

    /// The poll interval of sources that are cheap and do not know when a credential expires.
    fn poll(&self) -> Option<Duration> {
        None
    }

    /// Returns once something that the last fetch depended on has changed, so that the next one is
    /// due now.
    fn changed(&self) -> Changed<'_> {
        Box::pin(std::future::pending())
    }

    /// Whether a fetch would now send something else than the last one did, such as a new password.
    fn has_changed(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(false))
    }

    /// Whether it uses TLS.
    fn is_tls(&self) -> bool {
        false
    }
}
