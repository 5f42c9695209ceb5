//! Waits: none, or above zero and at most a day. A written wait can be read; times in the past mean
//! no wait.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use savepoint_gateway::test_util::retry_after;

const DAY: u64 = 24 * 60 * 60;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    seconds: u32,
    milliseconds: Option<&'a [u8]>,
    standard: Option<&'a [u8]>,
}

fn headers(of: &[(&'static str, Option<&[u8]>)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in of {
        if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
            headers.insert(*name, value);
        }
    }
    headers
}

fuzz_target!(|input: Input<'_>| {
    let now = Timestamp::from_second(1_767_323_045).expect("a time");
    let given = [("x-acs-retry-after", input.milliseconds), ("retry-after", input.standard)];
    if let Some(wait) = retry_after(&headers(&given), now) {
        assert!(!wait.is_zero() && wait <= Duration::from_secs(DAY), "{wait:?}");
    }

    let seconds = u64::from(input.seconds) % (2 * DAY);
    let read = |name, text: &str| retry_after(&headers(&[(name, Some(text.as_bytes()))]), now);
    let want = |wait: Duration| {
        Some(wait).filter(|wait| !wait.is_zero() && *wait <= Duration::from_secs(DAY))
    };
    let plain = seconds.to_string();
    assert_eq!(read("retry-after", &plain), want(Duration::from_secs(seconds)));
    assert_eq!(read("x-acs-retry-after", &plain), want(Duration::from_millis(seconds)));
    let apart = SignedDuration::from_secs(i64::try_from(seconds).expect("two days"));
    for (then, wait) in [(now + apart, Duration::from_secs(seconds)), (now - apart, Duration::ZERO)]
    {
        let date = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert_eq!(read("retry-after", &date), want(wait), "{date}");
    }
});
