//! Savepoints on Apache Flink, with the simulated cluster of `savepoint-gateway demo`. Without one,
//! all tests are skipped.

use std::time::Duration;

use savepoint_gateway_example::flink::{connect_flink, take_savepoint, trigger_savepoint};
use savepoint_gateway_example::pb::SavepointState;
use savepoint_gateway_example::pb::flink::TriggerSavepointRequest;
use savepoint_gateway_example::{WatchError, tls_from_environment};
use tonic::Code;

const LONG: Duration = Duration::from_secs(30);

macro_rules! flink {
    () => {
        match std::env::var("SAVEPOINT_DEMO_ADDRESS") {
            Ok(address) => connect_flink(&address, tls_from_environment().unwrap()).unwrap(),
            Err(_) => return eprintln!("skipped: SAVEPOINT_DEMO_ADDRESS is not set"),
        }
    };
}

fn request() -> TriggerSavepointRequest {
    TriggerSavepointRequest {
        job_id: format!("{:032x}", fastrand::u128(1 << 127..)),
        target_directory: "s3://bucket/savepoints".into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_savepoint_is_begun_and_watched_until_it_is_complete() {
    let savepoint = take_savepoint(&flink!(), request(), LONG).await.unwrap();
    assert_eq!(savepoint.status.unwrap().state(), SavepointState::Completed);
    let location = savepoint.savepoint_location;
    assert!(location.starts_with("s3://bucket/savepoints"), "{location}");
}

#[tokio::test]
async fn the_same_key_begins_one_savepoint() {
    let flink = flink!();
    let keyed =
        TriggerSavepointRequest { idempotency_key: "before-the-upgrade".into(), ..request() };
    let first = trigger_savepoint(&flink, keyed.clone()).await.unwrap();
    assert_eq!(trigger_savepoint(&flink, keyed.clone()).await.unwrap(), first);
    let other = TriggerSavepointRequest { idempotency_key: "another".into(), ..keyed };
    assert_ne!(trigger_savepoint(&flink, other).await.unwrap(), first);
}

#[tokio::test]
async fn an_invalid_request_is_refused_at_once() {
    let invalid = TriggerSavepointRequest { job_id: "no digits".into(), ..request() };
    match take_savepoint(&flink!(), invalid, LONG).await {
        Err(WatchError::Call(status)) => assert_eq!(status.code(), Code::InvalidArgument),
        other => panic!("{other:?}"),
    }
}
