//! A text of a provider, repeated to 2 and 4 KiB as a code, a message, an id and the body itself:
//! twice the text takes at most about twice the memory and work, and leaks nothing.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use savepoint_gateway::transport::Response;
use savepoint_gateway_fuzz::{PROVIDERS, check_error, within_bounds};

const SIZE: usize = 2 * 1024;

fn failure(body: Vec<u8>) -> Response {
    Response { status: 400, headers: HeaderMap::new(), body: body.into(), whole: true }
}

fuzz_target!(|text: &str| {
    let Some(first_byte) = text.bytes().next() else { return };
    for size in [SIZE, 2 * SIZE] {
        let text = text.repeat(size / text.len() + 1);
        let body = serde_json::json!({
            "error_code": text, "error_msg": text, "request_id": text,
            "Code": text, "Message": text, "requestId": text,
        });
        for answer in [failure(body.to_string().into_bytes()), failure(text.clone().into_bytes())] {
            let read = || match first_byte % 2 {
                0 => PROVIDERS.imported(&answer).map(drop),
                _ => PROVIDERS.got(&answer).map(drop),
            };
            check_error(within_bounds(answer.body.len(), read).expect_err("a failure"));
        }
    }
});
