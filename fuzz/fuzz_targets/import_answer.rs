//! Huawei's response to an import: OK only if it reports success, else a status within its limits
//! that leaks nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway_fuzz::{
    PROVIDERS, answer, check_error, check_request_id, says_success, within_bounds,
};

fuzz_target!(|data: &[u8]| {
    let Some(answer) = answer(data) else { return };
    match within_bounds(data.len(), || PROVIDERS.imported(&answer)) {
        Ok(response) => {
            assert!(says_success(&answer, "is_success"));
            check_request_id(&response.request_id);
        }
        Err(error) => drop(check_error(error)),
    }
});
