//! The gateway's server, from its options to its frames, with the services of two suites in
//! addition to its own: `connectrpc.conformance.v1.ConformanceService` and `grpc.testing.TestService`.
//!
//! Without arguments it follows the Connect conformance runner: a request on standard input, the
//! address on standard output. With arguments, which are those of `serve`, it prints
//! the address.

mod conformance;
mod interop;
mod trailers;

use std::error::Error;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use prost::Message;
use savepoint_gateway::cli::{Cli, Command};
use savepoint_gateway::clock::SystemClock;
use savepoint_gateway::gateway::Gateway;
use savepoint_gateway::options::Address;
use savepoint_gateway::server::ExtraServices;
use savepoint_gateway::service::OPERATIONS;
use savepoint_gateway::telemetry::{LogSink, Telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tonic::service::Routes;

use conformance::pb::{Protocol, ServerCompatRequest, ServerCompatResponse};

/// Larger than the gateway's own 12 KiB: the suites send up to 1 MiB where they set no limit.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

type Reason = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Reason> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.is_empty() {
        return runtime.block_on(serve(arguments, MESSAGE_BYTES, |address| {
            let mut out = std::io::stdout();
            writeln!(out, "{address}")?;
            out.flush()
        }));
    }

    let asked = asked()?;
    let mut arguments: Vec<String> = ["--log-level", "warn"].map(String::from).into();
    if asked.protocol() == Protocol::GrpcWeb {
        arguments.extend(["--grpc-web-allow-origin".into(), "*".into()]);
    }
    let folder = Folder::new()?;
    let mut certificate = Vec::new();
    if asked.use_tls {
        let given = asked.server_creds.ok_or("TLS without a certificate")?;
        arguments.extend(["--tls-cert".into(), folder.write("cert.pem", &given.cert)?]);
        arguments.extend(["--tls-key".into(), folder.write("key.pem", &given.key)?]);
        certificate = given.cert;
        if !asked.client_tls_cert.is_empty() {
            let authority = folder.write("client.pem", &asked.client_tls_cert)?;
            arguments.extend(["--tls-client-ca".into(), authority]);
        }
    }
    let most = match asked.message_receive_limit {
        0 => MESSAGE_BYTES,
        limit => limit as usize,
    };
    runtime.block_on(serve(arguments, most, |address| {
        let port = address.to_string().rsplit(':').next().and_then(|port| port.parse().ok());
        let answer = ServerCompatResponse {
            host: "127.0.0.1".into(),
            port: port.unwrap_or_default(),
            pem_cert: certificate,
        }
        .encode_to_vec();
        let mut out = std::io::stdout();
        out.write_all(&u32::try_from(answer.len()).unwrap_or_default().to_be_bytes())?;
        out.write_all(&answer)?;
        out.flush()
    }))
}

/// What the runner asks for: a length of four bytes and a message.
fn asked() -> Result<ServerCompatRequest, Reason> {
    let mut length = [0; 4];
    std::io::stdin().read_exact(&mut length)?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    std::io::stdin().read_exact(&mut message)?;
    Ok(ServerCompatRequest::decode(&*message)?)
}

/// Serves with these options of `serve`, each message in a call up to so many bytes, until
/// SIGTERM.
async fn serve(
    mut arguments: Vec<String>,
    message_bytes: usize,
    listening: impl FnOnce(&Address) -> std::io::Result<()>,
) -> Result<(), Reason> {
    let always = [
        "savepoint-gateway",
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        // Never called, but a gateway must have a provider.
        "--huawei-endpoint=http://127.0.0.1:9",
        "--drain-timeout=1s",
        // For messages larger than the gateway's own.
        "--max-request-memory=1GiB",
    ];
    arguments.splice(0..0, always.map(String::from));
    let Command::Serve(options) = Cli::try_from_args(arguments)?.command else {
        return Err("serve is not serve".into());
    };
    let lookup = |name: &str| {
        Ok(match name {
            "HUAWEICLOUD_SDK_AK" => Some("EXAMPLEAK0123456".to_owned()),
            "HUAWEICLOUD_SDK_SK" => Some("exampleSecretKey0123456789abcdef".to_owned()),
            _ => None,
        })
    };
    let (config, log) = options.config(&lookup)?;
    let sink = LogSink::new(std::io::stderr(), log.format, log.level)?;
    let telemetry = Telemetry::new(sink, OPERATIONS);
    let extra = ExtraServices {
        routes: Routes::default()
            .add_service(conformance::service(message_bytes))
            .add_service(interop::service(message_bytes)),
        streamed: [conformance::STREAMED, interop::STREAMED].concat(),
        message_bytes,
        reads_refused: true,
    };
    let gateway = Gateway::bind(config, telemetry, Arc::new(SystemClock)).await?;
    let gateway = gateway.with_extra_services(extra);
    let mut terminate = signal(SignalKind::terminate())?;
    listening(gateway.address())?;
    gateway
        .run(async {
            terminate.recv().await;
        })
        .await?;
    Ok(())
}

/// A folder for certificates, gone with the process.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let name = format!("savepoint-gateway-conformance-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<String> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
