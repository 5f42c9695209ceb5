use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use savepoint_gateway::clock::FixedClock;
use savepoint_gateway::credential::{Credential, Credentials};
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::pb::ImportSavepointRequest;
use savepoint_gateway::providers::huawei::{EcsAgency, Project, ProjectLookup, sign};
use savepoint_gateway::secret::Secret;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::credentials::{HUAWEI_KEY, success, unavailable};
use super::operators::{admin_get, ready};
use super::rotation::{metric, metric_is};
use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use crate::support::{
    FakeCloud, Gateway, LONG, Options, PROJECT_ID, Recorded, Reply, eventually, import_request,
    pass,
};

/// As recorded from Huawei's Python SDK.
const FOUND: &str = r#"{"links": {"self": "x"}, "projects": [{"domain_id": "d", "is_domain": false, "parent_id": "d", "name": "cn-north-4", "id": "0605767b3300d5762fb7c0186d9e1779", "enabled": true}]}"#;
const KNOWN: &str = r#"savepoint_gateway_project_known{provider="huawei-dli"}"#;
const FAILED: &str =
    r#"savepoint_gateway_project_lookups_total{provider="huawei-dli",outcome="failure"}"#;

fn is_lookup(request: &Recorded) -> bool {
    request.path().starts_with("/v3/projects")
}

fn nameless() -> ImportSavepointRequest {
    ImportSavepointRequest { project_id: String::new(), ..import_request() }
}

fn options(cloud: &FakeCloud) -> Options {
    let iam = Endpoint::parse(&cloud.endpoint(), false).unwrap();
    Options {
        huawei: Some(cloud.endpoint()),
        project: Project::Lookup(Arc::new(ProjectLookup::new(iam, "cn-north-4"))),
        ..Options::none()
    }
}

async fn import(gateway: &Gateway, request: ImportSavepointRequest) -> Result<(), Status> {
    gateway.client().await.import_savepoint(request).await.map(|_| ())
}

fn calls(cloud: &FakeCloud) -> usize {
    cloud.count_where(|request| request.path().starts_with("/v1.0/"))
}

fn lookups(cloud: &FakeCloud) -> usize {
    cloud.count_where(is_lookup)
}

#[tokio::test]
async fn the_lookup_is_the_request_of_the_sdk_and_signed() {
    let cloud = FakeCloud::start(|request, _| match is_lookup(request) {
        true => Reply::json(200, FOUND),
        false => success(request),
    })
    .await;
    let now = "2026-01-15T08:30:00Z".parse().unwrap();
    let clock = Arc::new(FixedClock { now, nonce: [7; 16] });
    let gateway = Gateway::start(Options { clock, ..options(&cloud) }).await;
    import(&gateway, nameless()).await.unwrap();
    let [lookup, call] = &cloud.requests()[..] else { panic!("two requests") };
    assert_eq!(lookup.line(), "GET /v3/projects?name=cn-north-4 HTTP/1.1");
    assert_eq!(lookup.header("x-sdk-date"), Some("20260115T083000Z"));
    let request = http::Request::get(format!("{}{}", cloud.endpoint(), lookup.path()))
        .header("host", cloud.authority())
        .body(bytes::Bytes::new())
        .unwrap();
    let key = Credential::new(ACCESS_KEY_ID, Secret::new(ACCESS_KEY_SECRET), None).unwrap();
    let want = sign::stages(&request, &key, now).unwrap().authorization;
    assert!(want.contains("SignedHeaders=host;x-sdk-date,"), "{want}");
    assert_eq!(lookup.header("authorization"), Some(&*want));
    assert!(call.path().starts_with(&format!("/v1.0/{PROJECT_ID}/")), "{}", call.path());
    assert_eq!(call.header("x-project-id"), Some(PROJECT_ID));
    assert_eq!(metric(&gateway, KNOWN).await, 1);
}

#[tokio::test]
async fn a_hundred_callers_wait_for_one_lookup_and_readiness_with_them() {
    let cloud = FakeCloud::start(|request, _| match is_lookup(request) {
        true => Reply::Held(Box::new(Reply::json(200, FOUND))),
        false => success(request),
    })
    .await;
    let gateway = Gateway::start(options(&cloud)).await;
    eventually("the lookup began", || lookups(&cloud) == 1).await;
    let client = gateway.client().await;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.import_savepoint(nameless()).await })
        })
        .collect();
    // A request that names a project does not wait.
    import(&gateway, import_request()).await.unwrap();
    assert!(admin_get(&gateway, "/readyz").await.starts_with("HTTP/1.1 503"));
    cloud.release();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    ready(&gateway).await;
    assert_eq!((lookups(&cloud), calls(&cloud)), (1, 101));
}

#[tokio::test]
async fn without_the_project_only_requests_that_name_one_are_served_until_it_is_found() {
    let allowed = Arc::new(AtomicUsize::new(0));
    let cloud = FakeCloud::start({
        let allowed = Arc::clone(&allowed);
        move |request, _| match is_lookup(request) {
            true if allowed.load(Ordering::SeqCst) == 1 => Reply::json(200, FOUND),
            true => Reply::json(403, r#"{"error_code":"IAM.0003","error_msg":"hidden"}"#),
            false => success(request),
        }
    })
    .await;
    let gateway = Gateway::start(options(&cloud)).await;
    let status = import(&gateway, nameless()).await.unwrap_err();
    unavailable(&status);
    assert!(status.message().contains("not name a project"), "{status}");
    assert!(status.message().contains("HTTP 403, IAM.0003"), "{status}");
    assert!(!status.message().contains("hidden"), "{status}");
    assert_eq!(calls(&cloud), 0);
    import(&gateway, import_request()).await.unwrap();
    // An invalid field is reported, and the missing project is not blamed on the caller.
    let status =
        import(&gateway, ImportSavepointRequest { job_id: 0, ..nameless() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    let fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["job_id"]);
    // It serves, and reports what it cannot serve.
    let served =
        async { while !admin_get(&gateway, "/readyz").await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(LONG, served).await.unwrap();
    let readyz = admin_get(&gateway, "/readyz").await;
    let line = "ok\nhuawei-dli: no project for requests that do not name one: Huawei Cloud's IAM";
    assert!(readyz.contains(line), "{readyz}");
    assert_eq!(metric(&gateway, KNOWN).await, 0);
    assert!(metric(&gateway, FAILED).await >= 1);
    // The permission is granted. A reload does not shorten the wait for the next attempt.
    allowed.store(1, Ordering::SeqCst);
    let before = lookups(&cloud);
    for _ in 0..100 {
        gateway.reload();
        tokio::task::yield_now().await;
    }
    assert_eq!(lookups(&cloud), before);
    pass(Duration::from_secs(61)).await;
    metric_is(&gateway, KNOWN, |known| known == 1).await;
    import(&gateway, nameless()).await.unwrap();
    assert!(admin_get(&gateway, "/readyz").await.ends_with("ok\n"));
}

#[tokio::test]
async fn no_project_or_several_projects_are_reported_with_a_remedy() {
    for (projects, want) in [
        (r#"{"projects": []}"#, "has no project \"cn-north-4\""),
        (r#"{"projects": [{"id": "p1"}, {"id": "p2"}]}"#, "has 2 projects \"cn-north-4\""),
    ] {
        let cloud = FakeCloud::answering(Reply::json(200, projects)).await;
        let gateway = Gateway::start(options(&cloud)).await;
        let status = import(&gateway, nameless()).await.unwrap_err();
        unavailable(&status);
        assert!(status.message().contains(want), "{status}");
        assert!(status.message().contains("set --huawei-project-id"), "{status}");
    }
}

/// The lookup begins as soon as there is a credential to sign it with.
#[tokio::test]
async fn a_late_credential_starts_the_lookup() {
    let granted = Arc::new(AtomicUsize::new(0));
    let cloud = FakeCloud::start({
        let granted = Arc::clone(&granted);
        move |request, _| match request.path() {
            "/meta-data/latest/api/token" => Reply::text(200, "text/plain", "T"),
            "/openstack/latest/securitykey" if granted.load(Ordering::SeqCst) == 1 => {
                Reply::json(200, HUAWEI_KEY)
            }
            "/openstack/latest/securitykey" => Reply::json(500, "{}"),
            _ if is_lookup(request) => Reply::json(200, FOUND),
            _ => success(request),
        }
    })
    .await;
    let endpoint = Endpoint::parse(&cloud.endpoint(), false).unwrap();
    let credentials = Credentials::refreshed(EcsAgency { endpoint }, None);
    let options = Options { credentials: Some(credentials), ..options(&cloud) };
    let gateway = Gateway::start(options).await;
    unavailable(&import(&gateway, nameless()).await.unwrap_err());
    metric_is(&gateway, FAILED, |failed| failed == 1).await;
    granted.store(1, Ordering::SeqCst);
    pass(Duration::from_secs(61)).await;
    metric_is(&gateway, KNOWN, |known| known == 1).await;
    import(&gateway, nameless()).await.unwrap();
    assert_eq!(lookups(&cloud), 1);
}
