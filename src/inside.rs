//! What fuzz targets and benchmarks reach of the library's inside. Only builds with the feature
//! `inside` have it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::alibaba::Alibaba;
use crate::call::Call;
use crate::clock::SystemClock;
use crate::credential::{Credential, Credentials};
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::huawei::{Huawei, Project};
use crate::operation::Operation;
use crate::pb::{
    GetSavepointRequest, GetSavepointResponse, ImportSavepointRequest, ImportSavepointResponse,
};
use crate::secret::Secret;
use crate::telemetry::{LogFormat, LogLevel, LogSink, Method, Record, Telemetry};
use crate::upstream::{Answer, Backoff, ClientOptions, Limits, Pool, Trust, Upstream};

pub use crate::server::inside::{frames, unary};

/// The parts of the credential that everything here is signed with.
pub const SECRETS: [&str; 3] =
    ["EXAMPLEAK0123456", "exampleSecretKey0123456789abcdef", "exampleToken0123456789"];

/// Both providers, as a worker has them.
#[derive(Debug)]
pub struct Providers {
    huawei: Huawei,
    alibaba: Alibaba,
    credential: Credential,
}

impl Providers {
    /// Providers of a project and a workspace, at endpoints that are never called.
    ///
    /// # Panics
    /// When what is written here is wrong.
    #[expect(clippy::expect_used, reason = "a target that cannot begin has nothing else to say")]
    pub fn new(project_id: &str, workspace: &str) -> Self {
        let credential = || {
            let [id, secret, token] = SECRETS;
            Credential::new(id, Secret::new(secret), Some(Secret::new(token))).expect("a key")
        };
        let sink = LogSink::new(std::io::sink(), LogFormat::Json, LogLevel::Off).expect("a log");
        let upstream = |endpoint: &str| {
            let options = ClientOptions {
                connect_timeout: Duration::from_secs(1),
                max_idle: 1,
                trust: Trust::nothing().expect("an empty store"),
                proxy: None,
            };
            Upstream::new(
                Pool::new(&options).expect("a pool"),
                Endpoint::parse(endpoint, false).expect("an endpoint"),
                Arc::new(Limits::new(1, Backoff::default())),
                Arc::new(SystemClock),
                Telemetry::new(sink.clone()),
            )
        };
        Self {
            huawei: Huawei::new(
                upstream("https://huawei.example"),
                Credentials::fixed(credential()),
                Project::Id(project_id.into()),
            ),
            alibaba: Alibaba::new(
                upstream("https://alibaba.example"),
                Credentials::fixed(credential()),
                Some(workspace.to_owned()),
            ),
            credential: credential(),
        }
    }

    /// Reads Huawei's answer to an import.
    pub fn imported(&self, answer: &Answer) -> Result<ImportSavepointResponse, Error> {
        self.huawei.read(answer, &self.credential)
    }

    /// Reads Alibaba's answer to a get.
    pub fn got(&self, answer: &Answer) -> Result<GetSavepointResponse, Error> {
        self.alibaba.read(answer, &self.credential)
    }

    /// Checks a request to import, as it is done before anything is sent.
    pub fn check_import(&self, request: &ImportSavepointRequest) -> Result<(), Error> {
        self.huawei.plan(request).map(drop)
    }

    /// Checks a request to get, as it is done before anything is sent.
    pub fn check_get(&self, request: &GetSavepointRequest) -> Result<(), Error> {
        self.alibaba.plan(request).map(drop)
    }

    /// What is sent to Huawei.
    pub fn import(&self, request: &ImportSavepointRequest) -> Result<Request<Bytes>, Error> {
        self.huawei.signed(&self.huawei.plan(request)?, &self.credential)
    }

    /// What is sent to Alibaba.
    pub fn get(&self, request: &GetSavepointRequest) -> Result<Request<Bytes>, Error> {
        self.alibaba.signed(&self.alibaba.plan(request)?, &self.credential)
    }
}

/// The wait that a provider asks for.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    crate::fault::retry_after(headers, now)
}

/// The records of calls, with everything that a call's end costs its worker but the copy of
/// the line into the log's queue: the log's reader is gone. So no other thread has work to do.
#[derive(Debug)]
pub struct Records {
    telemetry: Telemetry,
}

impl Records {
    /// Records into a log of JSON lines that nobody reads.
    ///
    /// # Panics
    /// When the log cannot be made.
    #[expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing else to say")]
    pub fn new() -> Self {
        let log = LogSink::new(Gone, LogFormat::Json, LogLevel::Info).expect("a log");
        log.write(b"\n");
        log.flush(Duration::from_secs(60));
        Self { telemetry: Telemetry::new(log) }
    }

    /// A call from its beginning to its log line and metrics, with nothing between.
    pub fn record(&self, operation: Operation, status: u16, ended: Result<&str, &Error>) {
        let method = Method::Savepoint(operation);
        let deadline = Deadline::after(Duration::from_secs(10));
        let peer = ([127, 0, 0, 1], 50051).into();
        let call = Call::new(deadline, CancellationToken::new(), Some(peer), None);
        let mut record = Record::begin(self.telemetry.clone(), method, call.clone());
        call.begin_attempt();
        call.note_http_status(status);
        record.end(match ended {
            Ok(request_id) => {
                call.note_success(request_id);
                Code::Ok
            }
            Err(error) => {
                call.note_failure(error);
                error.failure().row().code
            }
        });
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

/// A pipe whose reader is gone.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
