//! Cleans, redacts and truncates every text of a provider before it is shown.
//!
//! In this order, because control characters could hide a secret, and a truncated secret would not
//! be recognized. The time is linear in the text, of which only a bounded prefix is looked at where
//! the result is bounded.

use std::borrow::Cow;
use std::ops::Range;

use super::Credential;
use super::needles::Needles;
use crate::text::{clean, clip, identifier};

const REDACTED: &str = "[redacted]";

const LOOK_AHEAD: usize = 16;

/// What may stand between a label and its value, also in JSON within JSON and percent-encoded.
const SEPARATORS: [char; 6] = [':', '=', ' ', '"', '\'', '\\'];
const ENCODED_SEPARATORS: [&str; 5] = ["%3a", "%3d", "%20", "%22", "%27"];

/// The characters that end a labelled value.
const VALUE_ENDS: [char; 9] = ['|', '\n', '\r', ',', ';', '"', '\'', '&', '}'];

/// Removes the secrets of one request, and the labelled ones of earlier requests, from texts.
pub(crate) struct Redactor<'a> {
    credential: &'a Credential,
    /// The signature of the request.
    signature: &'a [u8],
    needles: Needles,
    /// Lower-case labels that precede a secret. They also catch tokens of earlier credentials.
    labels: &'static [&'static str],
}

impl<'a> Redactor<'a> {
    /// `authorization`: the header of the request, which ends with the signature. `labels`: see
    /// [`crate::rpc::operation::Provider::secret_labels`].
    pub(crate) fn new(
        credential: &'a Credential,
        authorization: &'a [u8],
        labels: &'static [&'static str],
    ) -> Self {
        let start = authorization.iter().rposition(|b| *b == b'=').map_or(0, |at| at + 1);
        let signature = &authorization[start..];
        let mut needles = credential.needles().clone();
        needles.add(signature);
        Self { credential, signature, needles, labels }
    }

    /// A printable text of at most `max` bytes.
    pub(crate) fn text(&self, text: &str, max: usize) -> String {
        let cleaned = clean(text, LOOK_AHEAD * max);
        let mut ranges = self.secrets_in(&cleaned);
        self.add_labelled(&cleaned, &mut ranges);
        clip(redact(&cleaned, ranges).trim(), max).to_owned()
    }

    /// An identifier of at most `max` bytes of visible ASCII; none if it is empty.
    pub(crate) fn identifier(&self, text: &[u8], max: usize) -> Option<String> {
        let visible = identifier(text, LOOK_AHEAD * max)?;
        Some(clip(&self.data(visible), max).to_owned())
    }

    /// Data, as it is but for the secrets in it.
    pub(crate) fn data<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        match &self.secrets_in(&text)[..] {
            [] => text,
            ranges => Cow::Owned(redact(&text, ranges.to_vec())),
        }
    }

    fn secrets_in(&self, text: &str) -> Vec<Range<usize>> {
        let secrets = self.credential.secrets().map(str::as_bytes);
        self.needles.find(text, secrets.chain([self.signature]))
    }

    /// Adds the values after each label and its separator.
    fn add_labelled(&self, text: &str, ranges: &mut Vec<Range<usize>>) {
        // ASCII lower-casing preserves byte offsets.
        let lower = text.to_ascii_lowercase();
        for label in self.labels {
            let mut from = 0;
            while let Some(found) = lower[from..].find(label) {
                let after_label = from + found + label.len();
                from = after_label;
                let start = text.len() - without_separators(&lower[after_label..]).len();
                // In a list of signed headers the label has no value.
                if !label.ends_with('=') && start == after_label {
                    continue;
                }
                let value = &text[start..];
                let end = start + value.find(VALUE_ENDS).unwrap_or(value.len());
                if start < end {
                    ranges.push(start..end);
                    from = end;
                }
            }
        }
    }
}

impl std::fmt::Debug for Redactor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor([redacted])")
    }
}

fn without_separators(mut text: &str) -> &str {
    loop {
        let rest = text.trim_start_matches(SEPARATORS);
        let encoded = ENCODED_SEPARATORS.iter().find_map(|encoded| rest.strip_prefix(encoded));
        match encoded {
            Some(rest) => text = rest,
            None => return rest,
        }
    }
}

/// The text with these ranges, which may overlap, replaced.
fn redact(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for Range { start, end } in ranges {
        if end <= from {
            continue;
        }
        if start >= from {
            shown.push_str(&text[from..start]);
            shown.push_str(REDACTED);
        }
        from = end;
    }
    shown.push_str(&text[from..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const LABELS: [&str; 7] = [
        "authorization",
        "x-security-token",
        "x-auth-token",
        "x-acs-security-token",
        "x-acs-accesskey-id",
        "signature=",
        "access=",
    ];

    fn credential() -> Credential {
        Credential::new("EXAMPLEKEYID", Secret::new("exampleSecretKey"), None).unwrap()
    }

    #[test]
    fn known_secrets_and_labelled_values_are_redacted() {
        let credential = credential();
        let redactor = Redactor::new(&credential, b"", &LABELS);
        for (text, want) in [
            ("nothing to hide", "nothing to hide"),
            ("key exampleSecretKey here", "key [redacted] here"),
            ("exampleSecretKeyexampleSecretKey", "[redacted][redacted]"),
            ("the beginning, exampleSecre", "the beginning, [redacted]"),
            ("example, which is short", "example, which is short"),
            ("zero\u{200b}width: exam\u{200b}pleSecret\u{200b}Key.", "zerowidth: [redacted]."),
            ("spaced: example Secret\u{1}Key.", "spaced: [redacted]."),
            (
                "canonicalRequest:POST|/v1.0/|x-sdk-date:20260115T083000Z|x-security-token:OLDER TOKEN|host:h",
                "canonicalRequest:POST|/v1.0/|x-sdk-date:20260115T083000Z|x-security-token:[redacted]|host:h",
            ),
            (
                "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-security-token, Signature=abc",
                "SDK-HMAC-SHA256 Access=[redacted], SignedHeaders=host;x-security-token, Signature=[redacted]",
            ),
            ("X-Auth-Token: T, next", "X-Auth-Token: [redacted], next"),
            (r#"{\"x-auth-token\":\"T\"}"#, r#"{\"x-auth-token\":\"[redacted]"}"#),
            ("x-auth-token%3DT&a=b", "x-auth-token%3D[redacted]&a=b"),
            ("author\u{e0041}ization: older", "authorization: [redacted]"),
            (r#"{"x-acs-security-token":"T"}"#, r#"{"x-acs-security-token":"[redacted]"}"#),
            ("点x-auth-token=é点", "点x-auth-token=[redacted]"),
        ] {
            assert_eq!(redactor.text(text, 512), want, "{text}");
        }
    }

    #[test]
    fn a_text_is_redacted_before_it_is_cut() {
        let credential = credential();
        let redactor = Redactor::new(&credential, b"", &LABELS);
        for padding in 0..40 {
            let text = format!("{}exampleSecretKey", "x".repeat(padding));
            for max in 1..60 {
                let shown = redactor.text(&text, max);
                assert!(!shown.contains("example"), "{padding} {max}: {shown}");
                let shown = redactor.identifier(text.as_bytes(), max).unwrap();
                assert!(!shown.contains("example") && shown.len() <= max, "{shown}");
            }
        }
    }

    #[test]
    fn identifiers_hide_secrets_between_other_characters() {
        let credential = credential();
        let redactor = Redactor::new(&credential, b"", &LABELS);
        for (id, want) in [
            (&b"R-1"[..], Some("R-1")),
            (b"R-exampleSecretKey", Some("R-[redacted]")),
            (b"EXAMPLEKEYID", Some("[redacted]")),
            (b"example\x01Secret Key", Some("[redacted]")),
            (b"R-1\xe9", Some("R-1")),
            (b"\xff", None),
        ] {
            assert_eq!(redactor.identifier(id, 128).as_deref(), want, "{id:?}");
        }
    }

    #[test]
    fn data_is_only_changed_where_a_secret_is() {
        let credential = credential();
        let signature = "f694fdb1c5a1d0f6e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c";
        let authorization = format!("SDK-HMAC-SHA256 Access=AK, Signature={signature}");
        let redactor = Redactor::new(&credential, authorization.as_bytes(), &LABELS);
        for same in ["authorization: see\r\nthe manual", " x-auth-token=1 ", "", "点\u{200b}点"] {
            assert!(matches!(redactor.data(Cow::Borrowed(same)), Cow::Borrowed(_)), "{same}");
        }
        let text = format!("the signature {signature} and exampleSecretKey\n");
        let shown = redactor.data(Cow::Borrowed(&text));
        assert_eq!(shown, "the signature [redacted] and [redacted]\n");
    }

    #[test]
    fn a_text_of_labels_takes_no_longer_than_another() {
        let credential = credential();
        let redactor = Redactor::new(&credential, b"", &LABELS);
        for unit in
            ["authorization", "authorization: ", "signature=", "x-auth-token\u{200b}:,", "%3d"]
        {
            let text = unit.repeat(1_000_000 / unit.len());
            let shown = redactor.text(&text, 512);
            assert!(shown.len() <= 512, "{unit}");
            // What is beyond the look-ahead decides nothing.
            let prefix = clip(&text, LOOK_AHEAD * 512 * 2);
            assert_eq!(shown, redactor.text(prefix, 512), "{unit}");
        }
    }
}
