//! Huawei's answers about a job: a description is OK only if it reports success and is of the job
//! that was asked for, with a state that is the provider's own and valid Timestamps. A change is OK
//! only if the one element of the list, or the one object, reports success. Else a status within
//! its limits that leaks nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway::pb::dli::GetJobResponse;
use savepoint_gateway_fuzz::{
    PROVIDERS, answer, check_error, check_request_id, check_time, element_says_success,
    says_success, value_of, within_bounds,
};

const JOB: i64 = 9_007_199_254_740_993;

fuzz_target!(|data: &[u8]| {
    // Seeds begin with a space, which is a description; then `!` is a list, and `"` an object.
    let [kind, rest @ ..] = data else { return };
    let Some(answer) = answer(rest) else { return };
    let kind = kind.wrapping_sub(b' ') % 3;
    if kind == 0 {
        match within_bounds(data.len(), || PROVIDERS.job(JOB, &answer)) {
            Ok(response) => {
                assert!(says_success(&answer, "is_success"));
                let detail = value_of(&answer, "job_detail");
                let told = detail.as_ref().and_then(|detail| detail.get("job_id")?.as_i64());
                assert!(told.is_none_or(|id| id == JOB));
                check_job(&response);
            }
            Err(error) => drop(check_error(error)),
        }
        return;
    }
    let has_list = kind == 1;
    match within_bounds(data.len(), || PROVIDERS.changed(has_list, &answer)) {
        Ok((_, request_id)) => {
            let says = if has_list { element_says_success } else { says_success };
            assert!(says(&answer, "is_success"));
            check_request_id(&request_id);
        }
        Err(error) => drop(check_error(error)),
    }
});

fn check_job(response: &GetJobResponse) {
    check_request_id(&response.request_id);
    let job = response.job.as_ref().expect("a job");
    assert_eq!(job.job_id, JOB);
    if job.state != 0 {
        let state = job.state().as_str_name().to_ascii_lowercase();
        assert_eq!(state.replace("job_state_", "job_"), job.provider_state);
    }
    for time in [job.create_time, job.start_time, job.update_time].into_iter().flatten() {
        check_time(time.seconds, time.nanos);
    }
}
