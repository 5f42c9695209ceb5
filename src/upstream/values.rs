//! Values of a provider's response.

use prost_types::Timestamp;

use super::ProviderText;
use crate::json::Integer;
use crate::rpc::operation::Provider;

/// What a name of the provider means; none for one that is not known.
pub(crate) fn named<T: Copy>(names: &[(&str, T)], text: &ProviderText<'_>) -> Option<T> {
    names.iter().find(|(name, _)| text.is(name)).map(|(_, value)| *value)
}

/// Epoch numbers from here on are milliseconds: as seconds they would be after the year 5138. The
/// documentation names no unit; its examples are seconds.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// The range of `google.protobuf.Timestamp`: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Converts an epoch number; none, and logged, if it is outside the range of Timestamp.
pub(crate) fn timestamp(
    provider: &'static Provider,
    field: &'static str,
    number: Integer,
) -> Option<Timestamp> {
    let (seconds, millis) = match number {
        Integer::Absent => return None,
        // Out of range like any other such number.
        Integer::Unusable => (i64::MAX, 0),
        Integer::Value(n) if n < FIRST_MILLISECONDS => (n, 0),
        Integer::Value(n) => (n / 1000, n % 1000),
    };
    if !SECONDS.contains(&seconds) {
        tracing::warn!(%provider, field, "number outside the range of Timestamp, field omitted");
        return None;
    }
    let nanos = i32::try_from(millis * 1_000_000).unwrap_or_default();
    Some(Timestamp { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::alibaba::ALIBABA;

    #[test]
    fn the_unit_of_epoch_numbers_depends_on_their_size_and_they_never_wrap() {
        use Integer::{Absent, Unusable, Value};
        for (number, want) in [
            (Value(1_659_066_711), Some((1_659_066_711, 0))),
            (Value(1_659_066_711_123), Some((1_659_066_711, 123_000_000))),
            (Value(99_999_999_999), Some((99_999_999_999, 0))),
            (Value(100_000_000_000), Some((100_000_000, 0))),
            (Value(0), Some((0, 0))),
            (Value(-1), Some((-1, 0))),
            (Value(-62_135_596_800), Some((-62_135_596_800, 0))),
            (Value(-62_135_596_801), None),
            (Value(253_402_300_799_999), Some((253_402_300_799, 999_000_000))),
            (Value(253_402_300_800_000), None),
            (Value(i64::MIN), None),
            (Value(i64::MAX), None),
            (Unusable, None),
            (Absent, None),
        ] {
            let got = timestamp(&ALIBABA, "createdAt", number).map(|t| (t.seconds, t.nanos));
            assert_eq!(got, want, "{number:?}");
        }
    }
}
