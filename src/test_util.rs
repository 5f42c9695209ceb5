//! Internals for fuzz targets and benchmarks, only with the feature `internals`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::call::Call;
use crate::caller::{Caller, Peer};
use crate::clock::SystemClock;
use crate::credential::{Credential, Credentials};
use crate::options::Endpoint;
use crate::pb::dli::GetJobResponse;
use crate::pb::flink::{self, CompletedSavepoint, Job, RestoredState};
use crate::pb::{
    CreateSavepointRequest, CreateSavepointResponse, GetSavepointRequest, GetSavepointResponse,
    ImportSavepointRequest, ImportSavepointResponse, ListSavepointsRequest, ListSavepointsResponse,
    Savepoint,
};
use crate::providers::alibaba::{
    ALIBABA, Alibaba, CREATE_SAVEPOINT, Create, GET_SAVEPOINT, Get, LIST_SAVEPOINTS,
};
use crate::providers::flink::{FLINK, Flink};
use crate::providers::huawei::{
    Change, GET_JOB, GetJob, HUAWEI, Huawei, IMPORT_SAVEPOINT, Import, Project, RESUME_JOB,
    TRIGGER_SAVEPOINT,
};
use crate::rpc::operation::{Operation, Provider};
use crate::rpc::{Deadline, Error};
use crate::secret::Secret;
use crate::server::Record;
use crate::service::OPERATIONS;
use crate::telemetry::{LevelFilter, LogFormat, LogSink, Telemetry};
use crate::tls::Trust;
use crate::transport::{ClientOptions, Pool, Response};
use crate::upstream::{Backoff, Limits, Upstream, WatchLimits, Watches};

pub use crate::providers::flink::ID as FLINK_ID;
pub use crate::server::test_util::{
    decoded_text, guarded_frames, media_type_parameter, single_message,
};

pub const SECRETS: [&str; 3] =
    ["EXAMPLEAK0123456", "exampleSecretKey0123456789abcdef", "exampleToken0123456789"];

#[derive(Debug)]
pub struct Providers {
    huawei: &'static Huawei,
    alibaba: &'static Alibaba,
    flink: Flink,
    upstreams: [Upstream; 2],
    credential: Credential,
    import: Import<'static>,
    get: Get<'static>,
    create: Create<'static>,
}

impl Providers {
    /// Providers with this project and workspace, at endpoints that are never called.
    ///
    /// # Panics
    /// If a constant here is invalid.
    #[expect(clippy::expect_used, reason = "a target that cannot begin has nothing else to say")]
    pub fn new(project_id: &str, workspace: &str) -> Self {
        let credential = || {
            let [id, secret, token] = SECRETS;
            Credential::new(id, Secret::new(secret), Some(Secret::new(token))).expect("a key")
        };
        let sink = LogSink::new(std::io::sink(), LogFormat::Json, LevelFilter::OFF).expect("a log");
        let upstream = |provider: &'static Provider, endpoint: &str| {
            let options = ClientOptions {
                connect_timeout: Duration::from_secs(1),
                max_idle: 1,
                trust: Trust::nothing().expect("an empty store"),
                proxy: None,
            };
            let telemetry = Telemetry::new(sink.clone(), OPERATIONS);
            Upstream {
                provider,
                endpoint: Endpoint::parse(endpoint, false).expect("an endpoint"),
                credentials: Credentials::fixed(credential()),
                pool: Pool::new(&options),
                limits: Arc::new(Limits::new(1, Backoff::default())),
                watches: Arc::new(Watches::new(
                    WatchLimits::default(),
                    Duration::from_secs(1),
                    &telemetry,
                )),
                clock: Arc::new(SystemClock),
                telemetry,
            }
        };
        let upstreams = [
            upstream(&HUAWEI, "https://huawei.example"),
            upstream(&ALIBABA, "https://alibaba.example"),
        ];
        let [huawei, alibaba] = upstreams.clone();
        // Leaked, because the REST calls borrow them.
        let huawei: &Huawei =
            Box::leak(Box::new(Huawei::new(huawei, Project::Id(project_id.into()))));
        let alibaba: &Alibaba =
            Box::leak(Box::new(Alibaba::new(alibaba, Some(workspace.to_owned()))));
        let import: &ImportSavepointRequest = Box::leak(Box::new(ImportSavepointRequest {
            job_id: 1,
            savepoint_path: "p".to_owned(),
            ..Default::default()
        }));
        let get: &GetSavepointRequest = Box::leak(Box::new(GetSavepointRequest {
            namespace: "n".to_owned(),
            savepoint_id: "s".to_owned(),
            ..Default::default()
        }));
        let create: &CreateSavepointRequest = Box::leak(Box::new(CreateSavepointRequest {
            namespace: "n".to_owned(),
            deployment_id: "d".to_owned(),
            ..Default::default()
        }));
        Self {
            import: huawei.import_call(import).expect("a valid request"),
            get: alibaba.get_call(get).expect("a valid request"),
            create: alibaba.create_call(create).expect("a valid request"),
            huawei,
            alibaba,
            flink: Flink::of(upstream(&FLINK, "https://flink.example")),
            upstreams,
            credential: credential(),
        }
    }

    pub fn imported(&self, response: &Response) -> Result<ImportSavepointResponse, Error> {
        self.upstreams[0].read(&IMPORT_SAVEPOINT, &self.import, response, &self.credential)
    }

    /// What is told of this job.
    pub fn job(&self, job_id: i64, response: &Response) -> Result<GetJobResponse, Error> {
        let get = GetJob::new(self.huawei, "p".into(), job_id);
        self.upstreams[0].read(&GET_JOB, &get, response, &self.credential)
    }

    /// The message and the request id of a trigger, or of a change with a list of results.
    pub fn changed(&self, has_list: bool, response: &Response) -> Result<(String, String), Error> {
        let operation = if has_list { &RESUME_JOB } else { &TRIGGER_SAVEPOINT };
        let change = Change::read_only(self.huawei, &operation.rest[0], has_list);
        self.upstreams[0].read(operation, &change, response, &self.credential)
    }

    pub fn got(&self, response: &Response) -> Result<GetSavepointResponse, Error> {
        self.upstreams[1].read(&GET_SAVEPOINT, &self.get, response, &self.credential)
    }

    pub fn created(&self, response: &Response) -> Result<CreateSavepointResponse, Error> {
        self.upstreams[1].read(&CREATE_SAVEPOINT, &self.create, response, &self.credential)
    }

    /// Reads the answer to this request, because the page decides about the next one.
    pub fn listed(
        &self,
        request: &ListSavepointsRequest,
        response: &Response,
    ) -> Result<ListSavepointsResponse, Error> {
        let list = self.alibaba.list_call(request)?;
        self.upstreams[1].read(&LIST_SAVEPOINTS, &list, response, &self.credential)
    }

    pub fn flink_savepoint(&self, response: &Response) -> Result<Savepoint, Error> {
        self.flink.read_savepoint(response, &self.credential)
    }

    pub fn flink_job(&self, response: &Response) -> Result<Job, Error> {
        self.flink.read_job(response, &self.credential)
    }

    pub fn flink_checkpoints(
        &self,
        response: &Response,
    ) -> Result<(Option<RestoredState>, Option<CompletedSavepoint>), Error> {
        self.flink.read_checkpoints(response, &self.credential)
    }

    /// Whether Flink accepted what the gateway asked it to begin.
    pub fn flink_begun(&self, response: &Response) -> Result<(), Error> {
        self.flink.read_begun(response, &self.credential)
    }

    pub fn check_import(&self, request: &ImportSavepointRequest) -> Result<(), Error> {
        self.huawei.import_call(request).map(drop)
    }

    pub fn check_get(&self, request: &GetSavepointRequest) -> Result<(), Error> {
        self.alibaba.get_call(request).map(drop)
    }

    pub fn check_create(&self, request: &CreateSavepointRequest) -> Result<(), Error> {
        self.alibaba.create_call(request).map(drop)
    }

    pub fn check_list(&self, request: &ListSavepointsRequest) -> Result<(), Error> {
        self.alibaba.list_call(request).map(drop)
    }

    /// The request that is sent to Huawei.
    pub fn import(&self, request: &ImportSavepointRequest) -> Result<Request<Bytes>, Error> {
        self.upstreams[0].request(&self.huawei.import_call(request)?, &self.credential)
    }

    /// The request that is sent to Alibaba.
    pub fn get(&self, request: &GetSavepointRequest) -> Result<Request<Bytes>, Error> {
        self.upstreams[1].request(&self.alibaba.get_call(request)?, &self.credential)
    }

    /// The request that is sent to a cluster.
    pub fn flink_get(&self, request: &flink::GetSavepointRequest) -> Result<Request<Bytes>, Error> {
        self.flink.request(request, &self.credential)
    }

    /// The request that is sent to Alibaba.
    pub fn create(&self, request: &CreateSavepointRequest) -> Result<Request<Bytes>, Error> {
        self.upstreams[1].request(&self.alibaba.create_call(request)?, &self.credential)
    }

    /// The request that is sent to Alibaba.
    pub fn list(&self, request: &ListSavepointsRequest) -> Result<Request<Bytes>, Error> {
        self.upstreams[1].request(&self.alibaba.list_call(request)?, &self.credential)
    }
}

/// The wait that a provider asks for.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    crate::upstream::retry_after(headers, now)
}

/// The records of calls, with all their costs on the worker thread, except copying the line to the
/// log's queue, because the log's reader is closed.
#[derive(Debug)]
pub struct Records {
    telemetry: Telemetry,
}

impl Records {
    /// Records for a JSON log without a reader.
    ///
    /// # Panics
    /// If the log cannot be created.
    #[expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing else to say")]
    pub fn new() -> Self {
        let log = LogSink::new(Gone, LogFormat::Json, LevelFilter::INFO).expect("a log");
        log.write(b"\n");
        log.flush(Duration::from_secs(60));
        Self { telemetry: Telemetry::new(log, OPERATIONS) }
    }

    /// Records a call that ends at once.
    pub fn record(&self, operation: &'static Operation, status: u16, ended: Result<&str, &Error>) {
        let deadline = Deadline::after(Duration::from_secs(10));
        let peer =
            Peer { address: Some(([127, 0, 0, 1], 50051).into()), caller: Caller::default() };
        let stop = CancellationToken::new();
        let call = Call::new(Some(operation), deadline, stop, peer, None);
        let mut record = Record::begin(self.telemetry.clone(), call.clone());
        call.begin_attempt();
        call.note_http_status(status);
        record.end(match ended {
            Ok(request_id) => {
                call.note_success(Some(request_id.to_owned()));
                Code::Ok
            }
            Err(error) => {
                call.note_failure(error);
                error.reason().row().code
            }
        });
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
