//! Helpers of the tests.

pub(crate) mod collector;
pub(crate) mod fake_cloud;
pub(crate) mod folder;
pub(crate) mod gateway;
pub(crate) mod process;
pub(crate) mod refusing;
pub(crate) mod rpc;

pub(crate) use fake_cloud::{FakeCloud, Recorded, Reply};
pub(crate) use folder::Folder;
pub(crate) use gateway::{Gateway, Options};
pub(crate) use process::Process;
pub(crate) use refusing::RefusingAddress;
pub(crate) use rpc::Rpc;

use std::time::Duration;

use savepoint_gateway::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    WatchSavepointRequest,
};

/// Longer than anything may take. Tests wait for conditions, not for time.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) const PROJECT_ID: &str = "0605767b3300d5762fb7c0186d9e1779";
pub(crate) const FLINK_JOB: &str = "fae2ea4e711c8a93bba26029a6f845cd";
pub(crate) const WORKSPACE: &str = "a14bd5d90a0001";
pub(crate) const DEPLOYMENT: &str = "58718c99-3b29-4c5e-93bb-c9fc4ec60001";

pub(crate) fn import_request() -> ImportSavepointRequest {
    ImportSavepointRequest {
        project_id: PROJECT_ID.into(),
        job_id: 137_228,
        savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
    }
}

pub(crate) fn get_request() -> GetSavepointRequest {
    GetSavepointRequest {
        workspace: WORKSPACE.into(),
        namespace: "default-namespace".into(),
        savepoint_id: "88a8fc49-e090-430a-85d8-3ee8c79c0001".into(),
    }
}

/// Lets this much time pass for the background tasks at once.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

pub(crate) fn watch_request() -> WatchSavepointRequest {
    let GetSavepointRequest { workspace, namespace, savepoint_id } = get_request();
    WatchSavepointRequest { workspace, namespace, savepoint_id }
}

pub(crate) fn list_request() -> ListSavepointsRequest {
    ListSavepointsRequest {
        workspace: WORKSPACE.into(),
        namespace: "default-namespace".into(),
        ..Default::default()
    }
}

pub(crate) fn create_request() -> CreateSavepointRequest {
    CreateSavepointRequest {
        workspace: WORKSPACE.into(),
        namespace: "default-namespace".into(),
        deployment_id: DEPLOYMENT.into(),
        ..Default::default()
    }
}

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool + Send + Sync) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never: {what}");
}
