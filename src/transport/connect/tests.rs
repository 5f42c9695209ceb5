use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use super::*;
use crate::tls::Trust;

const LIMIT: Duration = Duration::from_secs(4);

/// An address that drops SYNs, because its backlog is full.
struct Deaf {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    /// Time must be paused: then a connection that is not there at once is one that waits. None if
    /// the machine does not have the address.
    async fn at(ip: IpAddr) -> Option<Self> {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
        socket.bind((ip, 0).into()).ok()?;
        let listener = socket.listen(0).ok()?;
        let address = listener.local_addr().ok()?;
        let mut waiting = Vec::new();
        while let Ok(connected) =
            tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address)).await
        {
            waiting.push(connected.unwrap());
            assert!(waiting.len() < 100, "the backlog is endless");
        }
        Some(Self { address, _listener: listener, _waiting: waiting })
    }
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address that refuses connections while the socket is there.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(localhost(1), 0)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn tls() -> Arc<ClientConfig> {
    Arc::clone(Trust::nothing().unwrap().http_1())
}

/// Connects to a name with these addresses; returns how long that took.
async fn connect(
    addresses: Vec<SocketAddr>,
    uri: &str,
    proxy: Option<&Proxy>,
) -> (Result<(), BoxError>, Duration) {
    let mut connector = resolving(Resolver::Fixed(addresses), &tls(), LIMIT, proxy);
    let began = Instant::now();
    let connected = connector.call(uri.parse().unwrap()).await;
    (connected.map(drop), began.elapsed())
}

fn localhost(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

#[tokio::test(start_paused = true)]
async fn an_address_that_drops_syns_leaves_time_for_the_next() {
    let deaf = [Deaf::at(localhost(1)).await.unwrap(), Deaf::at(localhost(2)).await.unwrap()];
    let deaf = [deaf[0].address, deaf[1].address];
    let (_listener, good) = listening().await;
    let (_bound, refusing) = refusing();
    for (addresses, want) in [
        (vec![good], Duration::ZERO),
        (vec![deaf[0], good], LIMIT / 2),
        (vec![deaf[0], deaf[1], good], LIMIT / 3 * 2),
        (vec![refusing, good], Duration::ZERO),
        (vec![good, deaf[0]], Duration::ZERO),
        (vec![refusing, deaf[0], good], LIMIT / 3),
    ] {
        let (connected, took) = connect(addresses.clone(), "http://name.example/", None).await;
        connected.unwrap();
        // Timers are rounded up to milliseconds.
        assert!(took.abs_diff(want) < Duration::from_millis(5), "{addresses:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_of_the_other_family_is_tried_soon() {
    // Without IPv6 the address is unreachable, which is the other case of a user.
    let six = Deaf::at(Ipv6Addr::LOCALHOST.into()).await;
    let first = six.as_ref().map_or((Ipv6Addr::LOCALHOST, 9).into(), |deaf| deaf.address);
    let four = Deaf::at(localhost(1)).await.unwrap();
    let (_listener, good) = listening().await;
    let (connected, took) = connect(vec![first, good], "http://name.example/", None).await;
    connected.unwrap();
    assert!(took <= OTHER_FAMILY_AFTER + Duration::from_millis(5), "{took:?}");
    let (connected, took) =
        connect(vec![first, four.address, good], "http://name.example/", None).await;
    connected.unwrap();
    assert!(took < LIMIT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn all_addresses_together_have_one_limit() {
    let (one, other) =
        (Deaf::at(localhost(1)).await.unwrap(), Deaf::at(localhost(2)).await.unwrap());
    for addresses in [vec![one.address], vec![one.address, other.address], vec![one.address; 9]] {
        let (connected, took) = connect(addresses.clone(), "http://name.example/", None).await;
        connected.unwrap_err();
        assert!(took.abs_diff(LIMIT) < Duration::from_millis(10), "{addresses:?}: {took:?}");
    }
}

/// What a proxy answers, and what becomes of the tunnel.
#[tokio::test(start_paused = true)]
async fn the_next_address_of_a_proxy_is_tried_too() {
    let deaf = Deaf::at(localhost(1)).await.unwrap();
    let (listener, good) = listening().await;
    let proxying = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
        String::from_utf8(head[..length].to_vec()).unwrap()
    });
    let proxy = Proxy::parse("http://user:examplePassword@proxy.example").unwrap();
    let uri = "https://provider.example/";
    let (connected, took) = connect(vec![deaf.address, good], uri, Some(&proxy)).await;
    let error = connected.unwrap_err();
    let found = super::super::error::causes(&*error)
        .find_map(|cause| cause.downcast_ref::<TunnelError>().map(ToString::to_string));
    assert_eq!(found.as_deref(), Some("the proxy answered with HTTP 502"));
    assert!(took.abs_diff(LIMIT / 2) < Duration::from_millis(5), "{took:?}");
    assert!(proxying.await.unwrap().starts_with("CONNECT provider.example:443 HTTP/1.1\r\n"));
}
