//! Page tokens of ListSavepoints.

use aws_lc_rs::digest;

use crate::text::{bytes_of_hex, hex};

/// The page of a list. The provider pages by index, so a token is valid only with the page size and
/// the filters of its list.
///
/// # Format
/// Lower-case hex of a version byte, the page size (1 byte), the page index (4 bytes, big-endian)
/// and the first 16 bytes of the SHA-256 of what is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageToken {
    pub(super) page_size: u8,
    /// From 1.
    pub(super) page_index: u32,
    listed: [u8; LISTED_BYTES],
}

/// The provider's maximum. More is refused rather than cut, because it is documented.
pub(super) const MAX_PAGE_SIZE: u8 = 100;

const VERSION: u8 = 1;
const LISTED_BYTES: usize = 16;

impl PageToken {
    /// The first page. `listed`: workspace, namespace and filters.
    pub(super) fn first(page_size: u8, listed: [&str; 4]) -> Self {
        Self { page_size, page_index: 1, listed: digest_of(listed) }
    }

    /// Parses a token; none unless it belongs to what is listed.
    pub(super) fn parse(text: &str, listed: [&str; 4]) -> Option<Self> {
        let bytes: [u8; 6 + LISTED_BYTES] = bytes_of_hex(text)?;
        let [VERSION, page_size, a, b, c, d, digest @ ..] = bytes else { return None };
        let page_index = u32::from_be_bytes([a, b, c, d]);
        let is_usable = (1..=MAX_PAGE_SIZE).contains(&page_size)
            && (2..=MAX_INDEX).contains(&page_index)
            && digest == digest_of(listed);
        is_usable.then_some(Self { page_size, page_index, listed: digest })
    }

    /// The token of the next page; none if the provider cannot count that far.
    pub(super) fn next(&self) -> Option<String> {
        let page_index = self.page_index + 1;
        if page_index > MAX_INDEX {
            return None;
        }
        let mut bytes = vec![VERSION, self.page_size];
        bytes.extend(page_index.to_be_bytes());
        bytes.extend(self.listed);
        Some(hex(&bytes))
    }
}

/// The provider's page index is an int32.
const MAX_INDEX: u32 = i32::MAX as u32;

fn digest_of(listed: [&str; 4]) -> [u8; LISTED_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in listed {
        // Valid values contain no zero byte.
        context.update(text.as_bytes());
        context.update(&[0]);
    }
    let mut first = [0; LISTED_BYTES];
    first.copy_from_slice(&context.finish().as_ref()[..LISTED_BYTES]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: [&str; 4] = ["workspace", "namespace", "deployment", ""];

    #[test]
    fn a_token_is_valid_only_for_the_list_that_it_continues() {
        let token = PageToken::first(10, LISTED).next().unwrap();
        let parsed = PageToken::parse(&token, LISTED).unwrap();
        assert_eq!((parsed.page_size, parsed.page_index), (10, 2));
        let third = PageToken::parse(&parsed.next().unwrap(), LISTED).unwrap();
        assert_eq!((third.page_size, third.page_index), (10, 3));
        for other in [
            ["other", "namespace", "deployment", ""],
            ["workspace", "other", "deployment", ""],
            ["workspace", "namespace", "", ""],
            ["workspace", "namespace", "", "deployment"],
            ["workspace", "namespace", "deployment", "job"],
            ["workspacen", "amespace", "deployment", ""],
        ] {
            assert_eq!(PageToken::parse(&token, other), None, "{other:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_token_is_refused() {
        let token = PageToken::first(10, LISTED).next().unwrap();
        let with = |at: usize, text: &str| {
            let mut token = token.clone();
            token.replace_range(at..at + text.len(), text);
            token
        };
        for text in [
            with(0, "02"),
            with(2, "00"),
            with(2, "65"),
            with(4, "00000000"),
            with(4, "00000001"),
            with(4, "80000000"),
            with(12, "zz"),
            token[1..].to_owned(),
            format!("{token}00"),
            "next".to_owned(),
            "é".repeat(22),
        ] {
            assert_eq!(PageToken::parse(&text, LISTED), None, "{text}");
        }
        let last = PageToken { page_index: MAX_INDEX, ..PageToken::first(10, LISTED) };
        assert_eq!(last.next(), None);
    }
}
