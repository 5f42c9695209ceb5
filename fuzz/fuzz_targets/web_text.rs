//! Base64 of gRPC-Web. Valid input decodes to what was encoded, at any chunk size. Invalid input
//! gives the same result at every chunk size. Output is never larger than input.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use savepoint_gateway::test_util::decoded_text;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    anything: &'a [u8],
    message: &'a [u8],
    encoded_by: u8,
    arrives_by: u8,
}

/// A simple encoder, by RFC 4648, section 4.
fn encode(piece: &[u8], text: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in piece.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= group.len() { ALPHABET[index] } else { b'=' });
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let Input { anything, message, encoded_by, arrives_by } = input;
    let sizes = [1, usize::from(arrives_by).max(1), usize::MAX];
    let mut text = Vec::new();
    for piece in message.chunks(usize::from(encoded_by).max(1)) {
        encode(piece, &mut text);
    }
    for size in sizes {
        assert_eq!(decoded_text(&text, size).as_deref(), Some(message), "by {size}");
    }
    let whole = decoded_text(anything, usize::MAX);
    if let Some(whole) = &whole {
        assert!(whole.len() <= anything.len() / 4 * 3, "{} of {}", whole.len(), anything.len());
    }
    for size in sizes {
        assert_eq!(decoded_text(anything, size), whole, "by {size}");
    }
});
