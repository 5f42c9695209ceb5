//! Who calls: the identity of the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

const SPIFFE: &str = "spiffe://";

/// The longest SPIFFE ID that its standard lets everyone expect, in bytes.
const SPIFFE_BYTES: usize = 2048;

/// The longest DNS name, in bytes.
const DNS_BYTES: usize = 253;

/// Longer common names are not used, in bytes. X.520 allows 64 characters.
const COMMON_NAME_BYTES: usize = 256;

/// The other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// None for Unix sockets.
    pub address: Option<SocketAddr>,
    pub caller: Caller,
}

/// The identity of a caller as one text, to be compared byte for byte: `spiffe://…`, `dns:…` or
/// `cn:…` of a verified client certificate, `uid:…` of a Unix socket, else `anonymous`. The prefixes
/// keep the kinds apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Caller(Option<Arc<str>>);

/// The names in a certificate, in its order.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) uris: Vec<&'a [u8]>,
    pub(crate) dns: Vec<&'a [u8]>,
    pub(crate) common_names: Vec<&'a [u8]>,
}

impl Caller {
    /// The user at the other end of a Unix socket.
    pub(crate) fn user(uid: u32) -> Self {
        Self(Some(format!("uid:{uid}").into()))
    }

    /// The SPIFFE ID of a certificate, else its first DNS name, else its common name. A certificate
    /// whose first name of these is invalid or ambiguous is anonymous: it never gets the name of
    /// another kind.
    ///
    /// # Reference
    /// - <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>: exactly one URI.
    /// - <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>
    pub(crate) fn certificate(names: &Names<'_>) -> Self {
        let is_spiffe = |uri: &&[u8]| {
            uri.get(..SPIFFE.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(SPIFFE.as_bytes()))
        };
        let text = if names.uris.iter().any(is_spiffe) {
            match names.uris[..] {
                [uri] => spiffe_id(uri).map(str::to_owned),
                _ => None,
            }
        } else if let Some(name) = names.dns.first() {
            dns_name(name).map(|name| format!("dns:{name}"))
        } else {
            match names.common_names[..] {
                [name] => common_name(name).map(|name| format!("cn:{name}")),
                _ => None,
            }
        };
        Self(text.map(Into::into))
    }

    /// `None` for a caller without a name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    pub fn as_str(&self) -> &str {
        self.name().unwrap_or("anonymous")
    }
}

fn spiffe_id(uri: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(uri).ok().filter(|text| text.len() <= SPIFFE_BYTES)?;
    let mut parts = text.strip_prefix(SPIFFE)?.split('/');
    let is_mark = |byte: u8| matches!(byte, b'.' | b'-' | b'_');
    let domain = parts.next()?;
    let is_domain = !domain.is_empty()
        && domain.len() <= 255
        && domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || is_mark(b));
    let is_segment = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || is_mark(b))
    };
    (is_domain && parts.all(is_segment)).then_some(text)
}

fn dns_name(name: &[u8]) -> Option<&str> {
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*');
    let text = std::str::from_utf8(name).ok()?;
    (!text.is_empty() && text.len() <= DNS_BYTES && text.bytes().all(is_part)).then_some(text)
}

/// Letters of all scripts are allowed; what does not show or reorders the text is not.
fn common_name(name: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(name).ok()?;
    let is_seen = |c: char| c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic();
    let fits = !text.is_empty() && text.len() <= COMMON_NAME_BYTES && text == text.trim();
    (fits && text.chars().all(is_seen)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uris: &[&str], dns: &[&str], common_names: &[&str]) -> String {
        let names = Names {
            uris: uris.iter().map(|name| name.as_bytes()).collect(),
            dns: dns.iter().map(|name| name.as_bytes()).collect(),
            common_names: common_names.iter().map(|name| name.as_bytes()).collect(),
        };
        Caller::certificate(&names).as_str().to_owned()
    }

    #[test]
    fn the_spiffe_id_comes_first_then_a_dns_name_then_the_common_name() {
        let id = "spiffe://prod.example/ns/flink/sa/jobs";
        for (uris, dns, common_names, want) in [
            (&[id][..], &["a.example"][..], &["a"][..], id),
            (&["spiffe://prod.example"], &[], &[], "spiffe://prod.example"),
            (&["https://a.example/b"], &["a.example", "b.example"], &["a"], "dns:a.example"),
            (&[], &["*.a.example"], &[], "dns:*.a.example"),
            (&[], &[], &["Anna Müller, Jobs"], "cn:Anna Müller, Jobs"),
            (&[], &[], &["spiffe://prod.example/a"], "cn:spiffe://prod.example/a"),
            (&[], &[], &["uid:0"], "cn:uid:0"),
            (&[], &[], &[], "anonymous"),
        ] {
            assert_eq!(caller(uris, dns, common_names), want);
        }
    }

    #[test]
    fn a_certificate_with_an_invalid_or_ambiguous_name_is_anonymous() {
        let (id, long) = ("spiffe://prod.example/a", "x".repeat(3000));
        let (long_id, long_name) = (format!("spiffe://prod.example/{long}"), &long[..]);
        for uris in [
            &[id, id][..],
            &[id, "https://a.example"],
            &["https://a.example", id],
            &[&long_id],
            &["SPIFFE://prod.example/a"],
            &["spiffe://"],
            &["spiffe:///a"],
            &["spiffe://Prod.example/a"],
            &["spiffe://prod.example:443/a"],
            &["spiffe://user@prod.example/a"],
            &["spiffe://prod.example/"],
            &["spiffe://prod.example/a/"],
            &["spiffe://prod.example//a"],
            &["spiffe://prod.example/./a"],
            &["spiffe://prod.example/../a"],
            &["spiffe://prod.example/a?b"],
            &["spiffe://prod.example/a#b"],
            &["spiffe://prod.example/%61"],
            &["spiffe://prod.example/*"],
            &["spiffe://prod.example/a\0b"],
            &["spiffe://prod.example/a,b"],
            &["spiffe://prod.example/ä"],
        ] {
            assert_eq!(caller(uris, &["a.example"], &["a"]), "anonymous", "{uris:?}");
        }
        for name in ["", "a b", "a\0", "a,b", "ä.example", "a\n", long_name] {
            assert_eq!(caller(&[], &[name, "b.example"], &["a"]), "anonymous", "{name:?}");
        }
        for name in ["", " a", "a\0", "a\nb", "a\u{202e}b", "a\u{200b}b", "a\u{7f}", long_name] {
            assert_eq!(caller(&[], &[], &[name]), "anonymous", "{name:?}");
        }
        assert_eq!(caller(&[], &[], &["a", "b"]), "anonymous");
        let bytes = Names { common_names: vec![b"\xff"], ..Names::default() };
        assert_eq!(Caller::certificate(&bytes), Caller::default());
    }

    #[test]
    fn a_user_of_a_socket_is_told_by_its_number() {
        assert_eq!(Caller::user(1000).as_str(), "uid:1000");
    }
}
