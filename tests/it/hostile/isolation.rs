use jiff::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;

use http::Method;
use prost::Message as _;
use savepoint_gateway::clock::{Clock, SystemClock};
use savepoint_gateway::pb::ImportSavepointRequest;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic_types::StatusExt;

use super::wire::{GET, ask, grpc, prefixed};
use crate::support::{
    FakeCloud, Gateway, Options, Reply, Rpc, eventually, get_request, import_request,
};

const IMPORTED: &str = r#"{"is_success":true}"#;

async fn metrics(gateway: &Gateway) -> String {
    let mut stream = tokio::net::TcpStream::connect(gateway.admin()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// A defect: a clock that panics.
#[derive(Debug)]
struct Broken;

impl Clock for Broken {
    fn now(&self) -> Timestamp {
        panic!("the clock is broken, as this test wants it")
    }

    fn nonce(&self) -> [u8; 16] {
        SystemClock.nonce()
    }

    fn chance(&self) -> f64 {
        SystemClock.chance()
    }
}

/// Hostile input 51.
#[tokio::test]
async fn a_panic_ends_only_its_own_call() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options { clock: Arc::new(Broken), ..Options::at(&cloud) }).await;
    let wire = gateway.wire().await;
    let mut client = SavepointServiceClient::new(wire.clone());
    for rpc in Rpc::ALL {
        let status = rpc.call_within(None, &wire).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{rpc:?}: {status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.reason, "GATEWAY_INTERNAL");
        assert!(!status.message().contains("clock"), "{status}");
        // The same connection, and a call that needs no clock.
        let refused = client.import_savepoint(ImportSavepointRequest::default()).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    // Signatures need the clock; what is sent to clusters has none.
    assert_eq!(cloud.count(), Rpc::OF_FLINK.len());
    crate::watch::nothing_is_left(&gateway, "a panic").await;
}

/// Hostile input 75.
#[tokio::test]
async fn unknown_methods_create_no_new_metrics() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let names = |text: &str| -> HashSet<String> {
        let lines = text.lines().filter(|line| line.contains('{') || line.contains("_total"));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let before = names(&metrics(&gateway).await);
    assert!(before.len() > 50, "{}", before.len());
    let client = tonic::client::Grpc::new(gateway.channel().await);
    let strangers: Vec<_> = (0..10)
        .map(|stranger| {
            let mut client = client.clone();
            tokio::spawn(async move {
                for number in 0..1000 {
                    let path = format!("/evil{stranger}.Service/Method{number}").parse().unwrap();
                    client.ready().await.unwrap();
                    let codec = tonic_prost::ProstCodec::<ImportSavepointRequest, ()>::default();
                    let request = tonic::Request::new(ImportSavepointRequest::default());
                    client.unary(request, path, codec).await.unwrap_err();
                }
            })
        })
        .collect();
    for stranger in strangers {
        stranger.await.unwrap();
    }
    let strange = [("content-type", "text/evil"), ("user-agent", "evil")];
    ask(gateway.address(), Method::POST, "/evil", &strange, vec![]).await;
    let text = metrics(&gateway).await;
    assert_eq!(names(&text), before);
    assert!(!text.contains("evil"));
    let counted = r#"grpc_server_handled_total{grpc_type="unary",grpc_service="_OTHER",grpc_method="_OTHER",grpc_code="Unimplemented"} 10000"#;
    assert!(text.lines().any(|line| line == counted), "{text}");
}

/// Hostile input 76.
#[tokio::test]
async fn a_thousand_imports_cancelled_at_once_are_sent_once_or_not_at_all() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway =
        Gateway::start(Options::at(&cloud).with(|config| config.max_in_flight = 2000)).await;
    let mut client = gateway.client().await;
    for job_id in 1..=1000 {
        if job_id % 200 == 0 {
            // Very many at once on one connection are a flood of resets, and treated so.
            client = gateway.client().await;
        }
        let mut client = client.clone();
        let call = tokio::spawn(async move {
            let request = ImportSavepointRequest { job_id, ..import_request() };
            client.import_savepoint(request).await
        });
        // Enough for the request to be on its way, sometimes.
        for _ in 0..job_id % 8 {
            tokio::task::yield_now().await;
        }
        call.abort();
    }
    // A call that is not cancelled follows all of them.
    gateway.client().await.import_savepoint(import_request()).await.unwrap();
    let idle = r#"in_flight{provider="huawei-dli"} 0"#;
    let mut text = metrics(&gateway).await;
    let end = std::time::Instant::now() + crate::support::LONG;
    while !text.lines().any(|line| line.ends_with(idle)) {
        assert!(std::time::Instant::now() < end, "calls stay in flight:\n{text}");
        text = metrics(&gateway).await;
    }
    let paths: Vec<_> = cloud.requests().iter().map(|sent| sent.path().to_owned()).collect();
    let distinct: HashSet<_> = paths.iter().collect();
    assert_eq!(distinct.len(), paths.len(), "an import was sent twice");
    assert!(paths.len() <= 1001, "{}", paths.len());
}

#[tokio::test]
async fn a_burst_of_calls_leaves_nothing_open() {
    let cloud = FakeCloud::answering(Reply::Held(Box::new(Reply::json(200, IMPORTED)))).await;
    let gateway =
        Gateway::start(Options::at(&cloud).with(|config| config.max_in_flight = 64)).await;
    let client = gateway.client().await;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.import_savepoint(import_request()).await })
        })
        .collect();
    eventually("the limit is reached", || cloud.count() == 64).await;
    cloud.release();
    let mut served = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => served += 1,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
    assert!(served >= 64, "{served}");
    assert_eq!(cloud.count(), served);
}

#[tokio::test]
async fn a_get_is_served_while_other_connections_are_dropped() {
    let cloud =
        FakeCloud::answering(Reply::json(200, r#"{"success":true,"data":{"savepointId":"s"}}"#))
            .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let body = prefixed(&get_request().encode_to_vec());
    for index in 0..50 {
        // Every other connection is dropped with its call under way.
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        drop(stream);
        let answer = grpc(gateway.address(), GET, &[], body.clone()).await;
        assert_eq!(answer.code(), Some(0), "{index}: {answer:?}");
    }
}
