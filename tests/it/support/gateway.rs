//! The real server on a free port of loopback.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use savepoint_gateway::clock::{Clock, SystemClock};
use savepoint_gateway::credential::{Credential, Credentials};
use savepoint_gateway::gateway::{Config, Gateway as Server, Providers, Reloader, StartError};
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::providers::huawei::Project;
use savepoint_gateway::providers::{alibaba, flink, huawei};
use savepoint_gateway::rpc::Timeouts;
use savepoint_gateway::secret::Secret;
use savepoint_gateway::service::OPERATIONS;
use savepoint_gateway::simulator::Simulator;
use savepoint_gateway::telemetry::{LevelFilter, LogFormat, LogSink, Telemetry};
use savepoint_gateway::upstream::Backoff;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::FakeCloud;

pub(crate) const ACCESS_KEY_ID: &str = "EXAMPLEAK0123456";
pub(crate) const ACCESS_KEY_SECRET: &str = "exampleSecretKey0123456789abcdef";

/// The differences from the usual gateway.
#[derive(Clone)]
pub(crate) struct Options {
    /// Endpoints of providers with the key below.
    pub(crate) huawei: Option<String>,
    pub(crate) alibaba: Option<String>,
    pub(crate) flink: Option<String>,
    /// The value of the header, if the cluster gets one.
    pub(crate) flink_authorization: Option<String>,
    pub(crate) project: Project,
    pub(crate) workspace: Option<String>,
    pub(crate) access_key_id: String,
    pub(crate) access_key_secret: String,
    pub(crate) security_token: Option<String>,
    /// Instead of the key above, for both providers.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log_level: LevelFilter,
    /// Everything else. Providers that are set here are used as they are.
    pub(crate) config: Config,
}

impl Options {
    /// All providers at this one address.
    pub(crate) fn at(cloud: &FakeCloud) -> Self {
        let endpoint = Some(cloud.endpoint());
        Self {
            huawei: endpoint.clone(),
            alibaba: endpoint.clone(),
            flink: endpoint,
            ..Self::none()
        }
    }

    /// No provider.
    pub(crate) fn none() -> Self {
        let mut config = Config {
            workers: 1,
            job_control: true,
            // Retries happen without a delay.
            backoff: Backoff { base: Duration::ZERO, ..Backoff::default() },
            ..Config::default()
        };
        config.server.timeouts = Timeouts { default: super::LONG, max: super::LONG };
        Self {
            huawei: None,
            alibaba: None,
            flink: None,
            flink_authorization: None,
            project: Project::None,
            workspace: None,
            access_key_id: ACCESS_KEY_ID.into(),
            access_key_secret: ACCESS_KEY_SECRET.into(),
            security_token: None,
            credentials: None,
            clock: Arc::new(SystemClock),
            log_level: LevelFilter::TRACE,
            config,
        }
    }

    /// The same with another configuration.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    fn credentials(&self) -> Credentials {
        let key = || {
            Credential::new(
                self.access_key_id.clone(),
                Secret::new(self.access_key_secret.clone()),
                self.security_token.clone().map(Secret::new),
            )
        };
        self.credentials.clone().unwrap_or_else(|| Credentials::fixed(key().unwrap()))
    }

    fn config(&self) -> Config {
        let endpoint = |text: &String| Endpoint::parse(text, true).unwrap();
        let mut providers = self.config.providers.clone();
        if let Some(text) = &self.huawei {
            let project = self.project.clone();
            let setup = huawei::Setup::new(endpoint(text), self.credentials(), project);
            providers = providers.or(setup.into());
        }
        if let Some(text) = &self.alibaba {
            let workspace = self.workspace.clone();
            let setup = alibaba::Setup::new(endpoint(text), self.credentials(), workspace);
            providers = providers.or(setup.into());
        }
        // Where credentials are what is tested, none must be usable for ever.
        if let Some(text) = self.flink.as_ref().filter(|_| self.credentials.is_none()) {
            let cluster = (String::from("fake"), endpoint(text));
            let credential = match &self.flink_authorization {
                Some(text) => Credential::of_authorization(Secret::new(text.clone())).unwrap(),
                None => Credential::none(),
            };
            let setup = flink::Setup::new([cluster], &Credentials::fixed(credential));
            providers = providers.or(setup.into());
        }
        Config { providers, ..self.config.clone() }
    }
}

/// Both clouds, simulated.
pub(crate) fn simulated(huawei: &Simulator, alibaba: &Simulator) -> Providers {
    let huawei = Providers::from(huawei.huawei_setup().unwrap());
    huawei.or(alibaba.alibaba_setup().unwrap().into())
}

/// A log that a test can read.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct Gateway {
    address: String,
    admin: String,
    lines: Lines,
    sink: LogSink,
    reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), StartError>>,
}

impl Gateway {
    pub(crate) async fn start(options: Options) -> Self {
        let lines = Lines::default();
        let sink = LogSink::new(lines.clone(), LogFormat::Json, options.log_level).unwrap();
        let telemetry = Telemetry::new(sink.clone(), OPERATIONS);
        let server =
            Server::bind(options.config(), telemetry, Arc::clone(&options.clock)).await.unwrap();
        let (address, admin) = (server.address().to_string(), server.admin_address().to_string());
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, admin, lines, sink, reloader, stop: Some(stop), running }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    pub(crate) fn sink(&self) -> &LogSink {
        &self.sink
    }

    /// As SIGHUP does.
    pub(crate) fn reload(&self) {
        self.reloader.reload();
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = tonic::transport::Endpoint::new(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> SavepointServiceClient<Channel> {
        SavepointServiceClient::new(self.channel().await)
    }

    /// A client without timers of its own, which sees the status of the server.
    pub(crate) async fn wire_client(&self) -> SavepointServiceClient<Wire> {
        SavepointServiceClient::new(self.wire().await)
    }

    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(&self.address).await
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.sink.flush(super::LONG);
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// Ends the gateway, as SIGTERM does.
    pub(crate) fn shut_down(&mut self) {
        let _ = self.stop.take().expect("shut down once").send(());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(self) {
        self.running.await.unwrap().unwrap();
    }
}

/// A bare HTTP/2 connection. tonic's own channel would obey a `grpc-timeout` itself.
#[derive(Clone)]
pub(crate) struct Wire(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl Wire {
    async fn connect(address: &str) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await.unwrap()
    }

    /// HTTP/2 over this stream.
    pub(crate) async fn over<S>(stream: S) -> hyper::Result<Self>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let executor = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Wire {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<tonic::body::Body>) -> Self::Future {
        let uri = format!("http://gateway.test{}", request.uri().path());
        *request.uri_mut() = uri.parse().unwrap();
        Box::pin(self.0.send_request(request))
    }
}
