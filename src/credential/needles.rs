//! Finds secrets in texts, whole or in part, and in every form that still tells them.
//!
//! Case, width, percent-encoding, backslashes and characters that no secret has do not hide one.
//! Base64 of a secret is not looked for: no request contains it.
//!
//! The time is linear in text and secrets whatever they are. Texts in which no two neighbouring
//! characters are those of a secret, almost all, are only sampled.

use std::ops::Range;

use zeroize::Zeroizing;

/// A beginning of a secret tells it from this length on.
const TELLING_BYTES: usize = 8;

/// So does one in another case, from this length on: shorter ones can be words.
const TELLING_FOLDED_BYTES: usize = 16;

/// Any other part tells a secret if it is more than half of it, and at least so long.
const TELLING_PART_BYTES: usize = 12;

/// Parts of a secret, without the secret: what to look for before looking closer.
#[derive(Clone, Default)]
pub(super) struct Needles {
    /// The pairs of neighbouring characters in `windows`, hashed.
    pairs: [u64; 16],
    /// The first eight characters of each secret, and the eight in its middle.
    windows: Zeroizing<[u64; 8]>,
    count: usize,
    /// Whether a secret is too short to have windows.
    has_short: bool,
}

impl Needles {
    pub(super) fn add(&mut self, secret: &[u8]) {
        let Some(first) = secret.first_chunk() else {
            self.has_short |= !secret.is_empty();
            return;
        };
        for window in [Some(first), secret[middle(secret)..].first_chunk()].into_iter().flatten() {
            let window: [u8; TELLING_BYTES] = window.map(fold);
            for pair in window.windows(2) {
                let (word, bit) = slot(pair[0], pair[1]);
                self.pairs[word] |= bit;
            }
            if let Some(free) = self.windows.get_mut(self.count) {
                *free = u64::from_be_bytes(window);
                self.count += 1;
            } else {
                self.has_short = true;
            }
        }
    }

    /// Whether a text may contain a secret; false is certain.
    pub(super) fn may_be_in(&self, text: &str) -> bool {
        self.has_short || (!self.cannot_be_in(text.as_bytes()) && self.has_window(text))
    }

    /// Whether a text of only visible characters, as they are, contains no window: each covers
    /// seven pairs of neighbours, so every seventh pair is enough.
    fn cannot_be_in(&self, text: &[u8]) -> bool {
        let is_plain = |b: &u8| b.is_ascii_graphic() & (*b != b'%') & (*b != b'\\');
        text.iter().fold(true, |all, b| all & is_plain(b))
            && text.windows(2).step_by(TELLING_BYTES - 1).all(|pair| {
                let (word, bit) = slot(fold(pair[0]), fold(pair[1]));
                self.pairs[word] & bit == 0
            })
    }

    fn has_window(&self, text: &str) -> bool {
        let windows = &self.windows[..self.count];
        // Decoding can only bring characters together; look closer.
        if text.bytes().any(|b| b == b'%' || b == b'\\') {
            return true;
        }
        let mut last = 0_u64;
        visible(text).any(|(_, b)| {
            last = last << 8 | u64::from(fold(b));
            windows.contains(&last)
        })
    }
}

/// Where a text tells a secret, as byte ranges. They may overlap.
pub(super) fn find(text: &str, secret: &[u8], found: &mut Vec<Range<usize>>) {
    if secret.is_empty() {
        return;
    }
    find_in(&visible(text).collect::<Vec<_>>(), text, secret, found);
    if text.contains(['%', '\\']) {
        find_in(&decoded(text), text, secret, found);
    }
}

/// A visible character, and where it begins in the text.
type Visible = (usize, u8);

fn find_in(visible: &[Visible], text: &str, secret: &[u8], found: &mut Vec<Range<usize>>) {
    let bytes: Vec<u8> = visible.iter().map(|(_, b)| *b).collect();
    let folded: Vec<u8> = bytes.iter().map(|b| fold(*b)).collect();
    let secret_folded: Vec<u8> = secret.iter().map(|b| fold(*b)).collect();
    let mut add = |from: usize, length: usize| {
        let end = visible.get(from + length).map_or(text.len(), |(end, _)| *end);
        // Not what follows the last character, up to the next one.
        let (last, _) = visible[from + length - 1];
        let last_is_encoded = text[last..].starts_with('%');
        let end = if last_is_encoded { end } else { end.min(last + char_len(text, last)) };
        found.push(visible[from].0..end);
    };

    let exact = common_beginnings(&bytes, secret);
    let any_case = common_beginnings(&folded, &secret_folded);
    for (from, (exact, any_case)) in exact.into_iter().zip(any_case).enumerate() {
        let telling = |length: usize, least: usize| length >= least.min(secret.len());
        if telling(any_case, TELLING_FOLDED_BYTES) {
            add(from, any_case);
        } else if telling(exact, TELLING_BYTES) {
            add(from, exact);
        }
    }

    let (before, after) = secret_folded.split_at(middle(secret));
    let after = common_beginnings(&folded, after);
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
    let before = common_beginnings(&reversed(&folded), &reversed(before));
    for (at, after) in after.into_iter().enumerate() {
        let before = if at == 0 { 0 } else { before[folded.len() - at] };
        let length = before + after;
        if after >= TELLING_BYTES && length >= TELLING_PART_BYTES && length > secret.len() / 2 {
            add(at - before, length);
        }
    }
}

fn char_len(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Where the middle window of a secret begins.
fn middle(secret: &[u8]) -> usize {
    (secret.len() / 2).saturating_sub(TELLING_BYTES / 2)
}

/// The characters that a secret can have, with those of full width as those that they look like.
fn visible(text: &str) -> impl Iterator<Item = Visible> + '_ {
    text.char_indices().filter_map(|(at, c)| {
        let narrow = match c {
            '\u{FF01}'..='\u{FF5E}' => u8::try_from(u32::from(c) - 0xFEE0).ok()?,
            c if c.is_ascii_graphic() => u8::try_from(c).ok()?,
            _ => return None,
        };
        Some((at, narrow))
    })
}

/// The same without backslashes, and with what is percent-encoded, perhaps several times, decoded.
fn decoded(text: &str) -> Vec<Visible> {
    let mut decoded: Vec<Visible> = Vec::new();
    for (at, b) in visible(text).filter(|(_, b)| *b != b'\\') {
        decoded.push((at, b));
        while let [.., (at, b'%'), (_, high), (_, low)] = decoded[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            decoded.truncate(decoded.len() - 3);
            let b = high << 4 | low;
            if b.is_ascii_graphic() && b != b'\\' {
                decoded.push((at, b));
            }
        }
    }
    decoded
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Letters in lower case; other characters stay apart from them.
fn fold(b: u8) -> u8 {
    b.to_ascii_lowercase()
}

fn slot(first: u8, second: u8) -> (usize, u64) {
    let hash =
        usize::from(first).wrapping_mul(37).wrapping_add(usize::from(second).wrapping_mul(5));
    ((hash >> 6) % 16, 1 << (hash % 64))
}

/// For each position of a text, how much of the pattern's beginning stands there (Z-algorithm).
fn common_beginnings(text: &[u8], pattern: &[u8]) -> Vec<usize> {
    if pattern.is_empty() {
        return vec![0; text.len()];
    }
    let own = boxes(pattern.len(), |at| pattern[at], pattern, &[]);
    boxes(text.len(), |at| text[at], pattern, &own)
}

/// The common step: `own` are the pattern's own common beginnings, empty while they are made.
fn boxes(length: usize, at: impl Fn(usize) -> u8, pattern: &[u8], own: &[usize]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::with_capacity(length);
    // The box that reaches furthest: text[left..right] equals the pattern's beginning.
    let (mut left, mut right) = (0, 0);
    for from in 0..length {
        let is_pattern = own.is_empty();
        if is_pattern && from == 0 {
            found.push(length);
            continue;
        }
        let mut same = 0;
        if from < right {
            let known = if is_pattern { found[from - left] } else { own[from - left] };
            same = known.min(right - from);
        }
        // Only what reaches beyond the box is compared.
        if from + same >= right {
            while same < pattern.len() && from + same < length && at(from + same) == pattern[same] {
                count_step();
                same += 1;
            }
            (left, right) = (from, from + same);
        }
        found.push(same);
    }
    found
}

#[cfg(not(test))]
fn count_step() {}

#[cfg(test)]
thread_local! {
    /// How many characters were found to be equal.
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
fn count_step() {
    STEPS.set(STEPS.get() + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "exampleSecretKey0123456789abcdef";

    fn needles(secrets: &[&str]) -> Needles {
        let mut needles = Needles::default();
        secrets.iter().for_each(|secret| needles.add(secret.as_bytes()));
        needles
    }

    /// The text without what tells the secret.
    fn rest(text: &str, secret: &str) -> String {
        let mut found = Vec::new();
        if needles(&[secret]).may_be_in(text) {
            find(text, secret.as_bytes(), &mut found);
        }
        text.char_indices()
            .filter(|(at, _)| !found.iter().any(|range| range.contains(at)))
            .map(|(_, c)| c)
            .collect()
    }

    #[test]
    fn a_secret_is_found_in_every_form_that_tells_it() {
        let wide: String =
            SECRET.chars().filter_map(|c| char::from_u32(u32::from(c) + 0xFEE0)).collect();
        let between = |c: char| SECRET.chars().flat_map(|s| [s, c]).collect::<String>();
        let encoded: String = SECRET.bytes().map(|b| format!("%{b:02x}")).collect();
        let twice = encoded.replace('%', "%25");
        for form in [
            SECRET.to_owned(),
            SECRET.to_uppercase(),
            SECRET.to_lowercase(),
            wide,
            encoded,
            twice,
            between('\u{200b}'),
            between('\u{301}'),
            between('\u{ad}'),
            between('\u{e0041}'),
            between(' '),
            between('\n'),
            between('\\'),
            SECRET[..8].to_owned(),
            SECRET[..31].to_owned(),
            SECRET[1..].to_owned(),
            SECRET[8..30].to_owned(),
        ] {
            let shown = rest(&format!("<<{form}>>"), SECRET);
            assert!(shown.len() < 8 + "<<>>".len(), "{form}: {shown}");
            assert!(shown.starts_with("<<") && shown.ends_with(">>"), "{form}: {shown}");
        }
        let token = "CAIS+/exampleToken==%2B";
        for form in ["CAIS%2B%2FexampleToken%3D%3D", "CAIS+\\/exampleToken==", token] {
            let shown = rest(&format!("<<{form}>>"), token);
            assert!(!shown.contains("example"), "{form}: {shown}");
        }
    }

    #[test]
    fn a_text_without_a_secret_stays_as_it_is() {
        for text in [
            "",
            "e",
            "R-0123456789",
            "0123456789abcdef",
            "example",
            "examples of a SECRETKEY",
            "354dde66-a3ae-463e-967a-0b4107fd0001",
            "https://oss/bucket/flink/100%25/a%2Fb\\c",
            "作业更新成功",
        ] {
            assert_eq!(rest(text, SECRET), text);
        }
    }

    #[test]
    fn every_occurrence_is_found_wherever_it_stands() {
        for before in 0..40 {
            for after in [0, 1, 7] {
                let text = format!("{}{SECRET}{}", "x".repeat(before), "e".repeat(after));
                let want = format!("{}{}", "x".repeat(before), "e".repeat(after));
                assert_eq!(rest(&text, SECRET), want, "{before} {after}");
            }
        }
        assert_eq!(rest(&SECRET.repeat(3), SECRET), "");
    }

    #[test]
    fn a_pattern_is_found_as_a_simple_search_finds_it() {
        let simple = |text: &[u8], pattern: &[u8]| -> Vec<usize> {
            let same = |from: usize| text[from..].iter().zip(pattern).take_while(|(a, b)| a == b);
            (0..text.len()).map(|from| same(from).count()).collect()
        };
        for pattern in ["a", "aa", "ab", "aab", "abaab", "aaaaab", "abcabd"] {
            for bits in 0..1_u32 << 12 {
                let text: Vec<u8> = (0..12).map(|i| b'a' + u8::from(bits >> i & 1 == 1)).collect();
                let found = common_beginnings(&text, pattern.as_bytes());
                assert_eq!(found, simple(&text, pattern.as_bytes()), "{text:?} {pattern}");
            }
        }
    }

    #[test]
    fn twice_the_text_takes_twice_the_steps_whatever_repeats() {
        let near = format!("{}b", "a".repeat(2000));
        for (unit, secret) in [
            ("a", near.as_str()),
            ("ab", &"ab".repeat(1000)),
            (&near[..1999], &near),
            (&SECRET[..31], SECRET),
            (SECRET, SECRET),
            ("%61", &near),
            ("\\a", &near),
        ] {
            let steps = |bytes: usize| {
                STEPS.set(0);
                let text = unit.repeat(bytes / unit.len() + 1);
                find(&text, secret.as_bytes(), &mut Vec::new());
                (STEPS.get(), text.len())
            };
            let ((small, _), (large, bytes)) = (steps(100_000), steps(200_000));
            // Two forms of the text, each searched four ways.
            assert!(large <= 8 * (bytes + secret.len()), "{unit}: {large} steps for {bytes}");
            assert!(large <= small * 5 / 2 + secret.len() * 8, "{unit}: {small}, {large}");
        }
    }
}
