//! A local service that returns credentials at a URI.
//!
//! # Reference
//! The requests of `alibabacloud-credentials` 1.0.12.

use bytes::Bytes;
use http::{Request, Uri};

use super::read_local;
use crate::clock::Clock;
use crate::credential::{Fetch, Lease, Source, SourceClient};
use crate::refresh::FetchError;

const WHO: &str = "the credentials URI";

/// Credentials from a URI.
#[derive(Clone)]
pub struct CredentialsUri {
    /// The URI. It may contain a password, so it is not shown.
    pub uri: Uri,
}

impl std::fmt::Debug for CredentialsUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialsUri([redacted])")
    }
}

impl CredentialsUri {
    async fn get(&self, client: &SourceClient, clock: &dyn Clock) -> Result<Lease, FetchError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.uri.clone();
        let answer = client.send_local(WHO, request).await?;
        read_local(WHO, &answer, clock.now())
    }
}

impl Source for CredentialsUri {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(self.get(client, clock))
    }

    fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}
