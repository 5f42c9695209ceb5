//! Cleaning of texts that come from outside before anybody is shown them.

/// The longest beginning of a text that is no longer than this many bytes and ends between
/// characters.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

/// Replaces every control character by a space and drops characters without a width, so that no
/// text can move a terminal's cursor, end a log line, split a header or hide a word; and cuts the
/// text to this many bytes.
pub(crate) fn clean(text: &str, bytes: usize) -> String {
    let cleaned: String = text
        .chars()
        // Characters that cannot be in the result are not processed.
        .take(bytes)
        .filter(|c| !has_no_width(*c))
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect();
    clip(cleaned.trim(), bytes).to_owned()
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        // Line and paragraph separators, and the marks that reorder what a person reads.
        || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn has_no_width(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = vec![0; bytes.len() * 2];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    // Digits are text.
    String::from_utf8(text).unwrap_or_default()
}

/// A header-safe identifier: visible ASCII, cut to this many bytes. None when nothing is left.
pub(crate) fn identifier(text: &str, bytes: usize) -> Option<String> {
    let visible: String = text.chars().filter(char::is_ascii_graphic).take(bytes).collect();
    (!visible.is_empty()).then_some(visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_ends_between_characters() {
        for (text, bytes, want) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("点点", 4, "点"), ("点", 2, ""), ("", 0, "")]
        {
            assert_eq!(clip(text, bytes), want, "{text:?} {bytes}");
        }
    }

    #[test]
    fn clean_leaves_nothing_that_acts_on_a_terminal() {
        for (text, want) in [
            ("plain", "plain"),
            ("a\r\nb\tc", "a  b c"),
            ("\u{1b}[31mred\u{7}", "[31mred"),
            ("left\u{202E}thgir", "left thgir"),
            ("作业更新成功", "作业更新成功"),
            ("\u{0}", ""),
        ] {
            assert_eq!(clean(text, 512), want, "{text:?}");
        }
        assert_eq!(clean(&"x".repeat(1000), 512).len(), 512);
    }

    #[test]
    fn identifier_is_visible_ascii() {
        assert_eq!(identifier("R-1\r\nx", 128).as_deref(), Some("R-1x"));
        assert_eq!(identifier("点", 128), None);
        assert_eq!(identifier(&"r".repeat(200), 128).map(|id| id.len()), Some(128));
    }
}
