//! The places of a port that few may use at a time, and to which a new one must always get in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::connection::Connection;

/// One of so many places is for newcomers that have not made their request yet.
const NEWCOMERS: usize = 4;

/// The places of connections. A newcomer never waits: if there is no place, it gets that of the
/// connection that has been without a request for longest. If hardly any is without one, it gets
/// that of the oldest request instead: newcomers, too, are without one at first, and must have the
/// time to make it.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    /// Counts arrivals and requests; it orders them.
    uses: AtomicU64,
    taken: Mutex<BTreeMap<u64, Taken>>,
}

#[derive(Debug)]
struct Taken {
    connection: Arc<Connection>,
    last_use: Arc<AtomicU64>,
    lost: CancellationToken,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, uses: AtomicU64::new(0), taken: Mutex::default() }))
    }

    pub(super) fn take(&self, connection: Arc<Connection>) -> Place {
        let mut taken = self.0.lock();
        if taken.len() >= self.0.most {
            free_one(&mut taken);
        }
        let id = self.0.uses.fetch_add(1, Ordering::Relaxed);
        let (last_use, lost) = (Arc::new(AtomicU64::new(id)), CancellationToken::new());
        let place =
            Place { places: self.clone(), id, last_use: last_use.clone(), lost: lost.clone() };
        taken.insert(id, Taken { connection, last_use, lost });
        place
    }

    /// Takes the place of the connection that a newcomer would get it from, for want of something
    /// else that a connection holds.
    pub(super) fn free_one(&self) {
        free_one(&mut self.0.lock());
    }
}

fn free_one(taken: &mut BTreeMap<u64, Taken>) {
    let is_idle = |taken: &Taken| taken.connection.in_flight.is_idle();
    let idle = taken.values().filter(|taken| is_idle(taken)).count();
    let leaves_idle = idle > taken.len() / NEWCOMERS;
    let last = taken.iter().min_by_key(|(_, taken)| {
        (is_idle(taken) != leaves_idle, taken.last_use.load(Ordering::Relaxed))
    });
    if let Some(gone) = last.map(|(id, _)| *id).and_then(|id| taken.remove(&id)) {
        gone.lost.cancel();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Taken>> {
        // The map is valid even after a panic elsewhere.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    id: u64,
    last_use: Arc<AtomicU64>,
    lost: CancellationToken,
}

impl Place {
    /// Notes a request.
    pub(super) fn used(&self) {
        let now = self.places.0.uses.fetch_add(1, Ordering::Relaxed);
        self.last_use.store(now, Ordering::Relaxed);
    }

    /// Returns when another connection has got the place.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::connection::{ConnectionLimits, Crowd};
    use super::super::request_memory::RequestMemory;
    use super::*;
    use crate::caller::Peer;
    use crate::clock::SystemClock;

    fn connection() -> Arc<Connection> {
        let limits = ConnectionLimits {
            memory: RequestMemory::unlimited(),
            peer_timeout: Duration::from_secs(10),
            max_age: None,
            max_idle: None,
            crowd: Crowd::default(),
            max_streams: 1,
            http_1: true,
            drain: CancellationToken::new(),
            clock: Arc::new(SystemClock),
        };
        Connection::new(Peer::default(), &limits)
    }

    fn is_lost(place: &Place) -> bool {
        place.lost.is_cancelled()
    }

    #[test]
    fn a_newcomer_gets_the_place_that_is_needed_least() {
        let places = Places::new(3);
        let connections = [connection(), connection(), connection()];
        let taken = connections.each_ref().map(|one| places.take(Arc::clone(one)));
        let [busy, used, _] = &taken;
        let call = connections[0].in_flight.begin(RequestMemory::unlimited().take(0).unwrap());
        used.used();
        assert!(!taken.iter().any(is_lost));
        let first = places.take(connection());
        assert_eq!(taken.each_ref().map(is_lost), [false, false, true], "the one idle for longest");
        let second = places.take(connection());
        assert_eq!([used, &first].map(is_lost), [true, false], "the next");
        let other = connection();
        let calls = [other.in_flight.begin(RequestMemory::unlimited().take(0).unwrap())];
        let third = places.take(other);
        assert!(is_lost(&first) && !is_lost(busy), "an idle one before an old request");
        drop(call);
        let fourth = places.take(connection());
        assert!(is_lost(busy), "its request has ended");
        drop((second, calls));
        let _fifth = places.take(connection());
        assert!(![third, fourth].iter().any(is_lost), "a place was free");
    }

    #[test]
    fn newcomers_do_not_displace_each_other_while_others_have_requests() {
        let places = Places::new(16);
        let busy: Vec<_> = (0..16).map(|_| connection()).collect();
        let _calls: Vec<_> = busy
            .iter()
            .map(|one| one.in_flight.begin(RequestMemory::unlimited().take(0).unwrap()))
            .collect();
        let taken: Vec<_> = busy.into_iter().map(|one| places.take(one)).collect();
        let newcomers: Vec<_> = (0..5).map(|_| places.take(connection())).collect();
        assert!(!newcomers.iter().any(is_lost), "a quarter of the places is theirs");
        let last = places.take(connection());
        let lost: Vec<_> = newcomers.iter().map(is_lost).collect();
        assert_eq!((lost, is_lost(&last)), (vec![true, false, false, false, false], false));
        assert_eq!(taken.iter().filter(|place| !is_lost(place)).count(), 11);
    }

    #[test]
    fn a_newcomer_gets_in_among_connections_that_all_have_requests() {
        let places = Places::new(2);
        let (old, new) = (connection(), connection());
        let _calls = [&old, &new]
            .map(|one| one.in_flight.begin(RequestMemory::unlimited().take(0).unwrap()));
        let (old, new) = (places.take(old), places.take(new));
        let newcomer = places.take(connection());
        assert!(is_lost(&old) && !is_lost(&new) && !is_lost(&newcomer));
    }
}
