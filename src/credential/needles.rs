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

/// Makes letters of both cases equal in a window, and a few other characters to each other.
const ANY_CASE: u64 = u64::MAX / 0xff * 0x20;

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
            for pair in window.windows(2) {
                let (word, bit) = slot(pair[0], pair[1]);
                self.pairs[word] |= bit;
            }
            if let Some(free) = self.windows.get_mut(self.count) {
                *free = u64::from_be_bytes(*window) | ANY_CASE;
                self.count += 1;
            } else {
                self.has_short = true;
            }
        }
    }

    /// Whether a text may contain a secret; false is certain.
    fn may_be_in(&self, text: &str) -> bool {
        self.has_short || (!self.cannot_be_in(text.as_bytes()) && self.has_window(text))
    }

    /// Whether a text of only visible characters, as they are, contains no window: each covers
    /// seven pairs of neighbours, so only every seventh pair can begin a closer look.
    fn cannot_be_in(&self, text: &[u8]) -> bool {
        const STEP: usize = TELLING_BYTES - 1;
        let is_near = |at: usize| {
            (at.saturating_sub(STEP - 1)..=at).any(|start| {
                let window = text.get(start..).and_then(<[u8]>::first_chunk);
                window.is_some_and(|window| self.has(u64::from_be_bytes(*window) | ANY_CASE))
            })
        };
        is_plain(text)
            && text.chunks(STEP).enumerate().all(|(index, part)| {
                part.len() < 2 || !self.has_pair(part[0], part[1]) || !is_near(index * STEP)
            })
    }

    fn has_window(&self, text: &str) -> bool {
        let text = text.as_bytes();
        // Decoding can only bring characters together; look closer.
        let is_encoded = |b: &u8| !b.is_ascii() || *b == b'%' || *b == b'\\';
        if text.iter().any(is_encoded) {
            return self.count > 0;
        }
        self.has_window_of(text.iter().copied().filter(u8::is_ascii_graphic))
    }

    fn has_window_of(&self, mut visible: impl Iterator<Item = u8>) -> bool {
        let (mut last, mut before) = (0_u64, 0);
        visible.any(|b| {
            last = last << 8 | u64::from(b);
            let is_near = self.has_pair(before, b);
            before = b;
            is_near && self.has(last | ANY_CASE)
        })
    }

    fn has(&self, window: u64) -> bool {
        self.windows[..self.count].contains(&window)
    }

    fn has_pair(&self, first: u8, second: u8) -> bool {
        let (word, bit) = slot(first, second);
        self.pairs[word] & bit != 0
    }
}

impl Needles {
    /// Where a text tells one of these secrets, which were all added, as byte ranges. They may
    /// overlap.
    pub(super) fn find<'a>(
        &self,
        text: &str,
        secrets: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if !self.may_be_in(text) {
            return found;
        }
        let mut look = |visible: &[Visible]| {
            if self.has_short || self.has_window_of(visible.iter().map(|(_, b)| *b)) {
                secrets.clone().for_each(|secret| find_in(visible, text, secret, &mut found));
            }
        };
        look(&visible(text).collect::<Vec<_>>());
        if text.contains(['%', '\\']) {
            look(&decoded(text));
        }
        found
    }
}

/// A visible character, and where it begins in the text.
type Visible = (u32, u8);

fn find_in(visible: &[Visible], text: &str, secret: &[u8], found: &mut Vec<Range<usize>>) {
    let offset = |at: usize| visible.get(at).map_or(text.len(), |(at, _)| *at as usize);
    let mut add = |from: usize, length: usize| {
        let last = offset(from + length - 1);
        // Not what follows the last character, up to the next one.
        let end = match text[last..].starts_with('%') {
            true => offset(from + length),
            false => last + char_len(text, last),
        };
        match found.last_mut() {
            Some(range) if (range.start..range.end).contains(&offset(from)) => {
                range.end = range.end.max(end);
            }
            _ => found.push(offset(from)..end),
        }
    };
    let exactly = |a: u8, b: u8| a == b;
    let in_any_case = |a: u8, b: u8| a.eq_ignore_ascii_case(&b);

    beginnings(visible, secret, exactly, |from, length| {
        if length >= TELLING_BYTES.min(secret.len()).max(1) {
            add(from, length);
        }
    });
    beginnings(visible, secret, in_any_case, |from, length| {
        if length >= TELLING_FOLDED_BYTES.min(secret.len()).max(1) {
            add(from, length);
        }
    });
    let (before, after) = secret.split_at(middle(secret));
    // Where the last middle was: looking back ends there.
    let mut seen = 0;
    beginnings(visible, after, in_any_case, |at, length| {
        if length < TELLING_BYTES {
            return;
        }
        let back = visible[seen..at].iter().rev().zip(before.iter().rev());
        let back = back.take_while(|((_, a), b)| in_any_case(*a, **b)).inspect(|_| count_step());
        let back = back.count();
        seen = at;
        let length = back + length;
        if length >= TELLING_PART_BYTES && length > secret.len() / 2 {
            add(at - back, length);
        }
    });
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
        Some((u32::try_from(at).ok()?, narrow))
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

/// Whether all characters are visible ASCII other than `%` and `\\`. Eight at a time.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    /// The high bit of the first byte below `least`, if there is one; all of them are ASCII.
    fn below(word: u64, least: u8) -> u64 {
        word.wrapping_sub(ONES * u64::from(least)) & !word
    }
    let is_plain = |word: u64| {
        let same = |b: u8| below(word ^ (ONES * u64::from(b)), 1);
        let odd = word | below(word, b'!') | same(0x7f) | same(b'%') | same(b'\\');
        odd & HIGH == 0
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b'a'; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).all(|word| is_plain(u64::from_ne_bytes(*word)))
}

fn slot(first: u8, second: u8) -> (usize, u64) {
    let pair = (u32::from(first) << 8 | u32::from(second)) | 0x2020;
    let hash = pair.wrapping_mul(0x9e37_79b1) >> 22;
    ((hash >> 6) as usize, 1 << (hash % 64))
}

/// Tells of each position of a text how much of the pattern's beginning stands there (Z-algorithm).
fn beginnings(
    text: &[Visible],
    pattern: &[u8],
    same: impl Fn(u8, u8) -> bool,
    mut each: impl FnMut(usize, usize),
) {
    let mut own = vec![pattern.len()];
    let (mut left, mut right) = (0, 0);
    for from in 1..pattern.len() {
        let known = if from < right { own[from - left].min(right - from) } else { 0 };
        let is_same = |at: usize| at < pattern.len() && same(pattern[at], pattern[at - from]);
        own.push(extended(from, known, pattern.len(), (&mut left, &mut right), is_same));
    }
    // The part that reaches furthest: text[left..right] equals the pattern's beginning.
    (left, right) = (0, 0);
    for from in 0..text.len() {
        let known = if from < right { own[from - left].min(right - from) } else { 0 };
        let is_same = |at: usize| at < text.len() && same(text[at].1, pattern[at - from]);
        each(from, extended(from, known, pattern.len(), (&mut left, &mut right), is_same));
    }
}

/// How long the part at `from` is, of which so much is known. Only what reaches beyond the part that
/// reaches furthest is compared.
fn extended(
    from: usize,
    known: usize,
    most: usize,
    (left, right): (&mut usize, &mut usize),
    is_same: impl Fn(usize) -> bool,
) -> usize {
    if from + known < *right {
        return known;
    }
    let mut length = known;
    while length < most && is_same(from + length) {
        count_step();
        length += 1;
    }
    (*left, *right) = (from, from + length);
    length
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
        let found = needles(&[secret]).find(text, [secret.as_bytes()].into_iter());
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
    fn plain_texts_have_only_visible_ascii() {
        for b in 0..=u8::MAX {
            let want = b.is_ascii_graphic() && b != b'%' && b != b'\\';
            for (before, after) in [(0, 0), (3, 9), (8, 0), (15, 1)] {
                let text = [&vec![b'x'; before][..], &[b], &vec![b'x'; after]].concat();
                assert_eq!(is_plain(&text), want, "{b} {before} {after}");
            }
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
                let visible: Vec<Visible> = text.iter().map(|b| (0, *b)).collect();
                let mut found = Vec::new();
                let same = |a: u8, b: u8| a == b;
                beginnings(&visible, pattern.as_bytes(), same, |_, length| found.push(length));
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
                let found = needles(&[secret]).find(&text, [secret.as_bytes()].into_iter());
                assert!(found.len() <= text.len() / TELLING_BYTES + 3, "{}", found.len());
                (STEPS.get(), text.len())
            };
            let ((small, _), (large, bytes)) = (steps(100_000), steps(200_000));
            // Two forms of the text, each searched four ways.
            assert!(large <= 8 * (bytes + secret.len()), "{unit}: {large} steps for {bytes}");
            assert!(large <= small * 5 / 2 + secret.len() * 8, "{unit}: {small}, {large}");
        }
    }
}
