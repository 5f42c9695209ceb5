//! The connections to providers and to the services that issue credentials.
//!
//! Uses hyper's connections directly (`docs/adr/0007-calls-without-reqwest.md`).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::connect::{Connector, connector};
use super::connection::{Connection, NotOpened, Origin};
use super::error::{Phase, classify};
use super::write_started::ObservedBody;
use super::{ClientOptions, IDLE_TIMEOUT, LargeBodies, Place, Response, WriteStarted};
use crate::rpc::Error;

/// Maximum age of connections. Names are looked up only for new connections, so this makes the
/// gateway follow a provider to a new address while the old one still works.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// How often idle connections are looked at, at most.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// Connections that may go on being opened for later, because their requests got another one. To a host
/// that drops SYNs each of them holds a descriptor until it times out.
const SPARES: usize = 16;

/// HTTP/1.1 connections. Redirects are never followed, because signed headers must not be forwarded.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    connector: Connector,
    spares: Arc<Semaphore>,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    /// As few as there are endpoints.
    all: Vec<(Origin, Host)>,
    /// Whether a task looks for expired connections.
    is_reaped: bool,
    turns: u64,
}

#[derive(Default)]
struct Host {
    /// The one that was used last is at the back.
    idle: VecDeque<Connection>,
    /// Requests that are opening a connection and take one that becomes idle before, in their order.
    waiting: BTreeMap<u64, oneshot::Sender<Connection>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without connections.
    pub fn new(options: &ClientOptions) -> Self {
        let (limit, proxy) = (options.connect_timeout, options.proxy.as_ref());
        Self(Arc::new(Inner {
            options: options.clone(),
            connector: connector(options.trust.http_1(), limit, proxy),
            spares: Arc::new(Semaphore::new(SPARES)),
            hosts: Mutex::default(),
        }))
    }

    /// Sends the request, whose URI is absolute and which has a `Host`, and reads the complete response.
    ///
    /// A request is sent again only if its connection was closed before any of it was written.
    ///
    /// # Errors
    /// If there is no valid response. An HTTP status is never an error here.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        write_started: &WriteStarted,
        place: &mut Place<'_>,
    ) -> Result<Response, Error> {
        let mut request = request.map(|bytes| ObservedBody::new(bytes, write_started));
        let origin = Origin::take_from(request.uri_mut())?;
        loop {
            let mut connection = match self.0.idle(&origin) {
                Some(connection) => connection,
                // In a box, because it is rare and large.
                None => Box::pin(self.0.opened(&origin))
                    .await
                    .map_err(|failed| failed.classify(write_started))?,
            };
            if request.body().is_empty() {
                // There is no first byte to observe.
                write_started.set();
            }
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    let response = Response::read(response, write_started, place).await?;
                    if response.whole {
                        self.0.keep(&origin, connection);
                    }
                    return Ok(response);
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if connection.was_idle() => {
                        write_started.clear();
                        request = unsent;
                    }
                    unsent => {
                        if unsent.is_some() {
                            write_started.clear();
                        }
                        return Err(classify(
                            &failed.into_error(),
                            Phase::Connected,
                            write_started,
                        ));
                    }
                },
            }
        }
    }

    /// The same for occasional requests, such as those for credentials, of which there is one at a
    /// time.
    ///
    /// # Errors
    /// If there is no valid response. An HTTP status is never an error here.
    pub(crate) async fn fetch(
        &self,
        request: Request<Bytes>,
        write_started: &WriteStarted,
    ) -> Result<Response, Error> {
        let bodies = LargeBodies::default();
        self.send(request, write_started, &mut bodies.place()).await
    }
}

impl Inner {
    /// The idle connection that was used last. The others may become idle for long enough to be closed.
    fn idle(&self, origin: &Origin) -> Option<Connection> {
        let mut hosts = self.hosts();
        let host = hosts.find(origin)?;
        let now = Instant::now();
        while let Some(connection) = host.idle.pop_back() {
            if is_usable(&connection, now) {
                return Some(connection);
            }
        }
        None
    }

    /// A new connection, or one that becomes idle before it is open.
    async fn opened(self: &Arc<Self>, origin: &Origin) -> Result<Connection, NotOpened> {
        let mut turn = Turn::new(self, origin);
        let mut opening = {
            let (connector, origin) = (self.connector.clone(), origin.clone());
            Box::pin(async move { Connection::open(connector, &origin).await })
        };
        let given = tokio::select! {
            biased;
            Ok(given) = &mut turn.given => given,
            opened = &mut opening => return opened,
        };
        if let Ok(permit) = Arc::clone(&self.spares).try_acquire_owned() {
            let (pool, origin) = (Arc::clone(self), origin.clone());
            tokio::spawn(async move {
                if let Ok(connection) = opening.await {
                    pool.keep(&origin, connection);
                }
                drop(permit);
            });
        }
        Ok(given)
    }

    /// Gives a connection to the request that has waited for longest, or keeps it.
    fn keep(self: &Arc<Self>, origin: &Origin, mut connection: Connection) {
        let now = Instant::now();
        if connection.sender.is_closed() || now - connection.born > MAX_AGE {
            return;
        }
        if !connection.sender.is_ready() {
            // The response is complete, but not all of the request has been written.
            let (pool, origin) = (Arc::clone(self), origin.clone());
            tokio::spawn(async move {
                let ready = tokio::time::timeout_at(now + IDLE_TIMEOUT, connection.sender.ready());
                if matches!(ready.await, Ok(Ok(()))) {
                    pool.keep(&origin, connection);
                }
            });
            return;
        }
        connection.idle_since = Some(now);
        let mut hosts = self.hosts();
        let host = hosts.find_or_add(origin);
        while let Some((_, turn)) = host.waiting.pop_first() {
            match turn.send(connection) {
                Ok(()) => return,
                Err(not_taken) => connection = not_taken,
            }
        }
        host.idle.push_back(connection);
        if host.idle.len() > self.options.max_idle {
            host.idle.pop_front();
        }
        if !hosts.is_reaped {
            hosts.is_reaped = true;
            tokio::spawn(reap(Arc::downgrade(self), now + IDLE_TIMEOUT));
        }
    }

    /// Closes the connections that expired. Returns when the next one does; none if none is left.
    fn close_expired(&self, now: Instant) -> Option<Instant> {
        let mut hosts = self.hosts();
        for (_, host) in &mut hosts.all {
            host.idle.retain(|connection| is_usable(connection, now));
        }
        let oldest = hosts.all.iter().filter_map(|(_, host)| host.idle.front()?.idle_since);
        let next = oldest.min().map(|since| since + IDLE_TIMEOUT);
        hosts.is_reaped = next.is_some();
        next
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        // The data is valid even after a panic elsewhere.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    fn find(&mut self, origin: &Origin) -> Option<&mut Host> {
        self.all.iter_mut().find(|(other, _)| other == origin).map(|(_, host)| host)
    }

    fn find_or_add(&mut self, origin: &Origin) -> &mut Host {
        let found = self.all.iter().position(|(other, _)| other == origin);
        let index = found.unwrap_or_else(|| {
            self.all.push((origin.clone(), Host::default()));
            self.all.len() - 1
        });
        &mut self.all[index].1
    }
}

/// A request's place among those that wait for a connection, until dropped.
struct Turn<'a> {
    pool: &'a Inner,
    origin: &'a Origin,
    number: u64,
    given: oneshot::Receiver<Connection>,
}

impl<'a> Turn<'a> {
    fn new(pool: &'a Inner, origin: &'a Origin) -> Self {
        let (turn, given) = oneshot::channel();
        let mut hosts = pool.hosts();
        hosts.turns += 1;
        let number = hosts.turns;
        hosts.find_or_add(origin).waiting.insert(number, turn);
        Self { pool, origin, number, given }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.pool.hosts().find(self.origin) {
            host.waiting.remove(&self.number);
        }
    }
}

fn is_usable(connection: &Connection, now: Instant) -> bool {
    connection.sender.is_ready()
        && connection.idle_since.is_none_or(|since| now - since < IDLE_TIMEOUT)
        && now - connection.born < MAX_AGE
}

/// Closes idle connections as they expire, until there is none.
async fn reap(pool: Weak<Inner>, mut next: Instant) {
    loop {
        tokio::time::sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        match pool.close_expired(now) {
            Some(expiry) => next = expiry.max(now + REAP_INTERVAL),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
