//! Media types, by their grammar: what a request is, and what its caller accepts.
//!
//! The libraries for this refuse what the grammar allows, such as a space before a semicolon.
//!
//! # Reference
//! - Media types: <https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1>
//! - `Accept`, and weights: <https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1>

use std::borrow::Cow;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

/// gRPC with messages of Protocol Buffers; other codecs are not supported.
pub(super) const GRPC: [&str; 2] = ["application/grpc", "application/grpc+proto"];

/// `type/subtype` and the parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct MediaType<'a> {
    essence: &'a str,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// The content type of a message. None if there is none, or more than one, or if it cannot be
    /// read.
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        Self::parse(only.to_str().ok()?)
    }

    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(BLANK);
        let (essence, parameters) =
            text.split_at(text.find([';', ' ', '\t']).unwrap_or(text.len()));
        let (kind, subtype) = essence.split_once('/')?;
        let media_type = Self { essence, parameters };
        let is_valid =
            is_token(kind) && is_token(subtype) && Parameters(parameters).all(|p| p.is_some());
        is_valid.then_some(media_type)
    }

    pub(super) fn is(self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    pub(super) fn is_one_of(self, essences: &[&str]) -> bool {
        essences.iter().any(|essence| self.is(essence))
    }

    /// The value of a parameter, if it is there once.
    pub(super) fn parameter(self, name: &str) -> Option<Cow<'a, str>> {
        let mut values = Parameters(self.parameters)
            .flatten()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }
}

/// The media ranges that a caller accepts, with their weights. Those that cannot be read are left out.
pub(super) fn accepted(headers: &HeaderMap) -> impl Iterator<Item = (MediaType<'_>, f32)> {
    let lists = headers.get_all(ACCEPT).iter().filter_map(|value| HeaderValue::to_str(value).ok());
    lists.flat_map(elements).filter_map(|element| {
        let range = MediaType::parse(element)?;
        let weight = match range.parameter("q") {
            Some(text) => text.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?,
            None => 1.0,
        };
        Some((range, weight))
    })
}

const BLANK: [char; 2] = [' ', '\t'];

/// The parts of a list between its commas, except those in quotes.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |c| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !was_escaped => quoted = !quoted,
            '\\' if quoted => escaped = !was_escaped,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
}

/// `token`: the text of types, names and unquoted values.
fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Parameters, `*( OWS ";" OWS [ name "=" value ] )`. Yields None, and ends, where they break this form.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<(&'a str, Cow<'a, str>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = std::mem::take(&mut self.0).trim_matches(BLANK);
            if rest.is_empty() {
                return None;
            }
            let Some(rest) = rest.strip_prefix(';') else { return Some(None) };
            let rest = rest.trim_start_matches(BLANK);
            if rest.is_empty() || rest.starts_with(';') {
                self.0 = rest;
                continue;
            }
            let parameter = rest.split_once('=').filter(|(name, _)| is_token(name));
            let Some((name, value)) = parameter else { return Some(None) };
            let read = match value.strip_prefix('"') {
                Some(quoted) => unquote(quoted),
                None => {
                    let (value, rest) =
                        value.split_at(value.find([';', ' ', '\t']).unwrap_or(value.len()));
                    is_token(value).then_some((Cow::Borrowed(value), rest))
                }
            };
            return Some(read.map(|(value, rest)| {
                self.0 = rest;
                (name, value)
            }));
        }
    }
}

/// Reads a quoted string behind its opening quote: its value, and what follows it.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_read_by_its_grammar() {
        for (text, essence, charset) in [
            ("application/grpc", "application/grpc", None),
            ("Application/gRPC", "application/grpc", None),
            (" text/plain\t", "text/plain", None),
            ("text/plain;charset=utf-8", "text/plain", Some("utf-8")),
            ("text/plain ; Charset=utf-8", "text/plain", Some("utf-8")),
            ("text/plain\t;\tcharset=utf-8 ;", "text/plain", Some("utf-8")),
            ("text/plain;", "text/plain", None),
            ("text/plain;; ;charset=a", "text/plain", Some("a")),
            (r#"text/plain; charset="utf-8""#, "text/plain", Some("utf-8")),
            (r#"text/plain; a=";,\"="; charset="\u""#, "text/plain", Some("u")),
            (r#"text/plain; charset="""#, "text/plain", Some("")),
            // Which one is meant is not known.
            ("text/plain; charset=a; charset=b", "text/plain", None),
        ] {
            let found = MediaType::parse(text).unwrap_or_else(|| panic!("{text:?}"));
            assert!(found.is(essence), "{text:?}: {found:?}");
            assert_eq!(found.parameter("charset").as_deref(), charset, "{text:?}");
        }
        for wrong in [
            "",
            "text",
            "text/",
            "/plain",
            "text/plain/x",
            "text/plain charset=utf-8",
            "text/plain, text/html",
            "text/plain; charset",
            "text/plain; charset=",
            "text/plain; charset =utf-8",
            "text/plain; charset= utf-8",
            r#"text/plain; charset="utf-8"#,
            r#"text/plain; charset="utf-8\"#,
            r#"text/plain; charset="utf-8"x"#,
            "text/plain; charset=a b",
            "text /plain",
            "tëxt/plain",
        ] {
            assert!(MediaType::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn two_content_types_are_none() {
        let mut headers = HeaderMap::new();
        assert!(MediaType::of(&headers).is_none());
        headers.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(MediaType::of(&headers).is_some());
        headers.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(MediaType::of(&headers).is_none());
    }

    #[test]
    fn what_is_accepted_is_read_from_all_lists() {
        let mut headers = HeaderMap::new();
        for list in [
            r#"text/plain;a=",\",";q=0.5, , */*;q=0"#,
            "application/x;Q=0.25,text/bad;q=2,text/bad;q=x, not a type,text/last",
        ] {
            headers.append(ACCEPT, HeaderValue::from_static(list));
        }
        let found: Vec<_> =
            accepted(&headers).map(|(range, weight)| (range.essence, weight)).collect();
        let want = [("text/plain", 0.5), ("*/*", 0.0), ("application/x", 0.25), ("text/last", 1.0)];
        assert_eq!(found, want);
    }
}
