//! The guard of HTTP/2 frames: it passes on exactly the bytes after the preface, in chunks of any
//! size, and closes connections that exceed a simple count of control frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway::test_util::guarded_frames;

const BURST: u32 = 1000;
const PER_CALL: u32 = 8;
/// Enough for a burst of frames and as many of another kind.
const MOST_BYTES: usize = 20_000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Counts the frames in these bytes by kind (RFC 9113, section 4.1).
fn is_flood(mut bytes: &[u8]) -> bool {
    let mut allowance = BURST;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        match kind {
            0 | 9 => {}
            1 => allowance = (allowance + PER_CALL).min(BURST),
            _ if allowance == 0 => return true,
            _ => allowance -= 1,
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    false
}

fuzz_target!(|data: &[u8]| {
    let [piece, times, unit @ ..] = data else { return };
    // Repeats frames, because a fuzzer would need long to write a flood.
    let mut sent = unit.repeat(usize::from(*times).max(1) * 8);
    sent.truncate(MOST_BYTES);
    // Time is paused, so that the allowance is not refilled.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let flood = is_flood(&sent);
    for piece in [usize::from(*piece) * 7 + 1, 1 << 20] {
        match runtime.block_on(guarded_frames(&sent, piece)) {
            Ok(passed) => {
                assert!(!flood, "a flood is let through in pieces of {piece}");
                let behind = passed.strip_prefix(PREFACE).expect("the preface");
                assert!(behind == sent, "{} of {} bytes", behind.len(), sent.len());
            }
            Err(error) => assert!(flood, "in pieces of {piece}: {error}"),
        }
    }
});
