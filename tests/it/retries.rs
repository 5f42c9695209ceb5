use tonic::Code;

use crate::support::{FakeCloud, Gateway, Options, Reply, Rpc, get_request, import_request};

const GOT: &str = r#"{"success":true,"data":{"savepointId":"s"}}"#;
const IMPORTED: &str = r#"{"is_success":true}"#;

/// A success of any RPC.
fn got(rpc: Rpc) -> String {
    let data = rpc.data(r#"{"savepointId":"s"}"#);
    format!(r#"{{"is_success":true,"success":true,"data":{data}}}"#)
}

#[tokio::test]
async fn a_read_is_retried_until_it_succeeds_and_signed_anew_each_time() {
    for (rpc, first) in [
        Reply::json(503, "{}"),
        Reply::json(502, "{}"),
        Reply::json(429, "{}"),
        Reply::json(400, r#"{"Code":"Throttling.User"}"#),
        Reply::Raw(vec![]),
        Reply::RawReset(vec![]),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()),
    ]
    .into_iter()
    .flat_map(|first| [Rpc::Get, Rpc::List, Rpc::Watch].map(|rpc| (rpc, first.clone())))
    {
        let shown = format!("{rpc:?}, {first:?}");
        let cloud = FakeCloud::start(move |_, before| match before {
            0 | 1 => first.clone(),
            _ => Reply::json(200, &got(rpc)),
        })
        .await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let result = rpc.call(&gateway).await;
        assert!(result.is_ok(), "{shown}: {result:?}");
        let requests = cloud.requests();
        assert_eq!(requests.len(), 3, "{shown}");
        let mut nonces: Vec<_> =
            requests.iter().map(|r| r.header("x-acs-signature-nonce").unwrap()).collect();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 3, "{shown}");
        // The attempts of a watch are those of its polls.
        assert!(rpc == Rpc::Watch || gateway.log().contains(r#""attempts":3"#), "{shown}");
    }
}

#[tokio::test]
async fn a_change_is_retried_only_when_it_was_certainly_not_applied() {
    for (rpc, first, requests) in [
        (Reply::json(429, "{}"), 2),
        (Reply::json(429, r#"{"error_code":"APIG.0308"}"#), 2),
        (Reply::json(503, "{}"), 1),
        (Reply::json(502, "{}"), 1),
        (Reply::json(500, "{}"), 1),
        (Reply::json(504, "{}"), 1),
        (Reply::Raw(vec![]), 1),
        (Reply::RawReset(vec![]), 1),
        (Reply::json(401, "{}"), 1),
        (Reply::json(403, "{}"), 1),
        (Reply::json(200, "<html>"), 1),
    ]
    .into_iter()
    .flat_map(|(first, requests)| Rpc::CHANGES.map(|rpc| (rpc, first.clone(), requests)))
    {
        let shown = format!("{rpc:?}, {first:?}");
        let cloud = FakeCloud::start(move |_, before| match before {
            0 => first.clone(),
            _ => Reply::json(200, &got(rpc)),
        })
        .await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let result = rpc.call(&gateway).await;
        assert_eq!(result.is_ok(), requests == 2, "{shown}: {result:?}");
        assert_eq!(cloud.count(), requests, "{shown}");
    }
}

#[tokio::test]
async fn a_rejected_credential_is_never_retried() {
    let cloud = FakeCloud::answering(Reply::json(401, r#"{"error_code":"APIG.0301"}"#)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for calls in 1..=3 {
        let status = client.import_savepoint(import_request()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(cloud.count(), calls);
    }
}

#[tokio::test]
async fn retries_to_a_failing_provider_are_limited() {
    let cloud = FakeCloud::answering(Reply::json(503, "{}")).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for _ in 0..1000 {
        client.get_savepoint(get_request()).await.unwrap_err();
    }
    // A tenth for each call, and what was saved up before.
    assert!((1100..=1151).contains(&cloud.count()), "{}", cloud.count());
}

#[tokio::test]
async fn an_idle_connection_that_the_provider_closed_costs_no_call() {
    // Each answer announces keep-alive, and closes all the same.
    let cloud = FakeCloud::start(|request, _| {
        let body = if request.line().starts_with("POST") { IMPORTED } else { GOT };
        Reply::Raw(
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes(),
        )
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for _ in 0..20 {
        client.get_savepoint(get_request()).await.unwrap();
    }
}
