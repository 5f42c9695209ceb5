//! Every RPC with a valid request, for the rules that hold for all of them.

use savepoint_gateway::pb::dli::dli_service_client::DliServiceClient;
use savepoint_gateway::pb::dli::{
    GetJobRequest, ResumeJobRequest, StopJobRequest, TriggerSavepointRequest,
};
use savepoint_gateway::pb::flink;
use savepoint_gateway::pb::flink::flink_service_client::FlinkServiceClient;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tonic::{Request, Status};

use super::gateway::Wire;
use super::{
    FLINK_JOB, Gateway, LONG, PROJECT_ID, create_request, get_request, import_request,
    list_request, watch_request,
};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rpc {
    Import,
    Get,
    Create,
    List,
    /// Up to its first message.
    Watch,
    Trigger,
    GetJob,
    Resume,
    Stop,
    FlinkTrigger,
    FlinkStop,
    FlinkGet,
    /// Up to its first message.
    FlinkWatch,
    FlinkGetJob,
    FlinkResume,
}

impl Rpc {
    pub(crate) const ALL: [Self; 15] = [
        Self::Import,
        Self::Get,
        Self::Create,
        Self::List,
        Self::Watch,
        Self::Trigger,
        Self::GetJob,
        Self::Resume,
        Self::Stop,
        Self::FlinkTrigger,
        Self::FlinkStop,
        Self::FlinkGet,
        Self::FlinkWatch,
        Self::FlinkGetJob,
        Self::FlinkResume,
    ];

    pub(crate) const OF_HUAWEI: [Self; 5] =
        [Self::Import, Self::Trigger, Self::GetJob, Self::Resume, Self::Stop];

    pub(crate) const OF_FLINK: [Self; 6] = [
        Self::FlinkTrigger,
        Self::FlinkStop,
        Self::FlinkGet,
        Self::FlinkWatch,
        Self::FlinkGetJob,
        Self::FlinkResume,
    ];

    /// Changes that a provider may make twice if it is asked twice.
    pub(crate) const CHANGES: [Self; 5] =
        [Self::Import, Self::Create, Self::Trigger, Self::Resume, Self::Stop];

    /// Changes with an id of the gateway's, so that a cluster makes them once.
    pub(crate) const CHANGES_OF_FLINK: [Self; 3] =
        [Self::FlinkTrigger, Self::FlinkStop, Self::FlinkResume];

    pub(crate) fn changes_something(self) -> bool {
        Self::CHANGES.contains(&self) || Self::CHANGES_OF_FLINK.contains(&self)
    }

    pub(crate) fn provider(self) -> &'static str {
        if Self::OF_HUAWEI.contains(&self) {
            "huawei-dli"
        } else if Self::OF_FLINK.contains(&self) {
            "apache-flink"
        } else {
            "alibaba-flink"
        }
    }

    /// The shape of `data` that holds this savepoint.
    pub(crate) fn data(self, savepoint: &str) -> String {
        if self == Self::List { format!("[{savepoint}]") } else { savepoint.to_owned() }
    }

    /// Calls with a client that has no timers of its own.
    pub(crate) async fn call(self, gateway: &Gateway) -> Result<(), Status> {
        self.call_within(None, &gateway.wire().await).await
    }

    /// Calls with this `grpc-timeout`.
    pub(crate) async fn call_within(
        self,
        timeout: Option<&str>,
        wire: &Wire,
    ) -> Result<(), Status> {
        fn request<T>(message: T, timeout: Option<&str>) -> Request<T> {
            let mut request = Request::new(message);
            if let Some(timeout) = timeout {
                request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            }
            request
        }
        let client = &mut SavepointServiceClient::new(wire.clone());
        let jobs = &mut DliServiceClient::new(wire.clone());
        let flinks = &mut FlinkServiceClient::new(wire.clone());
        let (flink_job, trigger_id) = (FLINK_JOB.to_owned(), "0".repeat(32));
        let (project_id, job_id) = (PROJECT_ID.to_owned(), 137_228);
        match self {
            Self::Import => {
                client.import_savepoint(request(import_request(), timeout)).await.map(drop)
            }
            Self::Get => client.get_savepoint(request(get_request(), timeout)).await.map(drop),
            Self::Create => {
                client.create_savepoint(request(create_request(), timeout)).await.map(drop)
            }
            Self::List => client.list_savepoints(request(list_request(), timeout)).await.map(drop),
            Self::Watch => {
                let watch = request(watch_request(), timeout);
                let mut stream = client.watch_savepoint(watch).await?.into_inner();
                let first = tokio::time::timeout(LONG, stream.message()).await.expect("in time");
                first.map(drop)
            }
            Self::Trigger => {
                let savepoint_path = import_request().savepoint_path;
                let trigger = TriggerSavepointRequest { project_id, job_id, savepoint_path };
                jobs.trigger_savepoint(request(trigger, timeout)).await.map(drop)
            }
            Self::GetJob => {
                let get = GetJobRequest { project_id, job_id };
                jobs.get_job(request(get, timeout)).await.map(drop)
            }
            Self::Resume => {
                let resume = ResumeJobRequest { project_id, job_id };
                jobs.resume_job(request(resume, timeout)).await.map(drop)
            }
            Self::Stop => {
                let stop = StopJobRequest { project_id, job_id, trigger_savepoint: true };
                jobs.stop_job(request(stop, timeout)).await.map(drop)
            }
            Self::FlinkTrigger => {
                let trigger =
                    flink::TriggerSavepointRequest { job_id: flink_job, ..Default::default() };
                flinks.trigger_savepoint(request(trigger, timeout)).await.map(drop)
            }
            Self::FlinkStop => {
                let stop =
                    flink::StopWithSavepointRequest { job_id: flink_job, ..Default::default() };
                flinks.stop_with_savepoint(request(stop, timeout)).await.map(drop)
            }
            Self::FlinkGet => {
                let get = flink::GetSavepointRequest {
                    job_id: flink_job,
                    trigger_id,
                    ..Default::default()
                };
                flinks.get_savepoint(request(get, timeout)).await.map(drop)
            }
            Self::FlinkWatch => {
                let watch = flink::WatchSavepointRequest {
                    job_id: flink_job,
                    trigger_id,
                    ..Default::default()
                };
                let watch = request(watch, timeout);
                let mut stream = flinks.watch_savepoint(watch).await?.into_inner();
                let first = tokio::time::timeout(LONG, stream.message()).await.expect("in time");
                first.map(drop)
            }
            Self::FlinkGetJob => {
                let get = flink::GetJobRequest { job_id: flink_job, ..Default::default() };
                flinks.get_job(request(get, timeout)).await.map(drop)
            }
            Self::FlinkResume => {
                let resume = flink::ResumeJobRequest {
                    jar_id: "counter.jar".into(),
                    restore: Some(flink::resume_job_request::Restore::SavepointPath("s".into())),
                    ..Default::default()
                };
                flinks.resume_job(request(resume, timeout)).await.map(drop)
            }
        }
    }
}
