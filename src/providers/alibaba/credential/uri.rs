//! A local service that returns credentials at a URI.
//!
//! # Reference
//! The requests of `alibabacloud-credentials` 1.0.12.

use bytes::Bytes;
use http::{Request, Uri};

use super::read_local;
use crate::clock::Clock;
use crate::credential::{Fetch, Sent, Source, SourceClient};
use crate::secret::Secret;

const WHO: &str = "the credentials URI";

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

impl Source for CredentialsUri {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            let last =
                self.uri.path_and_query().and_then(|path| path.as_str().rsplit(['/', '=']).next());
            let sent = Sent(Secret::new(last.unwrap_or_default()));
            let request = Request::get(&self.uri).extension(sent).body(Bytes::new());
            let answer = client.local.send(WHO, request).await?;
            read_local(WHO, &answer, clock.now())
        })
    }

    fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}
