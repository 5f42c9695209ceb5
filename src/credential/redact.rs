//! Cleans, redacts and truncates every text of a provider before it is shown.
//!
//! In this order, because control characters could hide a secret, and a truncated secret would not
//! be recognized. The cost is linear in a bounded prefix of the text.

use super::Credential;
use crate::text::{clean, clip, identifier};

const REDACTED: &str = "[redacted]";

const LOOK_AHEAD: usize = 16;

/// Prefixes of secrets from this length on are hidden, too.
const TELLING_BYTES: usize = 8;

/// The characters that end a labelled value.
const VALUE_ENDS: [char; 9] = ['|', '\n', '\r', ',', ';', '"', '\'', '&', '}'];

/// Removes the secrets of one credential from texts.
#[derive(Debug)]
pub(crate) struct Redactor<'a> {
    credential: &'a Credential,
    /// Lower-case labels that precede a secret. They also catch tokens of earlier credentials.
    labels: &'static [&'static str],
}

impl<'a> Redactor<'a> {
    /// `labels`: see [`crate::rpc::operation::Provider::secret_labels`].
    pub(crate) fn new(credential: &'a Credential, labels: &'static [&'static str]) -> Self {
        Self { credential, labels }
    }

    /// A printable text of at most `max` bytes.
    pub(crate) fn text(&self, text: &str, max: usize) -> String {
        let cleaned = clean(text, LOOK_AHEAD * max);
        clip(self.redact(&cleaned).trim(), max).to_owned()
    }

    /// An identifier of at most `max` bytes of visible ASCII; none if it is empty.
    pub(crate) fn identifier(&self, text: &str, max: usize) -> Option<String> {
        let shown = self.redact(&identifier(text, LOOK_AHEAD * max)?);
        Some(clip(&shown, max).to_owned())
    }

    /// Whether an identifier contains a secret or a prefix of one.
    pub(crate) fn finds_secret(&self, identifier: &str) -> bool {
        self.credential.secrets().any(|secret| identifier.contains(beginning(secret)))
    }

    fn redact(&self, text: &str) -> String {
        let mut ranges = self.secrets_in(text);
        self.add_labelled(text, &mut ranges);
        ranges.sort_unstable();
        let mut shown = String::with_capacity(text.len());
        let mut from = 0;
        for (start, end) in ranges {
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

    /// The ranges of secrets and prefixes of secrets, also where other characters, which no secret
    /// has, are inserted.
    fn secrets_in(&self, text: &str) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        let (mut visible, mut offsets) = (String::with_capacity(text.len()), Vec::new());
        for (offset, c) in text.char_indices().filter(|(_, c)| c.is_ascii_graphic()) {
            visible.push(c);
            offsets.push(offset);
        }
        for secret in self.credential.secrets() {
            let mut from = 0;
            while let Some(found) = visible[from..].find(beginning(secret)) {
                let start = from + found;
                let rest = visible[start..].bytes().zip(secret.bytes());
                let length = rest.take_while(|(found, secret)| found == secret).count();
                from = start + length;
                ranges.push((offsets[start], offsets[from - 1] + 1));
            }
        }
        ranges
    }

    /// Adds the values after each label and its separator.
    fn add_labelled(&self, text: &str, ranges: &mut Vec<(usize, usize)>) {
        // ASCII lower-casing preserves byte offsets.
        let lower = text.to_ascii_lowercase();
        for label in self.labels {
            let mut from = 0;
            while let Some(found) = lower[from..].find(label) {
                let after_label = from + found + label.len();
                from = after_label;
                let value = text[after_label..].trim_start_matches([':', '=', ' ', '"', '\'']);
                let start = text.len() - value.len();
                // In a list of signed headers the label has no value.
                if !label.ends_with('=') && start == after_label {
                    continue;
                }
                let end = start + value.find(VALUE_ENDS).unwrap_or(value.len());
                if start < end {
                    ranges.push((start, end));
                    from = end;
                }
            }
        }
    }
}

/// The prefix of a secret that is searched for.
fn beginning(secret: &str) -> &str {
    &secret[..secret.len().min(TELLING_BYTES)]
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
        let redactor = Redactor::new(&credential, &LABELS);
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
            (r#"{"x-acs-security-token":"T"}"#, r#"{"x-acs-security-token":"[redacted]"}"#),
            ("点x-auth-token=é点", "点x-auth-token=[redacted]"),
        ] {
            assert_eq!(redactor.text(text, 512), want, "{text}");
        }
    }

    #[test]
    fn a_text_is_redacted_before_it_is_cut() {
        let credential = credential();
        let redactor = Redactor::new(&credential, &LABELS);
        for padding in 0..40 {
            let text = format!("{}exampleSecretKey", "x".repeat(padding));
            for max in 1..60 {
                let shown = redactor.text(&text, max);
                assert!(!shown.contains("example"), "{padding} {max}: {shown}");
                let shown = redactor.identifier(&text, max).unwrap();
                assert!(!shown.contains("example") && shown.len() <= max, "{shown}");
            }
        }
    }

    #[test]
    fn identifiers_hide_secrets_between_other_characters() {
        let credential = credential();
        let redactor = Redactor::new(&credential, &LABELS);
        for (id, found) in [("R-1", false), ("R-exampleSecretKey", true), ("EXAMPLEKEYID", true)] {
            assert_eq!(redactor.finds_secret(id), found, "{id:?}");
        }
        let code = redactor.identifier("example\u{1}Secret Key", 128);
        assert_eq!(code.as_deref(), Some("[redacted]"));
        assert_eq!(redactor.identifier("点", 128), None);
    }
}
