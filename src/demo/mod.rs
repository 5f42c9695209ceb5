//! The demo: calls on simulators, step by step.

mod json;
mod show;
mod traffic;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tonic::Status;
use tonic_types::StatusExt;

use crate::clock::SystemClock;
use crate::gateway::{Config, Gateway, GatewayOptions, Providers, StartError};
use crate::healthcheck;
use crate::options::{ConfigError, Problems, environment};
use crate::pb::dli::dli_service_client::DliServiceClient;
use crate::pb::dli::{GetJobRequest, JobState, ResumeJobRequest};
use crate::pb::savepoint_service_client::SavepointServiceClient;
use crate::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, WatchSavepointRequest,
};
use crate::service::OPERATIONS;
use crate::simulator::{Api, EXAMPLE_ID, EXAMPLE_SECRET, PROJECT_ID, Simulator, WORKSPACE};
use crate::telemetry::{LogConfig, LogOptions, LogSink, Telemetry, install};
use json::Messages;
use show::Show;

/// The options of `demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Exit after the calls; without --listen the gateway then uses a free port
    #[arg(long)]
    once: bool,
    /// Keep making this many calls a second, successful and failing ones, to fill dashboards
    #[arg(long, value_name = "COUNT", conflicts_with = "once", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: Option<u32>,
    /// Serve only the simulators, on fixed ports with fixed keys, and print how to use them
    #[arg(long, conflicts_with_all = ["once", "rate"])]
    simulators: bool,
    /// Show the headers of REST requests, too
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    gateway: GatewayOptions,
    #[command(flatten)]
    log: LogOptions,
}

impl DemoOptions {
    fn config(&self, providers: Providers) -> Result<(Config, LogConfig), ConfigError> {
        let mut problems = Problems::new(&environment);
        let mut config = self.gateway.config(&mut problems, providers, self.once);
        // Simulated jobs cost nothing.
        config.job_control = true;
        let log = self.log.config(&mut problems);
        problems.finish((config, log))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gateway did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A simulator or the log did not start, or standard output is closed.
    #[error("the demo cannot run")]
    Io(#[from] io::Error),
    #[error("the gateway cannot be reached")]
    Connect(#[from] tonic::transport::Error),
    /// A call did not end as expected.
    #[error("{0}")]
    Unexpected(String),
}

impl DemoError {
    /// 2 for invalid options, else 1.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Config(_)) { 2 } else { 1 }
    }
}

/// Runs the demo.
///
/// # Errors
/// If it cannot run, or a call does not end as expected.
pub async fn run(options: &DemoOptions) -> Result<(), DemoError> {
    if options.simulators {
        return serve_simulators(options.verbose).await;
    }
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start(Api::Huawei, clock.clone()).await?;
    let alibaba = Simulator::start(Api::Alibaba, clock.clone()).await?;
    let flink = Simulator::start(Api::Flink, clock.clone()).await?;
    let providers = Providers::from(huawei.huawei_setup()?)
        .or(Providers::from(alibaba.alibaba_setup()?))
        .or(Providers::from(flink.flink_setup("local")?));
    let (config, log) = options.config(providers)?;
    let sink = LogSink::new(io::stderr(), log.format, log.level)?;
    install(&sink).map_err(io::Error::other)?;

    let telemetry = Telemetry::new(sink.clone(), OPERATIONS);
    let server = Gateway::bind(config, telemetry, clock).await?;
    let (address, admin) = (server.address().clone(), server.admin_address().clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = server.run(async {
        let _ = stopped.await;
    });
    let showing = async {
        let channel = healthcheck::connect(&address).await?;
        let jobs = DliServiceClient::new(channel.clone());
        let client = SavepointServiceClient::new(channel.clone());
        let mut demo = Demo {
            client,
            jobs,
            messages: Messages::new().map_err(io::Error::other)?,
            show: Show::new(options.verbose),
            huawei: &huawei,
            alibaba: &alibaba,
        };
        demo.show.title("savepoint-gateway demo: no provider account, everything on loopback");
        demo.show.item("gateway", &format!("{address}; metrics and probes: {admin}"));
        demo.import().await?;
        demo.resume().await?;
        demo.get().await?;
        demo.create_and_watch().await?;
        demo.fail().await?;
        sink.flush(Duration::from_secs(1));
        let Demo { mut show, .. } = demo;
        if options.once {
            return Ok(());
        }
        show.title("The gateway keeps serving; Ctrl-C stops it. Four things to try:");
        show.line(&format!("grpcurl -plaintext {address} describe savepoint.v1.SavepointService"));
        show.line(&format!(
            r#"grpcurl -plaintext -d '{{"namespace":"ns","savepoint_id":"simulate-throttled"}}' {address} savepoint.v1.SavepointService/GetSavepoint"#
        ));
        show.line(&format!(
            r#"grpcurl -plaintext -d '{{"job_id":"{FLINK_JOB}"}}' {address} savepoint.flink.v1.FlinkService/GetJob"#
        ));
        show.line(&format!("curl http://{admin}/metrics"));
        if let Some(rate) = options.rate {
            show.line(&format!("making {rate} calls a second on average"));
        }
        show.print()?;
        match options.rate {
            Some(rate) => tokio::select! {
                () = traffic::keep_calling(channel, rate) => Ok(()),
                ended = wait_for_the_end() => ended,
            },
            None => wait_for_the_end().await,
        }
    };
    tokio::pin!(running);
    let shown = tokio::select! {
        shown = showing => shown,
        ended = &mut running => return Ok(ended?),
    };
    let _ = stop.send(());
    running.await?;
    sink.flush(Duration::from_secs(1));
    shown
}

/// Serves only the simulators.
async fn serve_simulators(verbose: bool) -> Result<(), DemoError> {
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start_fixed(Api::Huawei, clock.clone()).await?;
    let alibaba = Simulator::start_fixed(Api::Alibaba, clock.clone()).await?;
    let flink = Simulator::start_fixed(Api::Flink, clock).await?;
    let mut show = Show::new(verbose);
    // As it was called, so that the line works where it is not installed.
    let program = std::env::args().next().unwrap_or_else(|| "savepoint-gateway".to_owned());
    show.title("Simulators of all providers. In another terminal:");
    for line in [
        format!("export HUAWEICLOUD_SDK_AK={EXAMPLE_ID} HUAWEICLOUD_SDK_SK={EXAMPLE_SECRET}"),
        format!(
            "export ALIBABA_CLOUD_ACCESS_KEY_ID={EXAMPLE_ID} ALIBABA_CLOUD_ACCESS_KEY_SECRET={EXAMPLE_SECRET}"
        ),
        format!(
            "{program} serve --huawei-endpoint http://{} --huawei-project-id {PROJECT_ID} \\",
            huawei.address()
        ),
        format!(
            "  --alibaba-endpoint http://{} --alibaba-workspace {WORKSPACE} \\",
            alibaba.address()
        ),
        format!("  --flink-cluster local=http://{} --enable-job-control", flink.address()),
    ] {
        show.line(&line);
    }
    show.print()?;
    wait_for_the_end().await
}

async fn wait_for_the_end() -> Result<(), DemoError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

type Client = SavepointServiceClient<tonic::transport::Channel>;

const NAMESPACE: &str = "default-namespace";
/// Not the job of the examples, which runs after this: a running job takes no import.
const JOB: i64 = 137_229;
/// The simulated cluster runs any job.
const FLINK_JOB: &str = "fae2ea4e711c8a93bba26029a6f845cd";

/// How often a started job is read. The simulator needs two.
const MAX_READS: usize = 50;

struct Demo<'a> {
    client: Client,
    jobs: DliServiceClient<tonic::transport::Channel>,
    messages: Messages,
    show: Show,
    huawei: &'a Simulator,
    alibaba: &'a Simulator,
}

impl Demo<'_> {
    fn message(&mut self, label: &str, name: &str, message: &impl prost::Message) {
        self.show.item(label, &self.messages.json(name, message));
    }

    async fn import(&mut self) -> Result<(), DemoError> {
        self.show.title("1. ImportSavepoint, to Huawei Cloud DLI");
        let request = ImportSavepointRequest {
            project_id: PROJECT_ID.into(),
            job_id: JOB,
            savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
        };
        self.message("request", "ImportSavepointRequest", &request);
        let response = self.client.import_savepoint(request).await.map_err(unexpected)?;
        self.show.rest(self.huawei);
        self.message("response", "ImportSavepointResponse", response.get_ref());
        Ok(self.show.print()?)
    }

    /// The other half of an import, which alone starts nothing.
    async fn resume(&mut self) -> Result<(), DemoError> {
        self.show.title("2. ResumeJob, then GetJob until the job runs");
        let (project_id, job_id) = (PROJECT_ID.to_owned(), JOB);
        let resume = ResumeJobRequest { project_id: project_id.clone(), job_id };
        self.jobs.resume_job(resume).await.map_err(unexpected)?;
        self.show.rest(self.huawei);
        for _ in 0..MAX_READS {
            let get = GetJobRequest { project_id: project_id.clone(), job_id };
            let response = self.jobs.get_job(get).await.map_err(unexpected)?;
            let job = response.into_inner().job.unwrap_or_default();
            self.show.item("job", &format!("{}  {}", job.provider_state, job.state_description));
            self.show.print()?;
            if job.state() == JobState::Running {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(DemoError::Unexpected("the job does not run".into()))
    }

    async fn get(&mut self) -> Result<(), DemoError> {
        self.show.title("3. GetSavepoint, from Alibaba Cloud Realtime Compute");
        let request = GetSavepointRequest {
            workspace: WORKSPACE.into(),
            namespace: NAMESPACE.into(),
            savepoint_id: "88a8fc49-e090-430a-85d8-3ee8c79c0001".into(),
        };
        self.message("request", "GetSavepointRequest", &request);
        let response = self.client.get_savepoint(request).await.map_err(unexpected)?;
        self.show.rest(self.alibaba);
        self.message("response", "GetSavepointResponse", response.get_ref());
        Ok(self.show.print()?)
    }

    async fn create_and_watch(&mut self) -> Result<(), DemoError> {
        self.show.title("4. CreateSavepoint, then WatchSavepoint until it is complete");
        let request = CreateSavepointRequest {
            workspace: WORKSPACE.into(),
            namespace: NAMESPACE.into(),
            deployment_id: "58718c99-3b29-4c5e-93bb-c9fc4ec60001".into(),
            description: "before the upgrade".into(),
            native_format: None,
        };
        let created = self.client.create_savepoint(request).await.map_err(unexpected)?.into_inner();
        self.show.rest(self.alibaba);
        self.show.print()?;
        let request = WatchSavepointRequest {
            workspace: WORKSPACE.into(),
            namespace: NAMESPACE.into(),
            savepoint_id: created.savepoint.unwrap_or_default().savepoint_id,
        };
        let began = Instant::now();
        let mut watch =
            self.client.watch_savepoint(request).await.map_err(unexpected)?.into_inner();
        while let Some(message) = watch.message().await.map_err(unexpected)? {
            let savepoint = message.savepoint.unwrap_or_default();
            let state = savepoint.status.unwrap_or_default().provider_state;
            let line = format!(
                "after {:.1} s  {state} {}",
                began.elapsed().as_secs_f64(),
                savepoint.savepoint_location
            );
            self.show.item("watch", &line);
            self.show.print()?;
        }
        Ok(())
    }

    async fn fail(&mut self) -> Result<(), DemoError> {
        self.show.title(
            "5. ImportSavepoint again: HTTP 200 with \"is_success\": \"false\" is a failure",
        );
        let request = ImportSavepointRequest {
            job_id: 900_003,
            savepoint_path: "obs://bucket-name/dir/".into(),
            ..Default::default()
        };
        let Err(status) = self.client.import_savepoint(request).await else {
            return Err(DemoError::Unexpected("the failure was reported as a success".into()));
        };
        self.show.rest(self.huawei);
        self.show.item("status", &format!("{:?}: {}", status.code(), status.message()));
        if let Some(info) = status.get_error_details().error_info() {
            let outcome = info.metadata.get("outcome").map_or("", String::as_str);
            self.show.item("", &format!("reason {}, outcome {outcome}", info.reason));
        }
        Ok(self.show.print()?)
    }
}

fn unexpected(status: Status) -> DemoError {
    DemoError::Unexpected(format!("the call failed: {:?}: {}", status.code(), status.message()))
}
