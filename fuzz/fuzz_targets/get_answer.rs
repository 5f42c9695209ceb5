//! Alibaba's response to a get: OK only if it reports success, with valid Timestamps, else a status within
//! its limits that leaks nothing. The memory and work that it takes are linear in its size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway_fuzz::{
    PROVIDERS, answer, check_error, check_request_id, check_savepoint, says_success, within_bounds,
};

fuzz_target!(|data: &[u8]| {
    let Some(answer) = answer(data) else { return };
    match within_bounds(data.len(), || PROVIDERS.got(&answer)) {
        Ok(response) => {
            assert!(says_success(&answer, "success"));
            check_request_id(&response.request_id);
            check_savepoint(&response.savepoint.expect("a savepoint"));
        }
        Err(error) => drop(check_error(error)),
    }
});
