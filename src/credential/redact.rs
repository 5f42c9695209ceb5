//! Removing secrets from texts that a provider sent.

const REDACTED: &str = "[redacted]";

/// Headers whose values a provider may echo when it refuses a signature, and parts of an
/// `Authorization` value. A token of an earlier credential is caught by these, too.
const LABELS: [&str; 7] = [
    "authorization",
    "x-security-token",
    "x-auth-token",
    "x-acs-security-token",
    "x-acs-accesskey-id",
    "signature=",
    "access=",
];

/// The text with `[redacted]` in place of each known secret and of each value behind a label
/// that announces one.
pub(super) fn redact<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for secret in known.filter(|secret| !secret.is_empty()) {
        if text.contains(secret) {
            text = text.replace(secret, REDACTED);
        }
    }
    for label in LABELS {
        text = redact_labelled(&text, label);
    }
    text
}

/// Replaces what follows each occurrence of the label and its separator, up to the next
/// character that ends a value.
fn redact_labelled(text: &str, label: &str) -> String {
    // ASCII lower-casing keeps every byte offset.
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower[from..].find(label) {
        let after_label = from + found + label.len();
        let value = text[after_label..].trim_start_matches([':', '=', ' ', '"', '\'']);
        let start = text.len() - value.len();
        // A name in a list of signed headers has no value behind it.
        let has_separator = label.ends_with('=') || start > after_label;
        let end = start
            + value.find(['|', '\n', '\r', ',', ';', '"', '\'', '&', '}']).unwrap_or(value.len());
        if !has_separator || start == end {
            shown.push_str(&text[from..after_label]);
            from = after_label;
            continue;
        }
        shown.push_str(&text[from..start]);
        shown.push_str(REDACTED);
        from = end;
    }
    shown.push_str(&text[from..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_and_labelled_values_disappear() {
        for (text, want) in [
            ("nothing to hide", "nothing to hide"),
            ("key sk-EXAMPLE here", "key [redacted] here"),
            (
                "canonicalRequest:POST|/v1.0/|x-sdk-date:20260115T083000Z|x-security-token:OLDER TOKEN|host:h",
                "canonicalRequest:POST|/v1.0/|x-sdk-date:20260115T083000Z|x-security-token:[redacted]|host:h",
            ),
            (
                "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-security-token, Signature=abc",
                "SDK-HMAC-SHA256 Access=[redacted], SignedHeaders=host;x-security-token, Signature=[redacted]",
            ),
            ("X-Auth-Token: T\nnext", "X-Auth-Token: [redacted]\nnext"),
            (r#"{"x-acs-security-token":"T"}"#, r#"{"x-acs-security-token":"[redacted]"}"#),
            ("点x-auth-token=é点", "点x-auth-token=[redacted]"),
        ] {
            assert_eq!(redact(text, ["sk-EXAMPLE", ""].into_iter()), want, "{text}");
        }
    }
}
