use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use savepoint_gateway::credential::{Credentials, Directory, Lease, SecretFile};
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::providers::alibaba::ALIBABA;
use savepoint_gateway::providers::alibaba::Rrsa;
use savepoint_gateway::providers::huawei::HUAWEI;
use savepoint_gateway::providers::huawei::Oidc;
use savepoint_gateway::rpc::operation::Provider;

use super::credentials::{ALIBABA_KEY, HUAWEI_OIDC_KEY, success};
use super::operators::admin_get;
use crate::support::{
    FakeCloud, Folder, Gateway, LONG, Options, Recorded, Reply, eventually, get_request,
    import_request,
};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;

/// Short, so that no test waits long and the change happens under load.
const POLL: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_millis(10);

fn files(id: &'static str) -> [(&'static str, &'static str); 2] {
    [("access_key_id", id), ("access_key_secret", "exampleSecret0123456789\n")]
}

fn is_signed_with(request: &Recorded, id: &str) -> bool {
    request.header("authorization").unwrap().contains(&format!("Credential={id},"))
}

async fn gateway(cloud: &FakeCloud, source: Directory) -> Gateway {
    let first = Lease::open(source.read().unwrap());
    let credentials = Some(Credentials::refreshed(source, Some(first)));
    let alibaba = Some(cloud.endpoint());
    Gateway::start(Options { alibaba, credentials, ..Options::none() }).await
}

fn signed(cloud: &FakeCloud, id: &str) -> usize {
    cloud.count_where(|request| is_signed_with(request, id))
}

/// Which of its credentials a request carries, if any.
fn carries<'a>(request: &Recorded, names: [&'a str; 2]) -> Option<&'a str> {
    let value = request.header("authorization").or(request.header("x-auth-token"))?;
    names.into_iter().find(|name| value.contains(name))
}

/// Both providers, which refuse the old credential from some moment on.
fn provider(request: &Recorded, revoked: &AtomicBool) -> Reply {
    if carries(request, ["OLDKEY", "NEWKEY"]) == Some("OLDKEY") && revoked.load(Ordering::SeqCst) {
        return Reply::json(401, r#"{"error_code":"APIG.0301","Code":"InvalidAccessKeyId"}"#);
    }
    success(request)
}

async fn revoking_cloud() -> (FakeCloud, Arc<AtomicBool>) {
    let revoked = Arc::<AtomicBool>::default();
    let cloud = FakeCloud::start({
        let revoked = Arc::clone(&revoked);
        move |request, _| provider(request, &revoked)
    });
    (cloud.await, revoked)
}

/// Calls in a closed loop while a credential changes: none may fail, the old one is revoked
/// once calls carry the new one, and from then on no call carries it.
async fn change_under_load(
    cloud: &FakeCloud,
    gateway: &Gateway,
    calls_to: &'static Provider,
    revoked: &AtomicBool,
    change: impl AsyncFnOnce(),
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let client = gateway.client().await;
    let is_huawei = *calls_to == HUAWEI;
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, calls, enough) = (client.clone(), calls.clone(), enough.clone());
            tokio::spawn(async move {
                while !enough.load(Ordering::SeqCst) {
                    if is_huawei {
                        client.import_savepoint(import_request()).await.unwrap();
                    } else {
                        client.get_savepoint(get_request()).await.unwrap();
                    }
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let more = |count: usize| {
        let (calls, seen) = (Arc::clone(&calls), calls.load(Ordering::SeqCst));
        let stopped = load.iter().any(tokio::task::JoinHandle::is_finished);
        async move {
            assert!(!stopped, "a call failed");
            eventually("more calls", || calls.load(Ordering::SeqCst) >= seen + count).await;
        }
    };
    let is_call = |request: &Recorded| {
        request.path().starts_with("/v1.0/") || request.path().starts_with("/api/")
    };
    let carried = |name: &str| {
        let both = ["OLDKEY", "NEWKEY"];
        cloud.count_where(|request| is_call(request) && carries(request, both) == Some(name))
    };
    more(100).await;
    change().await;
    eventually("the new one is used", || carried("NEWKEY") > 0).await;
    // Calls that were begun before are through.
    more(100).await;
    let old = carried("OLDKEY");
    revoked.store(true, Ordering::SeqCst);
    more(200).await;
    enough.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    assert!(old >= 100, "{old}");
    assert_eq!(carried("OLDKEY"), old);
    assert!(carried("NEWKEY") >= 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mounted_key_changes_under_load_and_no_call_fails() {
    let (cloud, revoked) = revoking_cloud().await;
    let folder = Folder::new();
    folder.mount("1", &files("OLDKEY"));
    let source = Directory::of_key(folder.path()).with_times(POLL, SETTLE);
    let gateway = gateway(&cloud, source).await;
    change_under_load(&cloud, &gateway, &ALIBABA, &revoked, async || {
        folder.mount("2", &files("NEWKEY"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_file_changes_under_load_and_no_call_fails() {
    let (cloud, revoked) = revoking_cloud().await;
    let folder = Folder::new();
    let token = folder.write("token", "OLDKEY\n");
    let source = Directory::of_token(token).with_times(POLL, SETTLE);
    let first = Lease::open(source.read().unwrap());
    let credentials = Some(Credentials::refreshed(source, Some(first)));
    let huawei = Some(cloud.endpoint());
    let gateway = Gateway::start(Options { huawei, credentials, ..Options::none() }).await;
    change_under_load(&cloud, &gateway, &HUAWEI, &revoked, async || {
        // As a tool that writes a temporary file and renames it.
        let next = folder.write("next", "NEWKEY\n");
        std::fs::rename(next, folder.path().join("token")).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_a_token_service_changes_under_load_and_no_call_fails() {
    let (revoked, issued) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let cloud = FakeCloud::start({
        let (revoked, issued) = (Arc::clone(&revoked), Arc::clone(&issued));
        move |request, _| match request.path() {
            path if path.starts_with("/?Action=AssumeRoleWithOIDC") => {
                let name =
                    if issued.fetch_add(1, Ordering::SeqCst) == 0 { "OLDKEY" } else { "NEWKEY" };
                let key = ALIBABA_KEY.replace("STS.EXAMPLE", name);
                Reply::json(200, &format!(r#"{{"Credentials":{{{key}}}}}"#))
            }
            _ => provider(request, &revoked),
        }
    })
    .await;
    let folder = Folder::new();
    let source = Rrsa {
        endpoint: Endpoint::parse(&cloud.endpoint(), false).unwrap(),
        role_arn: "acs:ram::123:role/gw".into(),
        oidc_provider_arn: "acs:ram::123:oidc-provider/p".into(),
        token_file: SecretFile::of_token(folder.write("token", "ey.ID.TOKEN\n")),
        session_name: "gw".into(),
    };
    let credentials = Some(Credentials::refreshed(source, None));
    let alibaba = Some(cloud.endpoint());
    let gateway = Gateway::start(Options { alibaba, credentials, ..Options::none() }).await;
    change_under_load(&cloud, &gateway, &ALIBABA, &revoked, async || gateway.reload()).await;
    assert_eq!(issued.load(Ordering::SeqCst), 2);
}

pub(super) async fn metric(gateway: &Gateway, line: &str) -> u64 {
    let text = admin_get(gateway, "/metrics").await;
    text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok()).unwrap()
}

/// Waits until a metric is what it should be.
pub(super) async fn metric_is(
    gateway: &Gateway,
    line: &str,
    want: impl Fn(u64) -> bool + Send + Sync,
) {
    let waiting = async { while !want(metric(gateway, line).await) {} };
    assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never: {line}");
}

const FAILED: &str =
    r#"savepoint_gateway_credential_refreshes_total{provider="alibaba-flink",outcome="failure"}"#;

/// Hostile input 78.
#[tokio::test]
async fn files_that_cannot_be_used_change_nothing() {
    let cloud = FakeCloud::start(|_, _| Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    folder.write("access_key_id", "OLDKEY\r\n");
    folder.write("access_key_secret", "exampleSecret\n");
    let source = Directory::of_key(folder.path()).with_times(POLL, SETTLE);
    let gateway = gateway(&cloud, source).await;
    let mut client = gateway.client().await;
    let secret = folder.path().join("access_key_secret");
    let folder_instead = || std::fs::create_dir(&secret).unwrap();
    let dangling = || {
        std::fs::remove_dir(&secret).unwrap();
        std::os::unix::fs::symlink("..data/nowhere", &secret).unwrap();
    };
    let bad: [&dyn Fn(); 7] = [
        &|| drop(folder.write("access_key_secret", "")),
        &|| drop(folder.write("access_key_secret", "\u{feff}exampleSecret")),
        &|| drop(folder.write("access_key_secret", "half of\na file")),
        &|| drop(folder.write("access_key_secret", [0xff, 0x00])),
        &|| std::fs::remove_file(&secret).unwrap(),
        // Also root cannot read these.
        &folder_instead,
        &dangling,
    ];
    for spoil in bad {
        spoil();
        // Half of the new key must never be used.
        folder.write("access_key_id", "NEWKEY");
        let before = metric(&gateway, FAILED).await;
        metric_is(&gateway, FAILED, |failed| failed >= before + 3).await;
        client.get_savepoint(get_request()).await.unwrap();
    }
    assert_eq!(signed(&cloud, "NEWKEY"), 0);
    assert_eq!(signed(&cloud, "OLDKEY"), bad.len());
    std::fs::remove_file(&secret).unwrap();
    folder.write("access_key_secret", "anotherExampleSecret");
    let fresh = r#"savepoint_gateway_credential_last_refresh_success{provider="alibaba-flink"}"#;
    metric_is(&gateway, fresh, |fresh| fresh == 1).await;
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!(signed(&cloud, "NEWKEY"), 1);
}

#[tokio::test]
async fn a_reload_reads_the_files_at_once() {
    let cloud = FakeCloud::start(|_, _| Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    folder.mount("1", &files("OLDKEY"));
    let source = Directory::of_key(folder.path());
    // Never by itself within this test.
    let source = source.with_times(Duration::from_secs(3600), SETTLE);
    let gateway = gateway(&cloud, source).await;
    let mut client = gateway.client().await;
    client.get_savepoint(get_request()).await.unwrap();
    folder.mount("2", &files("NEWKEY"));
    gateway.reload();
    let replaced = r#"savepoint_gateway_credential_refreshes_total{provider="alibaba-flink",outcome="success"}"#;
    metric_is(&gateway, replaced, |replaced| replaced == 2).await;
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!((signed(&cloud, "OLDKEY"), signed(&cloud, "NEWKEY")), (1, 1));
}

/// The whole directory is swapped for a broken one, as the kubelet does with a broken secret.
#[tokio::test]
async fn a_swap_to_a_broken_version_changes_nothing() {
    let cloud = FakeCloud::start(|_, _| Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    folder.mount("1", &files("OLDKEY"));
    let source = Directory::of_key(folder.path()).with_times(POLL, SETTLE);
    let gateway = gateway(&cloud, source).await;
    let mut client = gateway.client().await;
    for (version, broken) in [
        ("2", &[("access_key_id", "NEWKEY"), ("access_key_secret", "")][..]),
        ("3", &[("access_key_id", "NEWKEY")]),
        ("4", &[]),
    ] {
        folder.mount(version, broken);
        let before = metric(&gateway, FAILED).await;
        metric_is(&gateway, FAILED, |failed| failed >= before + 2).await;
        client.get_savepoint(get_request()).await.unwrap();
    }
    assert_eq!((signed(&cloud, "OLDKEY"), signed(&cloud, "NEWKEY")), (3, 0));
    folder.mount("5", &files("NEWKEY"));
    let fresh = r#"savepoint_gateway_credential_last_refresh_success{provider="alibaba-flink"}"#;
    metric_is(&gateway, fresh, |fresh| fresh == 1).await;
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!(signed(&cloud, "NEWKEY"), 1);
}

/// A token that is sent, and one that is exchanged for a key: the old credential stays in
/// use, and the log names the file but none of its content.
#[tokio::test]
async fn a_broken_token_changes_nothing() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        "/v5/agencies/assume-with-oidc" => Reply::json(200, HUAWEI_OIDC_KEY),
        _ => success(request),
    })
    .await;
    for exchanged in [false, true] {
        let folder = Folder::new();
        let path = folder.write("token", "FIRSTTOKEN\n");
        let credentials = match exchanged {
            false => {
                let source = Directory::of_token(&path).with_times(POLL, SETTLE);
                let first = Lease::open(source.read().unwrap());
                Credentials::refreshed(source, Some(first))
            }
            true => {
                let source = Oidc {
                    endpoint: Endpoint::parse(&cloud.endpoint(), false).unwrap(),
                    provider_urn: "p".into(),
                    agency_urn: "a".into(),
                    token_file: SecretFile::of_token(&path).with_times(POLL, SETTLE),
                    session_name: "s".into(),
                    duration_seconds: 3600,
                };
                Credentials::refreshed(source, None)
            }
        };
        let (huawei, credentials) = (Some(cloud.endpoint()), Some(credentials));
        let gateway = Gateway::start(Options { huawei, credentials, ..Options::none() }).await;
        let _ = savepoint_gateway::telemetry::install(gateway.sink());
        let mut client = gateway.client().await;
        client.import_savepoint(import_request()).await.unwrap();
        let failed = r#"savepoint_gateway_credential_refreshes_total{provider="huawei-dli",outcome="failure"}"#;
        let bad: [&dyn Fn(); 6] = [
            &|| drop(folder.write("token", "")),
            &|| drop(folder.write("token", "\u{feff}hiddenToken")),
            &|| drop(folder.write("token", [0xff, 0x00])),
            &|| drop(folder.write("token", vec![b'x'; 65 * 1024])),
            &|| std::fs::remove_file(&path).unwrap(),
            &|| std::fs::create_dir(&path).unwrap(),
        ];
        for spoil in bad {
            let before = metric(&gateway, failed).await;
            spoil();
            gateway.reload();
            metric_is(&gateway, failed, |found| found > before).await;
            client.import_savepoint(import_request()).await.unwrap();
        }
        assert!(!gateway.log().contains("hiddenToken"));
    }
    let calls = cloud.requests();
    let calls = calls.iter().filter(|request| request.path().starts_with("/v1.0/"));
    let used: Vec<_> = calls.map(|call| carries(call, ["FIRSTTOKEN", "OIDCAK"])).collect();
    assert_eq!(used, [vec![Some("FIRSTTOKEN"); 7], vec![Some("OIDCAK"); 7]].concat());
}
