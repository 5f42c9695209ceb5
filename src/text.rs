//! Cleans external texts before they are shown.

use std::borrow::Cow;

/// The longest prefix of at most this many bytes that ends at a character boundary.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

/// Truncates to this many bytes, replaces control characters by spaces and drops invisible
/// characters, so that a text cannot move a terminal's cursor, end a log line, split a header or
/// hide a word.
pub(crate) fn clean(text: &str, bytes: usize) -> String {
    let cleaned: String = clip(text, bytes)
        .chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| if is_unprintable(c) { ' ' } else { c })
        .collect();
    clip(cleaned.trim(), bytes).to_owned()
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        // Line and paragraph separators, and bidirectional control characters.
        || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Unicode's `Default_Ignorable_Code_Point`, without what is unprintable.
///
/// # Reference
/// <https://www.unicode.org/Public/16.0.0/ucd/DerivedCoreProperties.txt>
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2065}'
        | '\u{206A}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What is wrong with a text that is a secret or a name, if anything. Such a text is refused in every
/// source alike: it cannot be seen, and the service would answer that it is wrong.
pub(crate) fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.starts_with('\u{FEFF}') {
        Some("begins with a byte order mark; save it as plain UTF-8")
    } else if text.contains(|c| is_unprintable(c) || is_invisible(c)) {
        Some("contains a control character, such as a line break, or an invisible one")
    } else if text.trim() != text {
        Some("begins or ends with a blank")
    } else {
        None
    }
}

/// The same for a text that is sent in a header.
pub(crate) fn header_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        Some("contains a character other than visible ASCII, such as a space or a line break")
    } else {
        None
    }
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

/// The inverse of [`hex`] for exactly this many bytes. Upper-case digits are accepted, too.
pub(crate) fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(bytes)
}

/// An identifier of visible ASCII, truncated to this many bytes; none if it is empty.
pub(crate) fn identifier(text: &[u8], bytes: usize) -> Option<Cow<'_, str>> {
    let visible: Cow<'_, str> = match std::str::from_utf8(text) {
        Ok(text) if text.len() <= bytes && text.bytes().all(|b| b.is_ascii_graphic()) => {
            text.into()
        }
        _ => {
            let visible = text.iter().filter(|b| b.is_ascii_graphic()).take(bytes);
            visible.map(|b| char::from(*b)).collect::<String>().into()
        }
    };
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
            (
                "hid\u{ad}\u{34f}\u{115f}\u{200b}\u{2064}\u{3164}\u{fe0f}\u{feff}\u{e0041}den",
                "hidden",
            ),
        ] {
            assert_eq!(clean(text, 512), want, "{text:?}");
        }
        assert_eq!(clean(&"x".repeat(1000), 512).len(), 512);
    }

    #[test]
    fn secrets_and_names_are_refused_if_they_contain_what_nobody_sees() {
        let control =
            Some("contains a control character, such as a line break, or an invisible one");
        let blank = Some("begins or ends with a blank");
        for (text, want, in_header) in [
            ("example", None, true),
            ("an example, é 点", None, false),
            ("", Some("is empty"), false),
            ("example\n", control, false),
            ("example\r\n", control, false),
            ("exa\0mple", control, false),
            ("exa\u{200B}mple", control, false),
            ("exa\u{202E}mple", control, false),
            (
                "\u{FEFF}example",
                Some("begins with a byte order mark; save it as plain UTF-8"),
                false,
            ),
            (" example", blank, false),
            ("example\u{A0}", blank, false),
        ] {
            assert_eq!(fault(text), want, "{text:?}");
            assert_eq!(header_fault(text).is_none(), in_header, "{text:?}");
        }
    }

    #[test]
    fn identifier_is_visible_ascii() {
        assert_eq!(identifier(b"R-1\r\nx", 128).as_deref(), Some("R-1x"));
        assert_eq!(identifier("点".as_bytes(), 128), None);
        assert_eq!(identifier(&[b'r'; 200], 128).map(|id| id.len()), Some(128));
    }
}
