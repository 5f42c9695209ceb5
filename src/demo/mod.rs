//! The demo: both calls on simulators, step by step.

mod traffic;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tonic::Status;
use tonic_types::StatusExt;

use crate::clock::SystemClock;
use crate::gateway::{Config, Gateway, GatewayOptions, Providers, StartError};
use crate::healthcheck;
use crate::options::{ConfigError, Problems, environment};
use crate::pb::savepoint_service_client::SavepointServiceClient;
use crate::pb::{GetSavepointRequest, ImportSavepointRequest};
use crate::service::OPERATIONS;
use crate::simulator::{Api, PROJECT_ID, Simulator, WORKSPACE};
use crate::telemetry::{LogConfig, LogOptions, LogSink, Telemetry, install};

/// The options of `demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Exit after the calls; without --listen the gateway then uses a free port
    #[arg(long)]
    once: bool,
    /// Keep making this many calls a second, successful and failing ones, to fill dashboards
    #[arg(long, value_name = "COUNT", conflicts_with = "once", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: Option<u32>,
    #[command(flatten)]
    gateway: GatewayOptions,
    #[command(flatten)]
    log: LogOptions,
}

impl DemoOptions {
    fn config(&self, providers: Providers) -> Result<(Config, LogConfig), ConfigError> {
        let mut problems = Problems::new(&environment);
        let config = self.gateway.config(&mut problems, providers, self.once);
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
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start(Api::Huawei, clock.clone()).await?;
    let alibaba = Simulator::start(Api::Alibaba, clock.clone()).await?;
    let providers =
        Providers::from(huawei.huawei_setup()?).or(Providers::from(alibaba.alibaba_setup()?));
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
        let mut show = Show::new();
        show.title("savepoint-gateway demo: no provider account, everything on loopback");
        show.line(&format!("gateway            {address} (gRPC), {admin} (metrics and probes)"));
        show.line(&format!("Huawei Cloud DLI   simulated at http://{}", huawei.address()));
        show.line(&format!("Alibaba Cloud      simulated at http://{}", alibaba.address()));

        let channel = healthcheck::connect(&address).await?;
        let mut client = SavepointServiceClient::new(channel);
        import(&mut client, &huawei, &mut show).await?;
        get(&mut client, &alibaba, &mut show).await?;
        refuse(&mut client, &mut show).await?;
        sink.flush(Duration::from_secs(1));
        if options.once {
            show.title("done");
            show.print()?;
            return Ok(());
        }
        show.title("the gateway keeps serving; press Ctrl-C to stop it");
        show.line("try it, for example with grpcurl:");
        show.line(
            r#"  grpcurl -plaintext -d '{"namespace":"default-namespace","savepoint_id":"simulate-throttled"}' \"#,
        );
        show.line(&format!("    {address} savepoint.v1.SavepointService/GetSavepoint"));
        show.line("the README lists the ids that make the simulators fail in other ways");
        if let Some(rate) = options.rate {
            show.line(&format!("making {rate} calls a second on average"));
        }
        show.print()?;
        match options.rate {
            Some(rate) => tokio::select! {
                () = traffic::keep_calling(client, rate) => Ok(()),
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

async fn import(
    client: &mut Client,
    simulator: &Simulator,
    show: &mut Show,
) -> Result<(), DemoError> {
    let request = ImportSavepointRequest {
        project_id: PROJECT_ID.into(),
        job_id: 137_228,
        savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
    };
    show.title("1. ImportSavepoint, to Huawei Cloud DLI");
    show.step("gRPC request", &format!("{request:#?}"));
    let response = client.import_savepoint(request).await.map_err(unexpected)?.into_inner();
    show.sent(simulator);
    show.step("gRPC response", &format!("{response:#?}"));
    show.print()?;
    Ok(())
}

async fn get(client: &mut Client, simulator: &Simulator, show: &mut Show) -> Result<(), DemoError> {
    let request = GetSavepointRequest {
        workspace: WORKSPACE.into(),
        namespace: "default-namespace".into(),
        savepoint_id: "88a8fc49-e090-430a-85d8-3ee8c79c0001".into(),
    };
    show.title("2. GetSavepoint, from Alibaba Cloud Realtime Compute");
    show.step("gRPC request", &format!("{request:#?}"));
    let response = client.get_savepoint(request).await.map_err(unexpected)?.into_inner();
    show.sent(simulator);
    show.step("gRPC response", &format!("{response:#?}"));
    show.print()?;
    Ok(())
}

async fn refuse(client: &mut Client, show: &mut Show) -> Result<(), DemoError> {
    let request = ImportSavepointRequest { job_id: 900_003, ..import_of_scenario() };
    show.title("3. A failure: HTTP 200 with \"is_success\": \"false\"");
    show.step("gRPC request", &format!("{request:#?}"));
    let Err(status) = client.import_savepoint(request).await else {
        return Err(DemoError::Unexpected("the failure was reported as a success".into()));
    };
    let mut text = format!("{:?}: {}", status.code(), status.message());
    if let Some(info) = status.get_error_details().error_info() {
        let _ = write!(text, "\nreason {}", info.reason);
        let mut about: Vec<_> = info.metadata.iter().collect();
        about.sort();
        for (key, value) in about {
            let _ = write!(text, "\n  {key} = {value}");
        }
    }
    show.step("gRPC status", &text);
    show.print()?;
    Ok(())
}

fn import_of_scenario() -> ImportSavepointRequest {
    ImportSavepointRequest { savepoint_path: "obs://bucket-name/dir/".into(), ..Default::default() }
}

fn unexpected(status: Status) -> DemoError {
    DemoError::Unexpected(format!("the call failed: {:?}: {}", status.code(), status.message()))
}

struct Show {
    text: String,
    colour: bool,
}

impl Show {
    fn new() -> Self {
        Self { text: String::new(), colour: io::stdout().is_terminal() }
    }

    fn title(&mut self, text: &str) {
        let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(self.text, "\n{on}{text}{off}");
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "  {text}");
    }

    fn step(&mut self, name: &str, text: &str) {
        self.line(name);
        for line in text.lines() {
            self.line(&format!("  {line}"));
        }
    }

    /// Shows the last REST call, whose signature the simulator accepted.
    fn sent(&mut self, simulator: &Simulator) {
        let Some(seen) = simulator.seen().pop() else { return };
        let mut text = format!("{} {}", seen.method, seen.path);
        for (name, value) in &seen.headers {
            let _ = write!(text, "\n{name}: {value}");
        }
        if !seen.body.is_empty() {
            let _ = write!(text, "\n\n{}", String::from_utf8_lossy(&seen.body));
        }
        let name = format!("REST request, signature verified, HTTP {}", seen.status);
        self.step(&name, &text);
    }

    fn print(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.text.as_bytes())?;
        self.text.clear();
        out.flush()
    }
}
