use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, mpsc};

use super::*;
use crate::options::Endpoint;
use crate::tls::Trust;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a server sees, in its order.
#[derive(Debug, PartialEq)]
enum Event {
    Opened,
    Closed,
}

/// Answers requests, as soon as so many are there.
struct Server {
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Server {
    async fn answering(at_once: usize) -> Self {
        Self::start(ANSWER, Arc::new(Barrier::new(at_once))).await
    }

    async fn start(answer: &'static [u8], barrier: Arc<Barrier>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.send(Event::Opened).unwrap();
                let (seen, barrier) = (seen.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    serve(stream, answer, &barrier).await;
                    // The test may be over.
                    let _ = seen.send(Event::Closed);
                });
            }
        });
        Self { address, events }
    }

    async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    fn endpoint(&self, scheme: &str) -> Endpoint {
        Endpoint::parse(&format!("{scheme}://{}", self.address), true).unwrap()
    }
}

/// Until the client closes the connection.
async fn serve(mut stream: TcpStream, answer: &[u8], barrier: &Barrier) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {
        if !answer.is_empty() {
            barrier.wait().await;
            stream.write_all(answer).await.unwrap();
        }
    }
}

fn pool(max_idle: usize) -> Pool {
    Pool::new(&ClientOptions {
        connect_timeout: Duration::from_secs(5),
        max_idle,
        trust: Trust::nothing().unwrap(),
        proxy: None,
    })
}

fn request(endpoint: &Endpoint) -> Request<Bytes> {
    endpoint.request(http::Method::GET, "/path").body(Bytes::new()).unwrap()
}

fn origin(endpoint: &Endpoint) -> Origin {
    Origin::take_from(request(endpoint).uri_mut()).unwrap()
}

async fn send(pool: &Pool, server: &Server) {
    let request = request(&server.endpoint("http"));
    let response = pool.fetch(request, &WriteStarted::default()).await.unwrap();
    assert_eq!((response.status, &*response.body), (200, &b"ok"[..]));
}

async fn open(pool: &Pool, server: &Server) -> Connection {
    let origin = origin(&server.endpoint("http"));
    Connection::open(pool.0.connector.clone(), &origin).await.unwrap()
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_until_it_is_idle_for_too_long() {
    let mut server = Server::answering(1).await;
    let pool = pool(8);
    for _ in 0..3 {
        send(&pool, &server).await;
    }
    assert_eq!(server.next().await, Event::Opened);
    pass(IDLE_TIMEOUT).await;
    assert_eq!(server.next().await, Event::Closed);
    send(&pool, &server).await;
    assert_eq!(server.next().await, Event::Opened);
    // What looks for expired connections has begun again.
    pass(IDLE_TIMEOUT).await;
    assert_eq!(server.next().await, Event::Closed);
}

#[tokio::test]
async fn a_busy_connection_is_replaced_at_its_maximum_age() {
    let mut server = Server::answering(1).await;
    let pool = pool(8);
    let step = IDLE_TIMEOUT - Duration::from_secs(1);
    let mut passed = Duration::ZERO;
    while passed < MAX_AGE {
        send(&pool, &server).await;
        pass(step).await;
        passed += step;
    }
    assert_eq!(server.next().await, Event::Opened);
    send(&pool, &server).await;
    let mut events = [server.next().await, server.next().await];
    events.sort_by_key(|event| *event == Event::Opened);
    assert_eq!(events, [Event::Closed, Event::Opened]);
}

#[tokio::test]
async fn no_more_than_the_maximum_stay_idle() {
    let mut server = Server::answering(5).await;
    let pool = pool(2);
    join_all((0..5).map(|_| send(&pool, &server))).await;
    let mut events = Vec::new();
    for _ in 0..5 + 3 {
        events.push(server.next().await);
    }
    assert_eq!(events.iter().filter(|event| **event == Event::Closed).count(), 3);
    assert_eq!(pool.0.hosts().all[0].1.idle.len(), 2);
}

#[tokio::test]
async fn a_connection_goes_to_the_request_that_waited_for_longest() {
    let server = Server::answering(1).await;
    let pool = pool(8);
    let origin = origin(&server.endpoint("http"));
    let gone = Turn::new(&pool.0, &origin);
    let mut first = Turn::new(&pool.0, &origin);
    let mut second = Turn::new(&pool.0, &origin);
    drop(gone);
    pool.0.keep(&origin, open(&pool, &server).await);
    assert!(second.given.try_recv().is_err());
    assert!(first.given.try_recv().unwrap().was_idle());
    pool.0.keep(&origin, open(&pool, &server).await);
    assert!(second.given.try_recv().unwrap().was_idle());
    drop((first, second));
    pool.0.keep(&origin, open(&pool, &server).await);
    let hosts = pool.0.hosts();
    assert_eq!((hosts.all[0].1.waiting.len(), hosts.all[0].1.idle.len()), (0, 1));
}

#[tokio::test]
async fn few_connections_go_on_being_opened_when_they_are_not_needed() {
    const REQUESTS: usize = SPARES + 4;
    // Of a TLS handshake, none comes to its end.
    let mut silent = Server::start(b"", Arc::new(Barrier::new(1))).await;
    let server = Server::answering(1).await;
    let pool = pool(REQUESTS);
    let origin = origin(&silent.endpoint("https"));
    let waiting: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let (pool, origin) = (pool.clone(), origin.clone());
            tokio::spawn(async move { pool.0.opened(&origin).await.map(drop) })
        })
        .collect();
    for _ in 0..REQUESTS {
        assert_eq!(silent.next().await, Event::Opened);
    }
    for _ in 0..REQUESTS {
        pool.0.keep(&origin, open(&pool, &server).await);
    }
    for request in waiting {
        request.await.unwrap().unwrap();
    }
    for _ in 0..REQUESTS - SPARES {
        assert_eq!(silent.next().await, Event::Closed);
    }
    assert_eq!(pool.0.spares.available_permits(), 0);
    assert!(pool.0.hosts().all[0].1.waiting.is_empty());
    pass(Duration::from_secs(5)).await;
    for _ in 0..SPARES {
        assert_eq!(silent.next().await, Event::Closed);
    }
    assert_eq!(pool.0.spares.available_permits(), SPARES);
}

#[tokio::test]
async fn a_request_that_the_server_does_not_read_does_not_hold_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (at_rest, resting) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        let _ = stream.read(&mut buffer).await.unwrap();
        stream.write_all(ANSWER).await.unwrap();
        resting.await.unwrap();
        // Closed in the middle of the request.
        while let Ok(1..) = stream.read(&mut buffer).await {}
    });
    let pool = pool(8);
    let endpoint = Endpoint::parse(&format!("http://{address}"), true).unwrap();
    // More than fits into the buffers of a connection.
    let large = Bytes::from(vec![b'x'; 64 << 20]);
    let request = endpoint.request(http::Method::POST, "/path").body(large).unwrap();
    let response = pool.fetch(request, &WriteStarted::default()).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(pool.0.idle(&origin(&endpoint)).is_none());
    pass(IDLE_TIMEOUT).await;
    at_rest.send(()).unwrap();
    serving.await.unwrap();
}
