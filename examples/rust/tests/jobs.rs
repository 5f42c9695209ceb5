//! The other half of an import, with the gateways that `contract.rs` describes. A test whose gateway
//! is missing is skipped.

use std::time::Duration;

use savepoint_gateway_example::jobs::{
    ResumeError, connect_jobs, get_job, resume_job, wait_until_running,
};
use savepoint_gateway_example::pb::ImportSavepointRequest;
use savepoint_gateway_example::pb::dli::{GetJobRequest, Job, JobState};
use savepoint_gateway_example::{connect, import_savepoint, tls_from_environment};

const LONG: Duration = Duration::from_secs(30);

/// The address of one of the gateways.
macro_rules! address {
    ($variable:literal) => {
        match std::env::var($variable) {
            Ok(address) => address,
            Err(_) => return eprintln!("skipped: {} is not set: no gateway to call", $variable),
        }
    };
}

fn request(job_id: i64) -> GetJobRequest {
    GetJobRequest { job_id, ..Default::default() }
}

#[tokio::test]
async fn a_job_is_resumed_from_the_imported_savepoint() {
    let address = address!("SAVEPOINT_DEMO_ADDRESS");
    let client = connect(&address, tls_from_environment().unwrap()).unwrap();
    let jobs = connect_jobs(&address, tls_from_environment().unwrap()).unwrap();
    let (job_id, path) = (fastrand::i64(1_000_000_000..), "obs://bucket-name/dir/savepoint/");
    let import =
        ImportSavepointRequest { job_id, savepoint_path: path.into(), ..Default::default() };
    import_savepoint(&client, import).await.unwrap();
    let imported = get_job(&jobs, request(job_id)).await.unwrap();
    assert_eq!((imported.job_id, &*imported.savepoint_path), (job_id, path));
    let running = resume_job(&jobs, request(job_id), LONG).await.unwrap();
    assert_eq!(running.state(), JobState::Running);
    // The simulated DLI tells here what the job was started from.
    assert_eq!(running.state_description, format!("started from {path}"));
}

#[tokio::test]
async fn a_job_that_cannot_start_is_an_error() {
    let address = address!("SAVEPOINT_GATEWAY_ADDRESS");
    let jobs = connect_jobs(&address, tls_from_environment().unwrap()).unwrap();
    let waited = wait_until_running(&jobs, request(500), &Job::default(), LONG).await;
    let Err(error @ ResumeError::JobFailed(_)) = waited else { panic!("{waited:?}") };
    assert!(error.to_string().contains("job 500 is job_submit_fail: 保存点不存在"), "{error}");
}

#[tokio::test]
async fn what_a_job_was_before_is_not_taken_for_its_start() {
    let address = address!("SAVEPOINT_GATEWAY_ADDRESS");
    let jobs = connect_jobs(&address, tls_from_environment().unwrap()).unwrap();
    let before = get_job(&jobs, request(500)).await.unwrap();
    let waited = wait_until_running(&jobs, request(500), &before, Duration::from_millis(700)).await;
    assert!(matches!(waited, Err(ResumeError::StillStarting(_))), "{waited:?}");
}

#[tokio::test]
async fn job_control_that_is_off_is_told_by_its_reason() {
    let address = address!("SAVEPOINT_GATEWAY_ADDRESS");
    let jobs = connect_jobs(&address, tls_from_environment().unwrap()).unwrap();
    let resumed = resume_job(&jobs, request(500), LONG).await;
    assert!(matches!(resumed, Err(ResumeError::JobControlDisabled(_))), "{resumed:?}");
}
