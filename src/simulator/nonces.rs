//! Nonces that were used, for as long as the check of the date accepts their requests.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// How many nonces are kept at least before old ones are looked for.
const FEW: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Nonces {
    /// With the dates of their requests.
    used: HashMap<String, Timestamp>,
    /// At this number old ones are forgotten; twice what was left, so that each nonce costs the same.
    full: usize,
}

impl Nonces {
    /// Notes a nonce; false if it was used before. Requests are valid for this time before and after
    /// their date.
    pub(super) fn is_new(
        &mut self,
        nonce: &str,
        date: Timestamp,
        now: Timestamp,
        valid: SignedDuration,
    ) -> bool {
        if self.used.len() >= self.full.max(FEW) {
            self.used.retain(|_, date| now.duration_since(*date) <= valid);
            self.full = self.used.len() * 2;
        }
        self.used.insert(nonce.to_owned(), date).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: SignedDuration = SignedDuration::from_secs(900);

    #[test]
    fn a_nonce_is_kept_as_long_as_its_date_is_accepted_and_not_much_longer() {
        let (mut nonces, mut now) = (Nonces::default(), Timestamp::UNIX_EPOCH);
        let mut most = 0;
        // 10 a second for a day, with dates as far in the future as is accepted.
        for number in 0..864_000_u32 {
            now = now.checked_add(SignedDuration::from_millis(100)).unwrap();
            let date = now.checked_add(VALID).unwrap();
            assert!(nonces.is_new(&number.to_string(), date, now, VALID));
            most = most.max(nonces.used.len());
        }
        assert!(!nonces.is_new("863999", now, now, VALID));
        assert!(!nonces.is_new(&(864_000 - 10 * 1800).to_string(), now, now, VALID));
        // Half an hour, twice.
        assert!(most <= 2 * 10 * 1800 + FEW, "{most}");
    }
}
