//! The other half of an import: the job is started from its savepoint, and watched until it runs.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use tonic::transport::{Channel, ClientTlsConfig};

use crate::pb::dli::dli_service_client::DliServiceClient;
use crate::pb::dli::{GetJobRequest, Job, JobState, ResumeJobRequest};
use crate::{Backoff, DEADLINE, call, channel, details_of, read};

/// A client for jobs of DLI, which is cheap to clone.
pub type Jobs = DliServiceClient<Channel>;

/// Why a job does not run.
#[derive(Debug)]
pub enum ResumeError {
    /// The job was started, and does not run.
    JobFailed(Box<Job>),
    /// This gateway starts and stops no jobs: it runs without `--enable-job-control`.
    JobControlDisabled(Status),
    /// Time is up. The job as it was shown last.
    StillStarting(Box<Job>),
    /// A call has failed.
    Call(Status),
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JobFailed(job) => {
                write!(f, "job {} is {}: {}", job.job_id, job.provider_state, job.state_description)
            }
            Self::StillStarting(job) => {
                write!(f, "job {} is still {}", job.job_id, job.provider_state)
            }
            Self::JobControlDisabled(status) | Self::Call(status) => status.fmt(f),
        }
    }
}

impl Error for ResumeError {}

/// Connects as [`crate::connect`] does.
///
/// # Errors
/// If the address or the certificates are none.
pub fn connect_jobs(address: &str, tls: Option<ClientTlsConfig>) -> Result<Jobs, Box<dyn Error>> {
    Ok(Jobs::new(channel(address, tls)?))
}

/// Reads a job.
///
/// # Errors
/// The call's.
pub async fn get_job(jobs: &Jobs, request: GetJobRequest) -> Result<Job, Status> {
    let get = async |request| jobs.clone().get_job(request).await;
    Ok(read(request, DEADLINE, get).await?.job.unwrap_or_default())
}

/// Starts a job from its savepoint, and waits until it runs. The start is never repeated: if its
/// outcome is unknown, [`get_job`] tells the job's state.
///
/// # Errors
/// If it cannot be started, does not run, or does not do so in time.
pub async fn resume_job(
    jobs: &Jobs,
    request: GetJobRequest,
    limit: Duration,
) -> Result<Job, ResumeError> {
    let before = get_job(jobs, request.clone()).await.map_err(ResumeError::Call)?;
    let resume =
        ResumeJobRequest { project_id: request.project_id.clone(), job_id: request.job_id };
    let resumed = call(resume, DEADLINE, async |resume| jobs.clone().resume_job(resume).await);
    if let Err(status) = resumed.await {
        // The reason is a name that programs can compare. The text is for people.
        let details = details_of(&status);
        return Err(match details.error_info() {
            Some(info) if info.reason == "METHOD_DISABLED" => {
                ResumeError::JobControlDisabled(status)
            }
            _ => ResumeError::Call(status),
        });
    }
    wait_until_running(jobs, request, &before, limit).await
}

/// Waits for a start. `before` is the job before it, which may still be shown for a while.
///
/// # Errors
/// If it does not run, or not in time, or cannot be read.
pub async fn wait_until_running(
    jobs: &Jobs,
    request: GetJobRequest,
    before: &Job,
    limit: Duration,
) -> Result<Job, ResumeError> {
    let end = Instant::now() + limit;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let job = get_job(jobs, request.clone()).await.map_err(ResumeError::Call)?;
        match job.state() {
            _ if job == *before => {}
            JobState::Running => return Ok(job),
            JobState::SubmitFail | JobState::RunningException | JobState::ArrearageStopped => {
                return Err(ResumeError::JobFailed(Box::new(job)));
            }
            _ => {}
        }
        if !backoff.wait_before(end).await {
            return Err(ResumeError::StillStarting(Box::new(job)));
        }
    }
}
