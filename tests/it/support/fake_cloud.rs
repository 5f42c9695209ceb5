//! A provider that gives prepared answers, raw bytes and broken connections included, and records
//! every request as it came in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// The request line and the header lines, with their line ends, without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        match self.values(name)[..] {
            [] => None,
            [value] => Some(value),
            _ => panic!("{name} more than once:\n{}", self.head),
        }
    }

    /// The names of all headers, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        names.map(|(name, _)| name.to_lowercase()).collect()
    }
}

/// What the provider does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status, headers and a body, with the right length; the connection stays open.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then an orderly close. A request that crossed it is [`FakeCloud::crossed`].
    Raw(Vec<u8>),
    /// These bytes, then a reset.
    RawReset(Vec<u8>),
    /// No answer until the gateway closes the connection.
    Silence,
    /// No answer before [`FakeCloud::release`], then this one.
    Held(Box<Reply>),
}

impl Reply {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        let kind = ("content-type", "application/json;charset=utf-8".to_owned());
        Self::Http(status, vec![kind], body.as_bytes().to_vec())
    }

    pub(crate) fn json_with(status: u16, headers: &[(&'static str, &str)], body: &str) -> Self {
        let mut all = vec![("content-type", "application/json".to_owned())];
        all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self::Http(status, all, body.as_bytes().to_vec())
    }

    pub(crate) fn text(status: u16, kind: &str, body: &str) -> Self {
        Self::Http(status, vec![("content-type", kind.to_owned())], body.as_bytes().to_vec())
    }
}

type Answer = dyn Fn(&Recorded, usize) -> Reply + Send + Sync;

pub(crate) struct FakeCloud {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    answer: Box<Answer>,
    requests: Mutex<Vec<Recorded>>,
    crossed: Mutex<Vec<Recorded>>,
    open: AtomicUsize,
    /// How many connections the gateway closed while a request was unanswered.
    abandoned: Mutex<usize>,
    release: Notify,
    released: Mutex<bool>,
}

impl FakeCloud {
    /// A provider that answers every request alike.
    pub(crate) async fn answering(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone()).await
    }

    /// A provider that answers by the request and by how many came before it.
    pub(crate) async fn start(
        answer: impl Fn(&Recorded, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answer: Box::new(answer),
            requests: Mutex::default(),
            crossed: Mutex::default(),
            open: AtomicUsize::new(0),
            abandoned: Mutex::default(),
            release: Notify::new(),
            released: Mutex::default(),
        });
        let serving = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let state = Arc::clone(&state);
                    state.open.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        state.serve(stream).await;
                        state.open.fetch_sub(1, Ordering::Relaxed);
                    });
                }
            }
        });
        Self { address, state, serving }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.requests.lock().unwrap().len()
    }

    /// How many requests are like this.
    pub(crate) fn count_where(&self, like: impl Fn(&Recorded) -> bool) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|request| like(request)).count()
    }

    /// How many connections have not ended on both sides.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(Ordering::Relaxed)
    }

    /// The requests that were sent before the gateway saw that the provider had closed their
    /// connection. They have no answer, and count in none of the others.
    pub(crate) fn crossed(&self) -> Vec<Recorded> {
        self.state.crossed.lock().unwrap().clone()
    }

    pub(crate) fn abandoned(&self) -> usize {
        *self.state.abandoned.lock().unwrap()
    }

    /// The one request that came in.
    pub(crate) fn only_request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests[0].clone()
    }

    /// Lets held answers go.
    pub(crate) fn release(&self) {
        *self.state.released.lock().unwrap() = true;
        self.state.release.notify_waiters();
    }
}

impl Drop for FakeCloud {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    async fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        while let Some(request) = read_request(&mut stream).await {
            let before = {
                let mut requests = self.requests.lock().unwrap();
                requests.push(request.clone());
                requests.len() - 1
            };
            let mut reply = (self.answer)(&request, before);
            while let Reply::Held(inner) = reply {
                let release = self.release.notified();
                if !*self.released.lock().unwrap() {
                    release.await;
                }
                reply = *inner;
            }
            match reply {
                Reply::Http(status, headers, body) => {
                    let mut bytes = format!("HTTP/1.1 {status} X\r\n").into_bytes();
                    for (name, value) in headers {
                        bytes.extend(format!("{name}: {value}\r\n").bytes());
                    }
                    if status != 204 && status != 304 {
                        bytes.extend(format!("content-length: {}\r\n", body.len()).bytes());
                    }
                    bytes.extend(b"\r\n");
                    bytes.extend(body);
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Reply::Raw(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    let _ = stream.shutdown().await;
                    while let Some(request) = read_request(&mut stream).await {
                        self.crossed.lock().unwrap().push(request);
                    }
                    return;
                }
                Reply::RawReset(bytes) => {
                    let _ = stream.write_all(&bytes).await;
                    #[expect(deprecated, reason = "zero does not block, and makes a reset")]
                    stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
                    return;
                }
                Reply::Silence | Reply::Held(_) => {
                    // Ends when the gateway closes.
                    let _ = stream.read(&mut [0; 1]).await;
                    *self.abandoned.lock().unwrap() += 1;
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Recorded> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
    let mut body = bytes[end + 4..].to_vec();
    let request = Recorded { head, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Recorded { body, ..request })
}
