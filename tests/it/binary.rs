use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tokio::net::UnixStream;

use crate::support::collector::{Collector, Shown};
use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, Wire};
use crate::support::{FakeCloud, Folder, LONG, Reply, get_request, import_request};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R-1","data":{"savepointId":"s"}}"#;

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    command_after(":", args, env)
}

/// The binary, after this command of the shell.
fn command_after(before: &str, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_savepoint-gateway"));
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
        Self::spawn(":", cloud, env, Stdio::piped())
    }

    /// With this log, after this command of the shell.
    fn start_after(before: &str, cloud: &FakeCloud, log: Stdio) -> Self {
        Self::spawn(before, cloud, &[], log)
    }

    fn spawn(before: &str, cloud: &FakeCloud, env: &[(&str, &str)], log: Stdio) -> Self {
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
        let child = command_after(before, &args, env).stderr(log).spawn().unwrap();
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

/// Every line is there once its reader has made room.
#[tokio::test]
async fn a_pipe_that_does_not_block_and_is_full_for_a_time_loses_no_line() {
    const CALLS: usize = 1500;
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut process = Process::start_after(":", &cloud, writer.into());
    let mut client = process.client().await;
    for _ in 0..CALLS {
        client.get_savepoint(get_request()).await.unwrap();
    }
    let reading = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).map(|_| log)
    });
    for _ in 0..10 {
        client.get_savepoint(get_request()).await.unwrap();
    }
    assert_eq!(process.terminate().await.code(), Some(0));
    let log = reading.join().unwrap().unwrap();
    let calls = log.lines().filter(|line| line.contains(r#""message":"call""#));
    assert_eq!(calls.filter(|line| line.ends_with('}')).count(), CALLS + 10);
    assert!(log.ends_with("}\n"), "{log}");
}

/// A full disk, and a file of the largest size: calls go on, and lines are counted.
#[tokio::test]
async fn a_log_that_cannot_be_written_ends_no_call() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let folder = Folder::new();
    let limited = std::fs::File::create(folder.path().join("log")).unwrap();
    for (log, size) in [(full, "unlimited"), (limited, "8")] {
        let mut process = Process::start_after(&format!("ulimit -f {size}"), &cloud, log.into());
        let mut client = process.client().await;
        for _ in 0..200 {
            client.get_savepoint(get_request()).await.unwrap();
        }
        assert_eq!(process.terminate().await.code(), Some(0), "{size}");
    }
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
    let env = [("ALIBABA_CLOUD_SECURITY_TOKEN", "example\n"), ("OTEL_TRACES_SAMPLER", "xray")];
    let output = command(&args, &env).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for name in ["--workers (SAVEPOINT_GATEWAY_WORKERS)", "ALIBABA_CLOUD_SECURITY_TOKEN"] {
        assert!(text.contains(&format!("\n  {name}: ")), "{name}\n{text}");
    }
}

/// Examples and documents import into this job on the demo.
#[tokio::test]
async fn the_demo_leaves_the_job_of_the_examples_stopped() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"))
        .args(["demo", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut demo = Process { child: demo, folder: Folder::new() };
    let address = tokio::task::spawn_blocking(|| {
        let shown: Vec<_> = lines.take_while(|line| !line.contains("keeps serving")).collect();
        let address = shown.iter().find_map(|line| line.trim().strip_prefix("gateway "));
        address.and_then(|line| line.trim().split(';').next()).unwrap().to_owned()
    })
    .await
    .unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = SavepointServiceClient::new(endpoint.connect().await.unwrap());
    for _ in 0..2 {
        client.import_savepoint(import_request()).await.unwrap();
    }
    demo.terminate().await;
}
