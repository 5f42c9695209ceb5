//! Validation of requests. Valid values are safe in paths and headers without encoding.

use super::error::{Error, FieldViolation};

#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Adds the field unless the rule holds.
    pub(crate) fn check(&mut self, field: &'static str, holds: bool, rule: &str) {
        if !holds {
            self.0.push(FieldViolation { field, description: rule.to_owned() });
        }
    }

    pub(crate) fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid_request(self.0)) }
    }
}

/// `^[0-9A-Za-z_-]{1,64}$`
pub(crate) fn is_project_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// 1 to 1024 bytes without control characters. There are no other rules, because the providers' own
/// documents write paths in three ways.
pub(crate) fn is_savepoint_path(text: &str) -> bool {
    (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The rule of [`is_workspace`], in words.
pub(crate) const WORKSPACE: &str =
    "must be 1 to 128 of 0-9, A-Z, a-z, _, . and -, and begin with a letter or digit";

/// `^[0-9A-Za-z][0-9A-Za-z_.-]{0,127}$`
pub(crate) fn is_workspace(text: &str) -> bool {
    is_name(text, |b| matches!(b, b'_' | b'.' | b'-'))
}

/// `^[0-9A-Za-z][0-9A-Za-z_.~-]{0,127}$`. The first character rules out `.` and `..`.
pub(crate) fn is_path_segment(text: &str) -> bool {
    is_name(text, |b| matches!(b, b'_' | b'.' | b'~' | b'-'))
}

fn is_name(text: &str, may_follow: impl Fn(u8) -> bool) -> bool {
    let [first, rest @ ..] = text.as_bytes() else { return false };
    first.is_ascii_alphanumeric()
        && rest.len() <= 127
        && rest.iter().all(|&b| b.is_ascii_alphanumeric() || may_follow(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_escape_from_a_path_or_header() {
        for text in [
            "",
            " ",
            ".",
            "..",
            "../../x",
            "a/b",
            "a\\b",
            "%2e%2e",
            "a%2Fb",
            "a?b#c",
            "a;b",
            "@evil.example",
            "//evil.example/x",
            "http://169.254.169.254/",
            "a\r\nb",
            "a\tb",
            "a\0b",
            "a b",
            "a:b",
            "a,b",
            "é",
            "ｎｓ",
            "a\u{202E}b",
            "a\u{200B}b",
            "~a",
            "-a",
            "_a",
        ] {
            assert!(!is_path_segment(text), "{text:?}");
            assert!(!is_workspace(text), "{text:?}");
        }
        for text in [".", "..", "a/b", "a.b", "a b", "é", "", "a~b"] {
            assert!(!is_project_id(text), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_limited() {
        for (is_valid, longest) in [
            (is_project_id as fn(&str) -> bool, 64),
            (is_workspace, 128),
            (is_path_segment, 128),
            (is_savepoint_path, 1024),
        ] {
            assert!(is_valid(&"a".repeat(longest)));
            assert!(!is_valid(&"a".repeat(longest + 1)));
            assert!(!is_valid(""));
        }
    }

    #[test]
    fn official_examples_are_valid() {
        assert!(is_project_id("0605767b3300d5762fb7c0186d9e1779"));
        assert!(is_workspace("a14bd5d90a0001"));
        assert!(is_path_segment("default-namespace"));
        assert!(is_path_segment("88a8fc49-e090-430a-85d8-3ee8c79c0001"));
        for path in
            ["obs://bucket-name/dir/savepoint/", "bucket-name/dir", "obs://桶/目录 1/é", "\"\\'"]
        {
            assert!(is_savepoint_path(path), "{path}");
        }
        for path in ["a\0", "a\nb", "\u{7f}", "\u{85}"] {
            assert!(!is_savepoint_path(path), "{path:?}");
        }
    }
}
