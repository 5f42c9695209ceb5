//! Cleans external texts before they are shown.

/// The longest prefix of at most this many bytes that ends at a character boundary.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

/// Truncates to this many bytes, replaces control characters by spaces and drops zero-width
/// characters, so that a text cannot move a terminal's cursor, end a log line, split a header or
/// hide a word.
pub(crate) fn clean(text: &str, bytes: usize) -> String {
    let cleaned: String = text
        .chars()
        // Skip characters that cannot be in the result.
        .take(bytes)
        .filter(|c| !has_no_width(*c))
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect();
    clip(cleaned.trim(), bytes).to_owned()
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        // Line and paragraph separators, and bidirectional control characters.
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
    // Hex digits are always UTF-8.
    String::from_utf8(text).unwrap_or_default()
}

/// An identifier of visible ASCII, truncated to this many bytes; none if it is empty.
pub(crate) fn identifier(text: &str, bytes: usize) -> Option<String> {
    let visible: String = text.chars().filter(char::is_ascii_graphic).take(bytes).collect();
    (!visible.is_empty()).then_some(visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_ends_at_a_character_boundary() {
        for (text, bytes, want) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("点点", 4, "点"), ("点", 2, ""), ("", 0, "")]
        {
            assert_eq!(clip(text, bytes), want, "{text:?} {bytes}");
        }
    }

    #[test]
    fn clean_removes_everything_that_affects_a_terminal() {
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
