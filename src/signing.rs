//! Encodings, hashes and header blocks that both signature schemes share.
//!
//! Nothing here changes the request that is sent, except [`add`].

use std::borrow::Cow;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use jiff::tz::Offset;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::text::hex;

/// The unreserved characters of RFC 3986, section 2.3, which stay unencoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes everything but RFC 3986's unreserved characters, in upper-case hex.
pub(crate) fn percent_encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED).into()
}

/// The inverse of [`percent_encode`]. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Lower-case hex of the SHA-256 of nothing.
const HEX_SHA256_OF_NOTHING: &str =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Lower-case hex of the SHA-256 of these bytes.
pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        // Most requests have no body.
        return HEX_SHA256_OF_NOTHING.to_owned();
    }
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hex of the HMAC-SHA256 of this text.
pub(crate) fn hex_hmac_sha256(key: &hmac::Key, text: &str) -> String {
    hex(hmac::sign(key, text.as_bytes()).as_ref())
}

/// A time in UTC, to the second: `20260102T030405Z`, or with `marks` `2026-01-02T03:04:05Z`.
pub(crate) fn utc(time: Timestamp, marks: bool) -> String {
    let time = Offset::UTC.to_datetime(time);
    let year = time.year().unsigned_abs();
    let mut text = String::with_capacity(20);
    for (value, mark) in [
        ((year / 100) as u8, None),
        ((year % 100) as u8, Some('-')),
        (time.month().unsigned_abs(), Some('-')),
        (time.day().unsigned_abs(), Some('T')),
        (time.hour().unsigned_abs(), Some(':')),
        (time.minute().unsigned_abs(), Some(':')),
        (time.second().unsigned_abs(), Some('Z')),
    ] {
        text.push(char::from(b'0' + value / 10));
        text.push(char::from(b'0' + value % 10));
        if let Some(mark) = mark
            && (marks || mark.is_ascii_alphabetic())
        {
            text.push(mark);
        }
    }
    text
}

/// The canonical query of both schemes: pairs decoded, sorted by key and value, and encoded again.
/// A key without a value becomes `key=`.
pub(crate) fn canonical_query(query: &str) -> String {
    if query.is_empty() {
        return String::new();
    }
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (percent_decode(key), percent_decode(value)))
        .collect();
    pairs.sort_unstable();
    let mut text = String::with_capacity(query.len() + 8);
    for (key, value) in &pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&percent_encode(key));
        text.push('=');
        text.push_str(&percent_encode(value));
    }
    text
}

/// The headers of a request in canonical form.
pub(crate) struct SignedHeaders<'a> {
    /// The lower-case names, sorted and joined by `;`.
    pub(crate) names: String,
    /// Name and value of each, in the same order.
    lines: Vec<(&'a str, &'a str)>,
}

impl<'a> SignedHeaders<'a> {
    /// From all headers of the request, and those that the signer will add.
    ///
    /// # Errors
    /// If a value is not text, because it has no canonical form.
    pub(crate) fn new(
        headers: &'a HeaderMap,
        added: &'a [(HeaderName, HeaderValue)],
    ) -> Result<Self, Error> {
        let kept = headers.iter().filter(|(name, _)| added.iter().all(|(other, _)| other != name));
        // Of the right size at once.
        let mut lines = Vec::with_capacity(headers.len() + added.len());
        for (name, value) in kept.chain(added.iter().map(|(name, value)| (name, value))) {
            let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
                let text = format!("the header {name} is not text and cannot be signed");
                return Err(Error::new(Reason::GatewayInternal, text));
            };
            lines.push((name.as_str(), text.trim_matches(' ')));
        }
        lines.sort_unstable();

        let mut names = String::with_capacity(lines.iter().map(|(name, _)| name.len() + 1).sum());
        for (name, _) in &lines {
            if !names.is_empty() {
                names.push(';');
            }
            names.push_str(name);
        }
        Ok(Self { names, lines })
    }

    /// The end of a canonical request: a line `name:value` for each header, the names, and the hash
    /// of the body.
    pub(crate) fn write(&self, payload: &str, text: &mut String) {
        let block: usize =
            self.lines.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        text.reserve_exact(block + self.names.len() + payload.len() + 2);
        for (name, value) in &self.lines {
            for part in [name, ":", value, "\n"] {
                text.push_str(part);
            }
        }
        for part in ["\n", &self.names, "\n", payload] {
            text.push_str(part);
        }
    }
}

/// The intermediate texts of a signature, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stages {
    pub canonical_request: String,
    pub string_to_sign: String,
    /// The value of the `Authorization` header.
    pub authorization: String,
}

/// Adds the headers of a signature to a request.
///
/// # Errors
/// If the signature cannot be sent in a header. The request is then unchanged.
pub(crate) fn add(
    request: &mut Request<Bytes>,
    added: Vec<(HeaderName, HeaderValue)>,
    stages: &Stages,
) -> Result<(), Error> {
    let authorization = sensitive(&stages.authorization)?;
    let headers = request.headers_mut();
    for (name, value) in added {
        headers.insert(name, value);
    }
    headers.insert(AUTHORIZATION, authorization);
    Ok(())
}

/// A header value marked as sensitive, which hides it from debug output and HTTP/2 compression
/// tables.
pub(crate) fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::new(Reason::CredentialsUnavailable, "the credential cannot be sent in a header")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay_unencoded() {
        for (text, want) in [
            ("Az09-_.~", "Az09-_.~"),
            ("a b", "a%20b"),
            ("a/b", "a%2Fb"),
            ("100%", "100%25"),
            ("+*!'()", "%2B%2A%21%27%28%29"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(percent_encode(text), want);
            assert_eq!(percent_decode(want), text);
        }
    }

    #[test]
    fn a_query_is_sorted_and_encoded_once() {
        for (query, want) in [
            ("", ""),
            ("name=cn-north-4", "name=cn-north-4"),
            ("b=2&a=1&a=0", "a=0&a=1&b=2"),
            ("empty", "empty="),
            ("q=a%20b%2Fc", "q=a%20b%2Fc"),
        ] {
            assert_eq!(canonical_query(query), want, "{query:?}");
        }
    }

    #[test]
    fn a_time_has_all_its_digits() {
        for (time, bare, marked) in [
            ("2026-01-02T03:04:05Z", "20260102T030405Z", "2026-01-02T03:04:05Z"),
            ("1970-01-01T00:00:00Z", "19700101T000000Z", "1970-01-01T00:00:00Z"),
            ("2099-12-31T23:59:59.999Z", "20991231T235959Z", "2099-12-31T23:59:59Z"),
        ] {
            let time: Timestamp = time.parse().expect(time);
            assert_eq!(utc(time, false), bare);
            assert_eq!(utc(time, true), marked);
        }
    }

    #[test]
    fn the_hash_of_an_empty_text_is_correct() {
        let hash = hex(digest::digest(&digest::SHA256, b"").as_ref());
        assert_eq!(hex_sha256(b""), hash);
    }
}
