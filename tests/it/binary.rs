use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tokio::net::UnixStream;

use crate::support::collector::{Collector, Shown};
use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, Wire};
use crate::support::{FakeCloud, Folder, LONG, Reply, get_request};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R-1","data":{"savepointId":"s"}}"#;

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"));
    command.env_clear().env("RUST_BACKTRACE", "0").envs(env.iter().copied());
    command
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ACCESS_KEY_SECRET)
        .arg("serve")
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The running binary, killed at the latest at the end of the test.
struct Process {
    child: Child,
    folder: Folder,
}

impl Process {
    fn start(cloud: &FakeCloud, env: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let socket = |name: &str| format!("unix:{}", folder.path().join(name).display());
        let args = [
            "--alibaba-endpoint",
            &cloud.endpoint(),
            "--listen",
            &socket("grpc"),
            "--admin-listen",
            &socket("admin"),
        ];
        let child = command(&args, env).spawn().unwrap();
        Self { child, folder }
    }

    async fn client(&self) -> SavepointServiceClient<Wire> {
        let end = Instant::now() + LONG;
        loop {
            if let Ok(stream) = UnixStream::connect(self.folder.path().join("grpc")).await {
                return SavepointServiceClient::new(Wire::over(stream).await.unwrap());
            }
            assert!(Instant::now() < end, "it never listens");
            tokio::task::yield_now().await;
        }
    }

    /// Sends SIGTERM, as an orchestrator does, and waits until it has ended.
    async fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let end = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it never ends");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_blocks_no_call() {
    const CALLS: usize = 1000;
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let mut process = Process::start(&cloud, &[]);
    let mut client = process.client().await;
    for _ in 0..CALLS {
        client.get_savepoint(get_request()).await.unwrap();
    }
    assert_eq!(process.terminate().await.code(), Some(0));
    // The pipe was full all along: most lines never fitted into it.
    let mut log = Vec::new();
    process.child.stderr.take().unwrap().read_to_end(&mut log).unwrap();
    let lines = log.split(|byte| *byte == b'\n').count();
    assert!((2..CALLS).contains(&lines), "{lines}");
}

#[tokio::test]
async fn a_log_whose_pipe_is_closed_ends_no_call() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let mut process = Process::start(&cloud, &[]);
    let mut client = process.client().await;
    drop(process.child.stderr.take());
    for _ in 0..200 {
        client.get_savepoint(get_request()).await.unwrap();
    }
    assert_eq!(process.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn traces_are_configured_by_the_standard_variables_alone() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start().await;
        let endpoint = format!("http://127.0.0.1:{}", collector.port());
        let mut process = Process::start(
            &cloud,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=example%20key"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                ("OTEL_SERVICE_NAME", "savepoints"),
                ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
            ],
        );
        process.client().await.get_savepoint(get_request()).await.unwrap();
        assert_eq!(process.terminate().await.code(), Some(0));
        let spans = collector.wait_for(2).await;
        assert!(spans.iter().any(Shown::is_server), "{spans:?}");
        assert_eq!(collector.headers()["api-key"], "example key");
        let resource = collector.resource();
        for (name, value) in [
            ("service.name", "savepoints"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("deployment.environment.name", "test"),
        ] {
            assert_eq!(resource[name], value);
        }
    }
}

#[test]
fn a_wrong_variable_and_a_wrong_option_are_reported_together() {
    let args = ["--alibaba-region=cn-hangzhou", "--workers=many"];
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), ("OTEL_TRACES_SAMPLER", "xray")];
    let output = command(&args, &env).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for name in ["--workers (SAVEPOINT_GATEWAY_WORKERS)", "OTEL_TRACES_SAMPLER"] {
        assert!(text.contains(&format!("\n  {name}: ")), "{name}\n{text}");
    }
}
