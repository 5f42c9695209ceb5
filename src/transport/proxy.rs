//! The proxy between the gateway and the providers.

use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use crate::text;

/// A proxy for TLS endpoints, used with CONNECT. Plain endpoints are on loopback and never use it.
#[derive(Clone)]
pub struct Proxy {
    /// The URL without the user.
    pub(super) uri: Uri,
    /// The value of `Proxy-Authorization`, if the URL has a user.
    pub(super) auth: Option<HeaderValue>,
}

impl Proxy {
    /// Parses an `http://` or `https://` URL, which may have a user and a password.
    pub fn parse(text: &str) -> Option<Self> {
        // `Url` drops line ends and surrounding blanks without a word.
        if text::fault(text).is_some() {
            return None;
        }
        let mut url = url::Url::parse(text).ok()?;
        let known = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !known || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return None;
        }
        let matcher = Matcher::builder().https(url.as_str()).build();
        let auth =
            matcher.intercept(&Uri::from_static("https://any.example"))?.basic_auth().cloned();
        url.set_username("").and_then(|()| url.set_password(None)).ok()?;
        Some(Self { uri: url.as_str().parse().ok()?, auth })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy([redacted])")
    }
}
