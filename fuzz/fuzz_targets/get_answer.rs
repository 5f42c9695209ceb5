//! Alibaba's response to a get: OK only if it reports success, with valid Timestamps, else a status
//! within its limits that leaks nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway_fuzz::{PROVIDERS, answer, check_error, check_request_id, says_success};

fuzz_target!(|data: &[u8]| {
    let Some(answer) = answer(data) else { return };
    match PROVIDERS.got(&answer) {
        Ok(response) => {
            assert!(says_success(&answer, "success"));
            check_request_id(&response.request_id);
            let savepoint = response.savepoint.expect("a savepoint");
            let status = savepoint.status.clone().unwrap_or_default();
            if status.state != 0 {
                let state = status.state().as_str_name();
                assert_eq!(state, format!("SAVEPOINT_STATE_{}", status.provider_state));
            }
            if savepoint.origin != 0 {
                let origin = savepoint.origin().as_str_name();
                assert_eq!(origin, format!("SAVEPOINT_ORIGIN_{}", savepoint.provider_origin));
            }
            let failed = status.failure.and_then(|failure| failure.fail_time);
            for time in [savepoint.create_time, savepoint.update_time, failed].into_iter().flatten()
            {
                assert!((-62_135_596_800..=253_402_300_799).contains(&time.seconds), "{time:?}");
                assert!((0..1_000_000_000).contains(&time.nanos), "{time:?}");
            }
        }
        Err(error) => drop(check_error(error)),
    }
});
