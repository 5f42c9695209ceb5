use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{FakeCloud, Gateway, Options, Reply, Rpc, get_request, import_request};

#[tokio::test]
async fn a_provider_that_is_not_configured_is_unimplemented() {
    let gateway = Gateway::start(Options::none()).await;
    for rpc in Rpc::ALL {
        let status = rpc.call(&gateway).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{rpc:?}: {status}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "PROVIDER_NOT_CONFIGURED");
    }
}

#[tokio::test]
async fn more_calls_than_may_be_in_flight_are_refused_and_the_other_provider_is_not_affected() {
    let cloud = FakeCloud::start(|request, _| {
        let import = Reply::json(200, r#"{"is_success":true}"#);
        if request.line().starts_with("POST") { import } else { Reply::Held(Box::new(import)) }
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud).with(|config| config.max_in_flight = 2)).await;
    let mut client = gateway.client().await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.get_savepoint(get_request()).await })
        })
        .collect();
    crate::support::eventually("both calls are at the provider", || cloud.count() == 2).await;

    for rpc in [Rpc::Get, Rpc::Create, Rpc::List, Rpc::Watch] {
        let status = rpc.call(&gateway).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{rpc:?}: {status}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "GATEWAY_OVERLOADED", "{rpc:?}");
    }
    assert_eq!(cloud.count(), 2);
    client.import_savepoint(import_request()).await.unwrap();

    cloud.release();
    for call in held {
        // The held answer is not a savepoint; it only has to arrive.
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Internal);
    }
}
