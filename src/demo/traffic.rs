//! Endless calls, successful and failing ones, to fill dashboards.

use std::f64::consts::TAU;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::{Request, Status};

use super::Client;
use crate::clock::random;
use crate::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    WatchSavepointRequest,
};
use crate::simulator::{RECOVERS, SCENARIOS};

/// The rate rises and falls by half, so that a graph of it moves.
const WAVE: Duration = Duration::from_secs(120);
const SWING: f64 = 0.5;

/// Interval of bursts: a second's worth of calls at once, as after an outage elsewhere.
const BURST: Duration = Duration::from_secs(45);

/// Longer than a simulator takes to respond, and short enough for the one that never does.
const DEADLINE: Duration = Duration::from_secs(1);

/// Makes this many calls a second on average, until dropped.
pub(super) async fn keep_calling(client: Client, per_second: u32) {
    let (began, mut next) = (Instant::now(), Instant::now());
    let mut burst = began + BURST;
    loop {
        sleep_until(next).await;
        let now = Instant::now();
        if now >= burst {
            burst = now + BURST;
            for _ in 0..per_second {
                tokio::spawn(call(client.clone()));
            }
        }
        tokio::spawn(call(client.clone()));
        let phase = now.duration_since(began).as_secs_f64() / WAVE.as_secs_f64();
        let rate = f64::from(per_second) * (1.0 + SWING * (TAU * phase).sin());
        next = now.max(next) + Duration::from_secs_f64(1.0 / rate);
    }
}

/// One call of a typical mix: mostly successful, a few that succeed after retries, and now and then
/// one of each failure.
async fn call(mut client: Client) -> Result<(), Status> {
    let [import, kind, which] = random::<3>();
    let import = import < 64;
    let scenario = match kind {
        0..=229 => None,
        230..=239 => SCENARIOS.iter().find(|scenario| scenario.name == RECOVERS),
        240.. => SCENARIOS.get(usize::from(which) % SCENARIOS.len()),
    };
    if kind < 12 && !import {
        return create_and_watch(client).await;
    }
    if import {
        let request = ImportSavepointRequest {
            job_id: scenario.map_or(137_228, |scenario| scenario.job_id),
            savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
            ..Default::default()
        };
        client.import_savepoint(within_deadline(request)).await.map(drop)
    } else {
        let savepoint_id = scenario.map_or_else(
            || "88a8fc49-e090-430a-85d8-3ee8c79c0001".to_owned(),
            |scenario| format!("simulate-{}", scenario.name),
        );
        let request = GetSavepointRequest {
            namespace: "default-namespace".into(),
            savepoint_id,
            ..Default::default()
        };
        client.get_savepoint(within_deadline(request)).await.map(drop)
    }
}

/// The journey of a savepoint; it takes about 3 s.
async fn create_and_watch(mut client: Client) -> Result<(), Status> {
    let namespace = "default-namespace";
    let request = CreateSavepointRequest {
        namespace: namespace.into(),
        deployment_id: "58718c99-3b29-4c5e-93bb-c9fc4ec60001".into(),
        ..Default::default()
    };
    let created = client.create_savepoint(within_deadline(request)).await?.into_inner();
    let request = WatchSavepointRequest {
        namespace: namespace.into(),
        savepoint_id: created.savepoint.unwrap_or_default().savepoint_id,
        ..Default::default()
    };
    let mut watch = client.watch_savepoint(request).await?.into_inner();
    while watch.message().await?.is_some() {}
    let request = ListSavepointsRequest { namespace: namespace.into(), ..Default::default() };
    client.list_savepoints(within_deadline(request)).await.map(drop)
}

fn within_deadline<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
