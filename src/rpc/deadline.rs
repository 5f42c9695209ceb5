//! Deadlines of calls.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// The time by which a call is answered.
///
/// A caller's `grpc-timeout` is honoured up to the configured maximum. The gateway gives up
/// slightly earlier, so that its status, which reports the outcome, reaches the caller before the
/// caller itself gives up.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

/// The part of a caller's timeout reserved for the response: 5 %, at most 20 ms.
const MARGIN_SHARE: u32 = 20;
const MARGIN_CAP: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For calls without a timeout.
    pub default: Duration,
    /// The maximum.
    pub max: Duration,
}

impl Deadline {
    /// The deadline of a call that starts now with these headers.
    pub fn from_headers(headers: &HeaderMap, timeouts: Timeouts) -> Self {
        let timeout = match grpc_timeout(headers) {
            Some(asked) => {
                let margin = (asked / MARGIN_SHARE).min(MARGIN_CAP);
                (asked - margin).min(timeouts.max)
            }
            None => timeouts.default.min(timeouts.max),
        };
        Self::after(timeout)
    }

    /// A deadline after this time.
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now() + timeout)
    }

    pub(crate) fn instant(&self) -> Instant {
        self.0
    }

    /// The time left; zero if the deadline has passed.
    pub(crate) fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// The caller's timeout, if it is valid.
///
/// Format: 1 to 8 digits and a unit of `H`, `M`, `S`, `m`, `u` or `n`. Any other value counts as
/// absent, so that the default applies.
///
/// # Reference
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            http::HeaderValue::from_str(value).expect("a header value"),
        )])
    }

    #[test]
    fn grpc_timeout_is_parsed_as_specified() {
        for (text, want) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("0m", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789S", None),
            ("", None),
            ("S", None),
            ("5", None),
            ("+5S", None),
            ("-5S", None),
            ("1.5S", None),
            (" 5S", None),
            ("5s", None),
            ("abc", None),
        ] {
            assert_eq!(grpc_timeout(&headers(text)), want, "{text:?}");
        }
        assert_eq!(grpc_timeout(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_keeps_a_margin_and_the_maximum() {
        let timeouts = Timeouts { default: Duration::from_secs(30), max: Duration::from_secs(60) };
        for (header, want) in [
            (None, Duration::from_secs(30)),
            (Some("100m"), Duration::from_millis(95)),
            (Some("10S"), Duration::from_millis(9_980)),
            (Some("99999999H"), Duration::from_secs(60)),
            (Some("nonsense"), Duration::from_secs(30)),
            (Some("0m"), Duration::ZERO),
        ] {
            let map = header.map(headers).unwrap_or_default();
            let deadline = Deadline::from_headers(&map, timeouts);
            assert_eq!(deadline.remaining(), want, "{header:?}");
            assert_eq!(deadline.has_passed(), want.is_zero(), "{header:?}");
        }
    }
}
