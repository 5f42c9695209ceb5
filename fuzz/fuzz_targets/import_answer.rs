//! Huawei's answer to an import: OK only if it says success, and else a status that keeps to its
//! bounds and betrays nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway_fuzz::{PROVIDERS, answer, check_error, check_request_id, says_success};

fuzz_target!(|data: &[u8]| {
    let Some(answer) = answer(data) else { return };
    match PROVIDERS.imported(&answer) {
        Ok(response) => {
            assert!(says_success(&answer, "is_success"));
            check_request_id(&response.request_id);
        }
        Err(error) => drop(check_error(error)),
    }
});
