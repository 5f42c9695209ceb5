use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use savepoint_gateway::credential::{Credentials, Directory, Lease};

use super::operators::admin_get;
use crate::support::{
    FakeCloud, Folder, Gateway, LONG, Options, Recorded, Reply, eventually, get_request,
};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;

/// Soon, so that no test waits long, and often enough that a load meets it.
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
    let credentials = Some(Credentials::cached(source, Some(first)));
    let alibaba = Some(cloud.endpoint());
    Gateway::start(Options { alibaba, credentials, ..Options::none() }).await
}

fn signed(cloud: &FakeCloud, id: &str) -> usize {
    cloud.requests().iter().filter(|request| is_signed_with(request, id)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_changes_under_load_and_no_call_fails() {
    let revoked = Arc::new(AtomicBool::new(false));
    let cloud = FakeCloud::start({
        let revoked = Arc::clone(&revoked);
        move |request, _| {
            if is_signed_with(request, "OLDKEY") && revoked.load(Ordering::SeqCst) {
                Reply::json(403, r#"{"Code":"InvalidAccessKeyId.Inactive"}"#)
            } else {
                Reply::json(200, SAVEPOINT)
            }
        }
    })
    .await;
    let folder = Folder::new();
    folder.mount("1", &files("OLDKEY"));
    let source = Directory::of_key(folder.path()).with_times(POLL, SETTLE);
    let gateway = gateway(&cloud, source).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let client = gateway.client().await;
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, calls, enough) = (client.clone(), calls.clone(), enough.clone());
            tokio::spawn(async move {
                while !enough.load(Ordering::SeqCst) {
                    client.get_savepoint(get_request()).await.unwrap();
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let more = |count: usize| {
        let (calls, seen) = (Arc::clone(&calls), calls.load(Ordering::SeqCst));
        async move {
            eventually("more calls", || calls.load(Ordering::SeqCst) >= seen + count).await;
        }
    };
    more(100).await;
    folder.mount("2", &files("NEWKEY"));
    let is_new =
        || cloud.requests().last().is_some_and(|request| is_signed_with(request, "NEWKEY"));
    eventually("the new key signs", is_new).await;
    // Calls that were signed before are through.
    more(100).await;
    let old = signed(&cloud, "OLDKEY");
    revoked.store(true, Ordering::SeqCst);
    more(200).await;
    enough.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    assert!(old >= 100);
    assert_eq!(signed(&cloud, "OLDKEY"), old);
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

const FAILED: &str = r#"credential_refreshes_total{provider="alibaba-flink",outcome="failure"}"#;

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
    let bad: [&dyn Fn(); 5] = [
        &|| drop(folder.write("access_key_secret", "")),
        &|| drop(folder.write("access_key_secret", "\u{feff}exampleSecret")),
        &|| drop(folder.write("access_key_secret", "half of\na file")),
        &|| drop(folder.write("access_key_secret", [0xff, 0x00])),
        &|| std::fs::remove_file(&secret).unwrap(),
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
    folder.write("access_key_secret", "anotherExampleSecret");
    let fresh = r#"credential_last_refresh_success{provider="alibaba-flink"}"#;
    metric_is(&gateway, fresh, |fresh| fresh == 1).await;
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!(signed(&cloud, "NEWKEY"), 1);
}

#[tokio::test]
async fn an_operator_makes_files_be_read_at_once() {
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
    let replaced = r#"credential_refreshes_total{provider="alibaba-flink",outcome="success"}"#;
    metric_is(&gateway, replaced, |replaced| replaced == 2).await;
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!((signed(&cloud, "OLDKEY"), signed(&cloud, "NEWKEY")), (1, 1));
}
