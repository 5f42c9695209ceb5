//! The endpoint of a provider: scheme, host and port, fixed at start-up.

use http::header::HOST;
use http::request::Builder;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use url::{Host, Url};

use crate::text;

/// The origin of a provider's REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: String,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

/// Room for the headers of a signed request, so that their map never grows.
const HEADERS: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// It is not a URL.
    #[error("is not a URL such as https://dli.cn-north-4.myhuaweicloud.com")]
    NotAUrl,
    /// Its scheme is neither `https` nor `http`.
    #[error("must begin with https://")]
    Scheme,
    /// It is more than an origin.
    #[error("must be scheme, host and port only, without user, path, query or fragment")]
    MoreThanOrigin,
    #[error(
        "uses http:// for a host that is not loopback; use https://, or --allow-insecure-endpoints if you must"
    )]
    Insecure,
}

impl Endpoint {
    /// Parses an endpoint. The default scheme is `https://`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`], which never shows the text: it may contain a password.
    pub fn parse(text: &str, allow_insecure: bool) -> Result<Self, InvalidEndpoint> {
        let text = text.trim();
        // `Url` drops line ends without a word.
        if text::fault(text).is_some() {
            return Err(InvalidEndpoint::NotAUrl);
        }
        let scheme = if text.contains("://") { "" } else { "https://" };
        let url = Url::parse(&format!("{scheme}{text}")).map_err(|_| InvalidEndpoint::NotAUrl)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(InvalidEndpoint::Scheme),
        };
        let host = url.host().ok_or(InvalidEndpoint::NotAUrl)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        if !bare {
            return Err(InvalidEndpoint::MoreThanOrigin);
        }
        // `Url` omits the default port, as the signatures of both providers require.
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let endpoint = Self {
            host: HeaderValue::from_str(&authority).map_err(|_| InvalidEndpoint::NotAUrl)?,
            origin: format!("{}://{authority}", url.scheme()),
            scheme: if tls { Scheme::HTTPS } else { Scheme::HTTP },
            // Stricter than `Url`: a backtick, for example, cannot be in the URI of a request.
            authority: Authority::from_maybe_shared(authority)
                .map_err(|_| InvalidEndpoint::NotAUrl)?,
        };
        if !tls && !allow_insecure && !is_loopback(&host) {
            return Err(InvalidEndpoint::Insecure);
        }
        Ok(endpoint)
    }

    /// Starts a request to this path, which may include a query.
    pub(crate) fn request(&self, method: Method, path: &str) -> Builder {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path);
        let mut request = Request::builder().method(method);
        request = match uri.build() {
            Ok(uri) => request.uri(uri),
            // The builder reports at its end that it is invalid.
            Err(_) => request.uri(path),
        };
        // None if the URI is invalid, which the builder reports at its end.
        if let Some(headers) = request.headers_mut() {
            *headers = HeaderMap::with_capacity(HEADERS);
            headers.insert(HOST, self.host.clone());
        }
        request
    }

    /// `scheme://host[:port]`, without a slash at the end.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The `Host` header, with the port unless it is the scheme's default.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Whether it uses TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        // Names below localhost may resolve to any address.
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_host_are_normalized() {
        for (text, origin, host) in [
            (
                "https://dli.cn-north-4.myhuaweicloud.com",
                "https://dli.cn-north-4.myhuaweicloud.com",
                "dli.cn-north-4.myhuaweicloud.com",
            ),
            ("https://h.example/", "https://h.example", "h.example"),
            ("h.example", "https://h.example", "h.example"),
            ("h.example:8443", "https://h.example:8443", "h.example:8443"),
            ("https://h.example:443", "https://h.example", "h.example"),
            ("http://127.0.0.1:80", "http://127.0.0.1", "127.0.0.1"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:9", "http://[::1]:9", "[::1]:9"),
            ("HTTPS://H.Example", "https://h.example", "h.example"),
            ("http://localhost:1", "http://localhost:1", "localhost:1"),
        ] {
            let endpoint = Endpoint::parse(text, false).expect(text);
            assert_eq!(endpoint.origin(), origin, "{text}");
            assert_eq!(endpoint.host(), host, "{text}");
            assert_eq!(endpoint.is_tls(), origin.starts_with("https"), "{text}");
        }
    }

    /// Hostile input 72.
    #[test]
    fn only_an_origin_is_accepted() {
        use InvalidEndpoint::{Insecure, MoreThanOrigin, NotAUrl, Scheme};
        for (text, want) in [
            ("", NotAUrl),
            ("https://", NotAUrl),
            ("https://h:99999", NotAUrl),
            ("ftp://h.example", Scheme),
            ("https://user:pass@h.example", MoreThanOrigin),
            ("https://h.example/prefix", MoreThanOrigin),
            ("https://h.example?x=1", MoreThanOrigin),
            ("https://h.example#x", MoreThanOrigin),
            ("http://h.example", Insecure),
            ("http://10.0.0.1:80", Insecure),
            ("http://169.254.169.254", Insecure),
            ("http://x.localhost", Insecure),
            ("http://localhost.", Insecure),
            ("http://localhost.example", Insecure),
            ("https://h.exa\nmple", NotAUrl),
            ("https://h.example\u{200B}", NotAUrl),
            ("https://h`.example", NotAUrl),
            ("http://h`.example", NotAUrl),
        ] {
            assert_eq!(Endpoint::parse(text, false), Err(want), "{text}");
        }
        assert!(Endpoint::parse("http://h.example", true).is_ok());
    }
}
