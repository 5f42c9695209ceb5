use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use savepoint_gateway::credential::Credentials;
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::providers::huawei::{Password, PasswordOf, TokenScope};
use savepoint_gateway::secret::Secret;
use savepoint_gateway::tls::Trust;
use savepoint_gateway::transport::Proxy;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::credentials::unavailable;
use super::operators::{admin_get, ready};
use super::tls::{Authority, tls_provider};
use crate::support::{Gateway, Options, get_request, import_request};

/// A proxy that gives this answer to CONNECT.
pub(super) struct FakeProxy {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    proxying: JoinHandle<()>,
}

impl FakeProxy {
    /// `open`: whether the tunnel leads to the host that was asked for.
    pub(super) async fn start(answer: impl Into<Vec<u8>>, open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (answer, seen) = (answer.into(), Arc::clone(&heads));
        let proxying = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (answer.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut head = String::new();
                    while stream.read_line(&mut head).await.unwrap() > 2 {}
                    let target = head.split(' ').nth(1).unwrap().to_owned();
                    seen.lock().unwrap().push(head);
                    let _ = stream.write_all(&answer).await;
                    if open {
                        let mut cloud = TcpStream::connect(target).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut cloud).await;
                    } else if answer.is_empty() {
                        // Silence, until the gateway gives up.
                        let _ = stream.read(&mut [0; 1]).await;
                    }
                });
            }
        });
        Self { address, heads, proxying }
    }

    fn tunnels(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// The gateway's options with this proxy, and a password for it.
    fn apply(&self, options: Options, trust: Option<Trust>) -> Options {
        let url = format!("http://user:exampleProxyPassword@{}", self.address);
        options.with(|config| {
            config.upstream.ca = trust;
            config.upstream.proxy = Some(Proxy::parse(&url).unwrap());
        })
    }
}

impl Drop for FakeProxy {
    fn drop(&mut self) {
        self.proxying.abort();
    }
}

/// Both calls through the proxy, to a provider that cannot be reached without it.
async fn refused(proxy: &FakeProxy, timeout: Duration) -> (Gateway, [Status; 2]) {
    let origin = || Some("https://provider.example".to_owned());
    let options = Options { huawei: origin(), alibaba: origin(), ..Options::none() };
    let options =
        proxy.apply(options, Some(Trust::bundle(Authority::new().pem.as_bytes()).unwrap()));
    let options = options.with(|config| config.upstream.connect_timeout = timeout);
    let gateway = Gateway::start(options).await;
    let _ = savepoint_gateway::telemetry::install(gateway.sink());
    let mut client = gateway.client().await;
    let import = client.import_savepoint(import_request()).await.unwrap_err();
    let get = client.get_savepoint(get_request()).await.unwrap_err();
    (gateway, [import, get])
}

async fn shows_no_secret(gateway: &Gateway, statuses: &[Status]) {
    let metrics = admin_get(gateway, "/metrics").await;
    for shown in [gateway.log(), metrics, format!("{statuses:?}")] {
        for secret in ["exampleProxyPassword", "dXNlcjpleGFtcGxlUHJveHlQYXNzd29yZA", "hidden"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// The status and its reason, outcome and attempts.
fn facts(status: &Status) -> (Code, String, Option<String>, String) {
    let info = status.get_error_details().error_info().unwrap().clone();
    let outcome = info.metadata.get("outcome").cloned();
    (status.code(), info.reason, outcome, info.metadata["attempts"].clone())
}

const LONG_LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_refused_tunnel_tells_the_number_and_a_refused_password_is_sent_once_a_call() {
    let body = "<html>hidden</html>";
    for (line, attempts) in [
        ("407 Proxy Authentication Required", 1),
        ("403 hidden", 1),
        ("401 Unauthorized", 3),
        ("502 Bad Gateway", 3),
        ("503 Service Unavailable", 3),
        ("302 Found", 3),
        ("101 Switching Protocols", 3),
        ("999 hidden", 3),
    ] {
        let answer = format!(
            "HTTP/1.1 {line}\r\nProxy-Authenticate: Basic realm=\"hidden\"\r\n\
             Location: http://hidden.example/\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let proxy = FakeProxy::start(answer, false).await;
        let (gateway, statuses) = refused(&proxy, LONG_LIMIT).await;
        let number = &line[..3];
        let want = (Code::Unavailable, "PROXY_REFUSED".to_owned());
        for (status, outcome) in statuses.iter().zip([Some("not_applied"), None]) {
            let (code, reason, found, made) = facts(status);
            assert_eq!((code, reason), want, "{line}: {status}");
            assert_eq!(found.as_deref(), outcome, "{line}: {status}");
            assert_eq!(made, attempts.to_string(), "{line}: {status}");
            assert!(status.message().contains(&format!("HTTP {number}")), "{status}");
        }
        assert_eq!(proxy.tunnels(), 2 * attempts, "{line}");
        shows_no_secret(&gateway, &statuses).await;
    }
}

#[tokio::test]
async fn a_tunnel_that_never_opens_is_a_connection_that_was_not_made() {
    let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x-hidden: 1\r\n".repeat(10_000)].concat();
    for (answer, limit) in [
        (&b"HTTP/1.1 200 O"[..], LONG_LIMIT),
        (b"HTTP/1.1 200 OK\r\nx-hidden: ", LONG_LIMIT),
        (b"\0\x01hidden garbage\r\n\r\n", LONG_LIMIT),
        (b"SSH-2.0-hidden\r\n", LONG_LIMIT),
        (&endless, LONG_LIMIT),
        (&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000), LONG_LIMIT),
        // A proxy that speaks in the name of the provider.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden", LONG_LIMIT),
        // Silence.
        (b"", Duration::from_millis(50)),
    ] {
        let proxy = FakeProxy::start(answer, false).await;
        let (gateway, statuses) = refused(&proxy, limit).await;
        for status in &statuses {
            let (code, reason, _, attempts) = facts(status);
            let want = (Code::Unavailable, "PROVIDER_CONNECT_FAILED", "3");
            assert_eq!((code, &*reason, &*attempts), want, "{status}");
        }
        assert_eq!(facts(&statuses[0]).2.as_deref(), Some("not_applied"));
        shows_no_secret(&gateway, &statuses).await;
    }
}

#[tokio::test]
async fn every_2xx_opens_the_tunnel() {
    let ca = Authority::new();
    let (origin, serving) = tls_provider(&ca).await;
    for answer in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 \r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let proxy = FakeProxy::start(answer, true).await;
        let options = Options { alibaba: Some(origin.clone()), ..Options::none() };
        let trust = Trust::bundle(ca.pem.as_bytes()).unwrap();
        let gateway = Gateway::start(proxy.apply(options, Some(trust))).await;
        let called = gateway.client().await.get_savepoint(get_request()).await;
        assert!(called.is_ok(), "{answer:?}: {called:?}");
        assert_eq!(proxy.tunnels(), 1, "{answer:?}");
    }
    serving.abort();
}

/// The services that issue credentials are reached in the same way.
#[tokio::test]
async fn a_source_behind_a_proxy_tells_the_number_too() {
    let proxy = FakeProxy::start("HTTP/1.1 407 hidden\r\n\r\n", false).await;
    let source = Password::new(
        Endpoint::parse("https://iam.example", false).unwrap(),
        "IAMDomain",
        "IAMUser",
        PasswordOf::Text(Secret::new("hidden")),
        TokenScope::Name("cn-north-4".into()),
    );
    let options = Options {
        huawei: Some("https://provider.example".into()),
        credentials: Some(Credentials::refreshed(source, None)),
        ..Options::none()
    };
    let gateway = Gateway::start(
        proxy.apply(options, Some(Trust::bundle(Authority::new().pem.as_bytes()).unwrap())),
    )
    .await;
    let status = gateway.client().await.import_savepoint(import_request()).await.unwrap_err();
    unavailable(&status);
    assert!(
        status.message().contains("the proxy refused the connection with HTTP 407"),
        "{status}"
    );
    assert_eq!(proxy.tunnels(), 1);
    shows_no_secret(&gateway, &[status]).await;
}

/// Plain endpoints are on loopback, where the proxy could not reach them.
#[tokio::test]
async fn a_plain_endpoint_is_called_without_the_proxy() {
    let cloud =
        crate::support::FakeCloud::start(|request, _| super::credentials::success(request)).await;
    let proxy = FakeProxy::start("HTTP/1.1 502 X\r\n\r\n", false).await;
    let gateway = Gateway::start(proxy.apply(Options::at(&cloud), None)).await;
    ready(&gateway).await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap();
    assert_eq!(proxy.tunnels(), 0);
}

/// An address whose backlog is full drops SYNs.
#[tokio::test]
async fn an_address_that_drops_syns_is_a_connection_that_was_not_made() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::time::pause();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
    }
    tokio::time::resume();
    let origin = || Some(format!("http://{address}"));
    let options = Options { huawei: origin(), alibaba: origin(), ..Options::none() };
    let limit = Duration::from_millis(20);
    let gateway =
        Gateway::start(options.with(|config| config.upstream.connect_timeout = limit)).await;
    let mut client = gateway.client().await;
    let import = client.import_savepoint(import_request()).await.unwrap_err();
    let get = client.get_savepoint(get_request()).await.unwrap_err();
    for (status, outcome) in [(import, Some("not_applied")), (get, None)] {
        let (code, reason, found, attempts) = facts(&status);
        let want = (Code::Unavailable, "PROVIDER_CONNECT_FAILED", outcome, "3");
        assert_eq!((code, &*reason, found.as_deref(), &*attempts), want, "{status}");
    }
}
