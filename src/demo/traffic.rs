//! Endless calls, successful and failing ones, to fill dashboards.

use std::f64::consts::TAU;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Client, FLINK_JOB, JOB};
use crate::clock::random;
use crate::pb::dli::dli_service_client::DliServiceClient;
use crate::pb::flink::flink_service_client::FlinkServiceClient;
use crate::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    WatchSavepointRequest,
};
use crate::pb::{dli, flink};
use crate::simulator::{RECOVERS, SCENARIOS, Scenario};

/// The rate rises and falls by half, so that a graph of it moves.
const WAVE: Duration = Duration::from_secs(120);
const SWING: f64 = 0.5;

/// Interval of bursts: a second's worth of calls at once, as after an outage elsewhere.
const BURST: Duration = Duration::from_secs(45);

/// Longer than a simulator takes to respond, and short enough for the one that never does.
const DEADLINE: Duration = Duration::from_secs(1);

/// A client of each service.
#[derive(Clone)]
struct Clients {
    savepoints: Client,
    jobs: DliServiceClient<Channel>,
    flink: FlinkServiceClient<Channel>,
}

/// Makes this many calls a second on average, until dropped.
pub(super) async fn keep_calling(channel: Channel, per_second: u32) {
    let clients = Clients {
        savepoints: Client::new(channel.clone()),
        jobs: DliServiceClient::new(channel.clone()),
        flink: FlinkServiceClient::new(channel),
    };
    let (began, mut next) = (Instant::now(), Instant::now());
    let mut burst = began + BURST;
    loop {
        sleep_until(next).await;
        let now = Instant::now();
        if now >= burst {
            burst = now + BURST;
            for _ in 0..per_second {
                tokio::spawn(call(clients.clone()));
            }
        }
        tokio::spawn(call(clients.clone()));
        let phase = now.duration_since(began).as_secs_f64() / WAVE.as_secs_f64();
        let rate = f64::from(per_second) * (1.0 + SWING * (TAU * phase).sin());
        next = now.max(next) + Duration::from_secs_f64(1.0 / rate);
    }
}

/// One call of a typical mix: mostly successful, a few that succeed after retries, and now and then
/// one of each failure.
async fn call(mut clients: Clients) -> Result<(), Status> {
    let [service, kind, which] = random::<3>();
    let scenario = match kind {
        0..=229 => None,
        230..=239 => SCENARIOS.iter().find(|scenario| scenario.name == RECOVERS),
        240.. => SCENARIOS.get(usize::from(which) % SCENARIOS.len()),
    };
    match service {
        0..=49 => import(clients.savepoints, scenario).await,
        50..=69 => {
            let job_id = scenario.map_or(JOB, |scenario| scenario.job_id);
            let request = dli::GetJobRequest { job_id, ..Default::default() };
            clients.jobs.get_job(within_deadline(request)).await.map(drop)
        }
        70..=109 if kind < 12 => flink_journey(clients.flink).await,
        70..=109 => {
            let job_id = scenario.map_or_else(|| FLINK_JOB.to_owned(), Scenario::flink_job);
            let request = flink::GetJobRequest { job_id, ..Default::default() };
            clients.flink.get_job(within_deadline(request)).await.map(drop)
        }
        110.. if kind < 12 => create_and_watch(clients.savepoints).await,
        110.. => get(clients.savepoints, scenario).await,
    }
}

async fn import(mut client: Client, scenario: Option<&Scenario>) -> Result<(), Status> {
    let request = ImportSavepointRequest {
        job_id: scenario.map_or(137_228, |scenario| scenario.job_id),
        savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
        ..Default::default()
    };
    client.import_savepoint(within_deadline(request)).await.map(drop)
}

async fn get(mut client: Client, scenario: Option<&Scenario>) -> Result<(), Status> {
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

/// A savepoint of Apache Flink, from its trigger until it is complete.
async fn flink_journey(mut client: FlinkServiceClient<Channel>) -> Result<(), Status> {
    let job_id = FLINK_JOB.to_owned();
    let request = flink::TriggerSavepointRequest {
        job_id: job_id.clone(),
        target_directory: "file:///var/flink/savepoints".into(),
        ..Default::default()
    };
    let trigger_id =
        client.trigger_savepoint(within_deadline(request)).await?.into_inner().trigger_id;
    let request = flink::WatchSavepointRequest { job_id, trigger_id, ..Default::default() };
    let mut watch = client.watch_savepoint(request).await?.into_inner();
    while watch.message().await?.is_some() {}
    Ok(())
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
