//! Explores interleavings of watchers and pollers with a scheduler that chooses every step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};

use super::hub::{Hub, Lock, Locks, Poller, Watcher};
use super::{Observed, Trouble};

struct Explored;

impl Locks for Explored {
    type Lock<T: Send> = shuttle::sync::Mutex<T>;
}

impl<T: Send> Lock<T> for shuttle::sync::Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        work(&mut self.lock().unwrap())
    }
}

/// What the world was when a poll read it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    /// Its time, which grows with every poll.
    time: u64,
    state: u64,
}

const LAST_STATE: u64 = 3;

impl Observed for Reading {
    fn is_same(&self, later: &Self) -> bool {
        self.state == later.state
    }

    fn is_final(&self) -> bool {
        self.state == LAST_STATE
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Failure {
    Passing,
    Lasting,
    Broken,
}

impl Trouble for Failure {
    fn passes(&self) -> bool {
        *self == Self::Passing
    }

    fn asked_wait(&self) -> Option<Duration> {
        None
    }

    fn broken() -> Self {
        Self::Broken
    }
}

type ExploredHub = Hub<u8, Reading, Failure, Explored>;

/// The world that is polled. The atomics are not the scheduler's, so they add no steps.
#[derive(Default)]
struct World {
    time: AtomicU64,
    state: AtomicU64,
    polling: AtomicUsize,
    polls: AtomicU64,
}

impl World {
    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn read(&self) -> Reading {
        assert_eq!(self.polling.fetch_add(1, Ordering::SeqCst), 0, "two polls at a time");
        self.polls.fetch_add(1, Ordering::SeqCst);
        let time = self.now();
        let state = self.state.load(Ordering::SeqCst);
        yield_now().await;
        self.polling.fetch_sub(1, Ordering::SeqCst);
        Reading { time, state }
    }
}

/// The loop of [`super::run`], without its waits. `fails_at`: the poll that fails, and how.
async fn poll(
    mut poller: Poller<u8, Reading, Failure, Explored>,
    world: Arc<World>,
    fails_at: Option<(u64, Failure)>,
) {
    loop {
        let number = poller.begin();
        let reading = world.read().await;
        let result = match &fails_at {
            Some((at, failure)) if *at == number => Err(failure.clone()),
            _ => Ok(reading),
        };
        poller.publish(number, &result);
        if poller.retire() {
            return;
        }
        yield_now().await;
    }
}

fn join(
    hub: &ExploredHub,
    world: &Arc<World>,
    fails_at: Option<(u64, Failure)>,
) -> (u64, Watcher<Reading, Failure, Explored>) {
    let came = world.now();
    let (watcher, poller) = hub.join(0);
    if let Some(poller) = poller {
        spawn(poll(poller, Arc::clone(world), fails_at));
    }
    (came, watcher)
}

fn explore(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    shuttle::check_random(move || test(), 1500);
    shuttle::check_pct(move || again(), 1500, 3);
}

/// A hub, the world that is polled for it, and all who run beside each other.
struct Scene {
    hub: Arc<ExploredHub>,
    world: Arc<World>,
    tasks: Vec<JoinHandle<()>>,
}

impl Scene {
    fn new() -> Self {
        let (hub, world) = (Arc::new(ExploredHub::new()), Arc::new(World::default()));
        Self { hub, world, tasks: Vec::new() }
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(spawn(task));
    }

    /// So many watches; each knows its number.
    fn watches<F>(&mut self, count: usize, watch: fn(usize, Arc<ExploredHub>, Arc<World>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for number in 0..count {
            self.spawn(watch(number, Arc::clone(&self.hub), Arc::clone(&self.world)));
        }
    }

    /// Runs until all have ended and the hub has forgotten them.
    async fn end(&mut self) {
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        while self.hub.topics() > 0 {
            yield_now().await;
        }
    }
}

#[test]
fn every_watcher_sees_fresh_values_and_the_last_one() {
    explore(|| {
        let mut scene = Scene::new();
        let world = Arc::clone(&scene.world);
        scene.spawn(async move {
            for _ in 0..LAST_STATE {
                world.state.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
        });
        scene.watches(3, |_, hub, world| async move {
            let (came, mut watcher) = join(&hub, &world, None);
            let mut seen = Vec::new();
            while let Some(next) = watcher.next().await {
                seen.push(next.unwrap());
            }
            assert!(seen.iter().all(|reading| reading.time > came), "{came} {seen:?}");
            assert!(seen.windows(2).all(|pair| pair[0].state < pair[1].state), "{seen:?}");
            assert_eq!(seen.last().map(|reading| reading.state), Some(LAST_STATE));
        });
        block_on(scene.end());
    });
}

#[test]
fn watchers_that_leave_end_the_poll_and_those_that_come_start_it_again() {
    explore(|| {
        let mut scene = Scene::new();
        scene.watches(3, |leaves_early, hub, world| async move {
            let (came, mut watcher) = join(&hub, &world, None);
            if leaves_early > 0 {
                yield_now().await;
                return;
            }
            let first = watcher.next().await.unwrap().unwrap();
            assert!(first.time > came);
        });
        block_on(async {
            scene.end().await;
            let polls = scene.world.polls.load(Ordering::SeqCst);
            yield_now().await;
            assert_eq!(scene.world.polls.load(Ordering::SeqCst), polls, "polled for nobody");
        });
    });
}

#[test]
fn a_failure_that_passes_ends_only_those_who_know_nothing_yet() {
    explore(|| {
        let mut scene = Scene::new();
        scene.watches(2, |_, hub, world| async move {
            let (_, mut watcher) = join(&hub, &world, Some((2, Failure::Passing)));
            let first = watcher.next().await.unwrap();
            world.state.store(LAST_STATE, Ordering::SeqCst);
            match first {
                Err(failure) => {
                    assert_eq!(failure, Failure::Passing);
                    assert_eq!(watcher.next().await, None);
                }
                Ok(_) => {
                    while let Some(next) = watcher.next().await {
                        next.unwrap();
                    }
                }
            }
        });
        block_on(scene.end());
    });
}

#[test]
fn a_lasting_failure_ends_all_who_came_before_its_poll_and_a_broken_poller_all() {
    explore(|| {
        let mut scene = Scene::new();
        scene.watches(2, |_, hub, world| async move {
            let (_, mut watcher) = join(&hub, &world, Some((1, Failure::Lasting)));
            // Either the failure, or a value of the poll after it.
            match watcher.next().await.unwrap() {
                Err(failure) => assert_eq!(failure, Failure::Lasting),
                Ok(_) => return,
            }
            assert_eq!(watcher.next().await, None);
        });
        let (mut orphan, poller) = scene.hub.join(1);
        scene.spawn(async move {
            poller.as_ref().unwrap().begin();
            yield_now().await;
        });
        block_on(async {
            assert_eq!(orphan.next().await, Some(Err(Failure::Broken)));
            assert_eq!(orphan.next().await, None);
            scene.end().await;
        });
    });
}
