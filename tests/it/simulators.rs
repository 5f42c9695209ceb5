use std::sync::Arc;
use std::time::Duration;

use crate::support::gateway::simulated;
use savepoint_gateway::clock::SystemClock;
use savepoint_gateway::gateway::Providers;
use savepoint_gateway::pb::flink;
use savepoint_gateway::pb::flink::flink_service_client::FlinkServiceClient;
use savepoint_gateway::pb::flink::resume_job_request::Restore;
use savepoint_gateway::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    SavepointState, WatchSavepointRequest,
};
use savepoint_gateway::rpc::reason::Reason;
use savepoint_gateway::simulator::Api;
use savepoint_gateway::simulator::{SCENARIOS, Simulator};
use savepoint_gateway::upstream::WatchLimits;
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::support::{Gateway, Options, get_request, import_request};

/// A gateway that controls jobs, in front of both simulators.
pub(crate) struct Simulated {
    pub(crate) gateway: Gateway,
    _simulators: [Simulator; 2],
}

pub(crate) async fn both() -> Simulated {
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start(Api::Huawei, clock.clone()).await.unwrap();
    let alibaba = Simulator::start(Api::Alibaba, clock).await.unwrap();
    let options = Options::none().with(|config| {
        config.providers = simulated(&huawei, &alibaba);
        config.job_control = true;
        config.watch_limits =
            WatchLimits { heartbeat: Duration::from_millis(20), ..WatchLimits::default() };
    });
    Simulated { gateway: Gateway::start(options).await, _simulators: [huawei, alibaba] }
}

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
        // The others select it by their deployment.
        let deployment_id = format!("simulate-{}", scenario.name);
        let mut list = Request::new(ListSavepointsRequest {
            workspace: get_request().workspace,
            namespace: get_request().namespace,
            deployment_id: deployment_id.clone(),
            ..Default::default()
        });
        let mut create = Request::new(CreateSavepointRequest {
            workspace: get_request().workspace,
            namespace: get_request().namespace,
            deployment_id,
            ..Default::default()
        });
        list.set_timeout(timeout);
        create.set_timeout(timeout);
        check(scenario.name, client.list_savepoints(list).await.as_ref().err(), scenario.get);
        check(scenario.name, client.create_savepoint(create).await.as_ref().err(), scenario.get);
        if scenario.name == "failed-savepoint" {
            let status = get.unwrap().into_inner().savepoint.unwrap().status.unwrap();
            assert_eq!(status.state(), SavepointState::Failed);
        }
    }
}

#[tokio::test]
async fn every_scenario_ends_with_its_reason_on_a_cluster_too() {
    let simulator = Simulator::start(Api::Flink, Arc::new(SystemClock)).await.unwrap();
    let options = Options::none().with(|config| {
        config.providers = Providers::from(simulator.flink_setup("local").unwrap());
        config.job_control = true;
    });
    let gateway = Gateway::start(options).await;
    let client = &mut FlinkServiceClient::new(gateway.wire().await);
    for scenario in SCENARIOS {
        fn within<T>(name: &str, message: T) -> Request<T> {
            let mut request = Request::new(message);
            // Only one scenario waits for the deadline.
            let timeout = if name == "silence" { 300 } else { 20_000 };
            request.set_timeout(Duration::from_millis(timeout));
            request
        }
        let name = scenario.name;
        let job_id = scenario.flink_job();
        let job = flink::GetJobRequest { job_id: job_id.clone(), ..Default::default() };
        let job = client.get_job(within(name, job)).await;
        check(name, job.as_ref().err(), scenario.get);
        let jar = flink::ResumeJobRequest {
            jar_id: format!("simulate-{name}"),
            restore: Some(Restore::WithoutState(true)),
            ..Default::default()
        };
        check(name, client.resume_job(within(name, jar)).await.as_ref().err(), scenario.get);
        let trigger =
            flink::TriggerSavepointRequest { job_id: job_id.clone(), ..Default::default() };
        let begun = client.trigger_savepoint(within(name, trigger)).await;
        check(name, begun.as_ref().err(), scenario.get);
        if name == "failed-savepoint" {
            let trigger_id = begun.unwrap().into_inner().trigger_id;
            let watch = flink::WatchSavepointRequest { job_id, trigger_id, ..Default::default() };
            let mut watch = client.watch_savepoint(watch).await.unwrap().into_inner();
            let mut last = None;
            while let Some(message) = watch.message().await.unwrap() {
                last = message.savepoint.unwrap().status.map(|status| status.state());
            }
            assert_eq!(last, Some(SavepointState::Failed));
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

#[tokio::test]
async fn a_savepoint_that_was_created_is_listed_and_ends_while_it_is_watched() {
    let Simulated { gateway, .. } = &both().await;
    let mut client = gateway.wire_client().await;
    for (deployment, end) in [
        ("deployment-1", SavepointState::Completed),
        ("simulate-failed-savepoint", SavepointState::Failed),
    ] {
        let create = CreateSavepointRequest {
            workspace: get_request().workspace,
            namespace: get_request().namespace,
            deployment_id: deployment.into(),
            description: "before the upgrade".into(),
            native_format: Some(false),
        };
        let created = client.create_savepoint(create).await.unwrap().into_inner();
        let created = created.savepoint.unwrap();
        assert_eq!(created.description, "before the upgrade");
        assert_eq!(created.native_format, Some(false));
        let watch = WatchSavepointRequest {
            workspace: get_request().workspace,
            namespace: get_request().namespace,
            savepoint_id: created.savepoint_id.clone(),
        };
        let mut watch = client.watch_savepoint(watch).await.unwrap().into_inner();
        let mut states = Vec::new();
        while let Some(message) = watch.message().await.unwrap() {
            states.push(message.savepoint.unwrap().status.unwrap().state());
        }
        states.dedup();
        assert_eq!(states, [SavepointState::Started, end]);
        let list = ListSavepointsRequest {
            workspace: get_request().workspace,
            namespace: get_request().namespace,
            deployment_id: deployment.into(),
            page_size: 1,
            ..Default::default()
        };
        let listed = client.list_savepoints(list).await.unwrap().into_inner();
        assert_eq!(listed.savepoints.len(), 1);
        assert_eq!(listed.savepoints[0].savepoint_id, created.savepoint_id);
        assert_eq!((listed.total_size, &*listed.next_page_token), (1, ""));
    }
}
