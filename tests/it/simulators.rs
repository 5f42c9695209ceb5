use std::sync::Arc;
use std::time::Duration;

use crate::support::gateway::simulated;
use savepoint_gateway::clock::SystemClock;
use savepoint_gateway::pb::{GetSavepointRequest, ImportSavepointRequest, SavepointState};
use savepoint_gateway::rpc::reason::Reason;
use savepoint_gateway::simulator::Api;
use savepoint_gateway::simulator::{SCENARIOS, Simulator};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::support::{Gateway, Options, get_request, import_request};

fn check(name: &str, got: Option<&Status>, want: Option<Reason>) {
    let got = got.map(|status| {
        let details = status.get_error_details();
        (status.code(), details.error_info().expect(name).reason.clone())
    });
    let want = want.map(|failure| (failure.row().code, failure.row().name.to_owned()));
    assert_eq!(got, want, "{name}");
}

#[tokio::test]
async fn every_scenario_ends_with_its_reason() {
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start(Api::Huawei, clock.clone()).await.unwrap();
    let alibaba = Simulator::start(Api::Alibaba, clock).await.unwrap();
    let options = Options::none().with(|config| config.providers = simulated(&huawei, &alibaba));
    let gateway = Gateway::start(options).await;
    let mut client = gateway.wire_client().await;
    client.import_savepoint(import_request()).await.unwrap();
    client.get_savepoint(get_request()).await.unwrap();
    for scenario in SCENARIOS {
        // Only one scenario waits for the deadline.
        let timeout = if scenario.name == "silence" { 300 } else { 20_000 };
        let timeout = Duration::from_millis(timeout);
        let mut import =
            Request::new(ImportSavepointRequest { job_id: scenario.job_id, ..import_request() });
        let mut get = Request::new(GetSavepointRequest {
            savepoint_id: format!("simulate-{}", scenario.name),
            ..get_request()
        });
        import.set_timeout(timeout);
        get.set_timeout(timeout);
        let import = client.import_savepoint(import).await;
        check(scenario.name, import.as_ref().err(), scenario.import);
        let get = client.get_savepoint(get).await;
        check(scenario.name, get.as_ref().err(), scenario.get);
        if scenario.name == "failed-savepoint" {
            let status = get.unwrap().into_inner().savepoint.unwrap().status.unwrap();
            assert_eq!(status.state(), SavepointState::Failed);
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start(Api::Huawei, clock.clone()).await.unwrap();
    let alibaba = Simulator::start(Api::Alibaba, clock).await.unwrap();
    let gateway = Gateway::start(Options {
        huawei: Some(format!("http://{}", huawei.address())),
        alibaba: Some(format!("http://{}", alibaba.address())),
        ..Options::none()
    })
    .await;
    let mut client = gateway.client().await;
    let import = client.import_savepoint(import_request()).await.unwrap_err();
    check("import", Some(&import), Some(Reason::CredentialsRejected));
    let get = client.get_savepoint(get_request()).await.unwrap_err();
    check("get", Some(&get), Some(Reason::CredentialsRejected));
}
