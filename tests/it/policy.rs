//! What a policy refuses reaches neither a provider nor its limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::pb::{GetSavepointRequest, ImportSavepointRequest};
use savepoint_gateway::policy::{Enforcement, PolicyFile};
use savepoint_gateway::providers::huawei::Project;
use savepoint_gateway::service::OPERATIONS;
use savepoint_gateway::telemetry::LevelFilter;
use savepoint_gateway::tls::{ClientAuth, ServerTls, TlsFiles};
use tokio::net::UnixStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::callers::{calls, dns, uri};
use crate::operators::admin_get;
use crate::support::gateway::Wire;
use crate::support::{
    FakeCloud, Folder, Gateway, LONG, Options, PROJECT_ID, Process, Reply, Rpc, WORKSPACE,
    eventually, get_request, import_request, watch_request,
};
use crate::tls::{Authority, Caller, write};
use crate::watch::savepoint;

const EVERYTHING: &str = r#"
[[allow]]
callers = ["*"]
methods = ["savepoint.v1.SavepointService/*", "savepoint.dli.v1.DliService/*", "savepoint.flink.v1.FlinkService/*"]
"#;

const NOTHING: &str = "";

/// A success of any RPC of the clouds.
const SUCCESS: &str = r#"{"is_success":true,"success":true,"data":{"savepointId":"s"}}"#;

fn file(folder: &Folder, text: &str) -> (PathBuf, Arc<PolicyFile>) {
    let path = folder.write("policy.toml", text);
    let file = PolicyFile::load(&path, OPERATIONS).unwrap();
    (path, Arc::new(file.with_times(Duration::from_millis(10), Duration::ZERO)))
}

fn under(options: Options, folder: &Folder, text: &str) -> Options {
    let (_, file) = file(folder, text);
    options.with(|config| config.server.policy = Some(Enforcement { file, dry_run: false }))
}

/// Rules that allow everyone every RPC with these lines.
fn within(lines: &str) -> String {
    format!("{EVERYTHING}{lines}\n")
}

fn is_refused(status: &Status) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.reason, "CALLER_NOT_ALLOWED");
    for value in [PROJECT_ID, WORKSPACE, "default-namespace", "fake"] {
        assert!(!format!("{status:?}{info:?}").contains(value), "{value} in {status:?}");
    }
}

/// For every RPC: by its caller, and by each value that it would use.
#[tokio::test]
async fn nothing_that_is_refused_reaches_a_provider_or_its_limits() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    let values = r#"workspaces = ["w"]
projects = ["p"]
clusters = ["c"]"#;
    for text in [NOTHING.to_owned(), within(values)] {
        // A call that took a place would find none.
        let options = Options::at(&cloud).with(|config| {
            config.max_in_flight = 1;
            config.watch_limits.max_watches = 1;
        });
        let gateway = Gateway::start(under(options, &folder, &text)).await;
        for rpc in Rpc::ALL.into_iter().chain(Rpc::ALL) {
            let status = rpc.call(&gateway).await.unwrap_err();
            is_refused(&status);
            let info = status.get_error_details().error_info().unwrap().clone();
            let outcome = rpc.changes_something().then_some("not_applied");
            assert_eq!(info.metadata.get("outcome").map(String::as_str), outcome, "{rpc:?}");
        }
        let page = admin_get(&gateway, "/metrics").await;
        assert!(
            page.contains(r#"savepoint_gateway_policy_refusals_total{mode="enforced"} 30"#),
            "{page}"
        );
        for line in
            page.lines().filter(|line| line.contains("http_client") || line.contains("shed"))
        {
            let is_zero = line.ends_with(" 0") || line.ends_with(" 0.0");
            assert!(line.starts_with('#') || is_zero, "{line}");
        }
    }
    assert_eq!(cloud.count(), 0);
}

/// Every handler asks the policy: one that did not would fail as a bug.
#[tokio::test]
async fn every_rpc_that_is_allowed_reaches_its_provider() {
    let folder = Folder::new();
    let values = format!(
        "workspaces = [\"{WORKSPACE}\"]\nnamespaces = [\"default-namespace\"]\n\
         projects = [\"{PROJECT_ID}\"]\nclusters = [\"fake\"]"
    );
    for text in [EVERYTHING.to_owned(), within(&values)] {
        let cloud = FakeCloud::answering(Reply::json(403, "{}")).await;
        let gateway = Gateway::start(under(Options::at(&cloud), &folder, &text)).await;
        for (calls, rpc) in (1..).zip(Rpc::ALL) {
            let status = rpc.call(&gateway).await.unwrap_err();
            let reason = status.get_error_details().error_info().unwrap().reason.clone();
            assert_eq!(reason, "PROVIDER_PERMISSION_DENIED", "{rpc:?}: {status}");
            assert_eq!(cloud.count(), calls, "{rpc:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_leaves_its_scope_open_is_judged_by_the_configured_one() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    for (workspace, project, allowed) in [
        ("configured", "configured", true),
        ("other", "other", false),
        // Not by what the request leaves out.
        ("", "", false),
    ] {
        let options = Options {
            workspace: Some("configured".into()),
            project: Project::Id("configured".into()),
            ..Options::at(&cloud)
        };
        let listed = |name: &str, value: &str| match value {
            "" => format!("{name} = [\"x\"]\n"),
            value => format!("{name} = [\"{value}\"]\n"),
        };
        let lines = listed("workspaces", workspace) + &listed("projects", project);
        let gateway = Gateway::start(under(options, &folder, &within(&lines))).await;
        let mut client = gateway.client().await;
        let get = GetSavepointRequest { workspace: String::new(), ..get_request() };
        let import = ImportSavepointRequest { project_id: String::new(), ..import_request() };
        let got = client.get_savepoint(get).await.map(drop);
        let imported = client.import_savepoint(import).await.map(drop);
        for result in [got, imported] {
            assert_eq!(result.is_ok(), allowed, "{workspace:?}: {result:?}");
            let _ = result.map_err(|status| is_refused(&status));
        }
    }
}

#[tokio::test]
async fn invalid_requests_are_told_before_their_scope_is_judged() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    let text = within("projects = [\"p\"]");
    let gateway = Gateway::start(under(Options::at(&cloud), &folder, &text)).await;
    let invalid = ImportSavepointRequest::default();
    let status = gateway.client().await.import_savepoint(invalid).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn a_caller_is_judged_by_its_certificate() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let client_ca = Some((folder.write("ca.crt", &ca.pem), ClientAuth::Optional));
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    let text = r#"
        [[allow]]
        callers = ["spiffe://prod.example/ns/flink/*", "dns:jobs.example", "cn:jobs"]
        methods = ["savepoint.v1.SavepointService/GetSavepoint"]
    "#;
    let options = Options::at(&cloud).with(|config| config.server.tls = Some(Arc::new(tls)));
    let gateway = Gateway::start(under(options, &folder, text)).await;
    for (names, common_name, allowed) in [
        (vec![uri("spiffe://prod.example/ns/flink/a")], "x", true),
        (vec![uri("spiffe://prod.example/ns/flink/a/b")], "x", false),
        (vec![uri("spiffe://prod.example/ns/other/a")], "jobs", false),
        (vec![dns("jobs.example"), dns("other.example")], "x", true),
        (vec![dns("other.example"), dns("jobs.example")], "jobs", false),
        (vec![dns("jobs.example"), uri("spiffe://prod.example/x")], "jobs", false),
        (vec![], "jobs", true),
        (vec![], "dns:jobs.example", false),
        (vec![], "Jobs", false),
    ] {
        let shows = Some(ca.client(names, common_name));
        let version = &rustls::version::TLS13;
        let caller = Caller { believes: &ca, shows, version };
        assert_eq!(caller.call(&gateway).await, allowed, "{common_name}");
    }
    let nobody = Caller { believes: &ca, shows: None, version: &rustls::version::TLS12 };
    assert!(!nobody.call(&gateway).await);
}

/// As root also with another user's socket.
#[tokio::test]
async fn a_caller_is_judged_by_its_user() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    let own = rustix::process::getuid().as_raw();
    let text = format!(
        "[[allow]]\ncallers = [\"uid:{own}\"]\nmethods = [\"savepoint.v1.SavepointService/*\"]\n"
    );
    let policy = folder.write("policy.toml", &text);
    let socket = folder.path().join("grpc.sock");
    let args = [
        format!("--alibaba-endpoint={}", cloud.endpoint()),
        format!("--listen=unix:{}", socket.display()),
        "--socket-mode=0666".to_owned(),
        "--admin-listen=127.0.0.1:0".to_owned(),
        format!("--policy={}", policy.display()),
    ];
    let process = Process::serve(
        &args,
        &[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        ],
    );
    process.address().await;
    let call = async |stream: std::os::unix::net::UnixStream| {
        stream.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(stream).unwrap();
        let wire = Wire::over(stream).await.unwrap();
        SavepointServiceClient::new(wire).get_savepoint(get_request()).await.map(drop)
    };
    call(std::os::unix::net::UnixStream::connect(&socket).unwrap()).await.unwrap();
    if own != 0 {
        eprintln!("SKIPPED: only root can be another user");
        return;
    }
    let folder_of_socket = folder.path().to_owned();
    // Only this thread becomes another user.
    let other = std::thread::spawn(move || {
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&folder_of_socket, open).unwrap();
        let user = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        std::os::unix::net::UnixStream::connect(&socket).unwrap()
    });
    is_refused(&call(other.join().unwrap()).await.unwrap_err());
    process.signal("TERM");
    let (_, said) = process.ended().await;
    let callers: Vec<_> = calls(&said).into_iter().map(|line| line["caller"].clone()).collect();
    assert_eq!(callers, ["uid:0", "uid:65534"]);
}

#[tokio::test]
async fn pages_and_probes_meet_the_policy_as_others_do() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    let options = Options::at(&cloud).with(|config| {
        config.server.grpc_web_origins = vec![HeaderValue::from_static("https://page.example")];
    });
    let gateway = Gateway::start(under(options, &folder, NOTHING)).await;
    let (head, _) = crate::web::call(&gateway, "https://page.example").await;
    assert!(head.contains("grpc-status: 7"), "{head}");
    assert_eq!(cloud.count(), 0);
    let mut health = crate::operators::health(&gateway).await;
    assert_eq!(crate::operators::check(&mut health, "").await, Ok("SERVING"));
    assert_eq!(crate::reflection::listed(&gateway).await, 5);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_refused_and_refuses_nothing() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    let text = within("workspaces = [\"w\"]");
    let (_, file) = file(&folder, &text);
    let options = Options { log_level: LevelFilter::INFO, ..Options::at(&cloud) }
        .with(|config| config.server.policy = Some(Enforcement { file, dry_run: true }));
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    client.get_savepoint(get_request()).await.unwrap();
    client.import_savepoint(import_request()).await.unwrap();
    let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop((stream, client));
    eventually("the watch is logged", || calls(&gateway.log()).len() == 3).await;
    let lines = calls(&gateway.log());
    let found: Vec<_> = lines.iter().map(|line| line.get("policy").cloned()).collect();
    let would = Some("would_refuse".into());
    assert_eq!(found, [would.clone(), None, would], "{lines:?}");
    let page = admin_get(&gateway, "/metrics").await;
    assert!(
        page.contains(r#"savepoint_gateway_policy_refusals_total{mode="dry_run"} 2"#),
        "{page}"
    );
    assert!(
        page.contains(r#"savepoint_gateway_policy_refusals_total{mode="enforced"} 0"#),
        "{page}"
    );
}

#[tokio::test]
async fn a_changed_policy_is_used_and_a_broken_one_is_not() {
    let cloud = FakeCloud::answering(Reply::json(200, SUCCESS)).await;
    let folder = Folder::new();
    let (path, file) = file(&folder, EVERYTHING);
    let options = Options::at(&cloud)
        .with(|config| config.server.policy = Some(Enforcement { file, dry_run: false }));
    let gateway = Arc::new(Gateway::start(options).await);
    // Load under way: each call is either allowed or refused, and nothing else.
    let load = tokio::spawn({
        let gateway = Arc::clone(&gateway);
        async move {
            let mut client = gateway.client().await;
            for _ in 0..300 {
                if let Err(status) = client.get_savepoint(get_request()).await {
                    is_refused(&status);
                }
            }
        }
    });
    let mut client = gateway.client().await;
    let mut settles = async |allowed: bool, what: &str| {
        let waiting = async {
            while client.get_savepoint(get_request()).await.is_ok() != allowed {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never: {what}");
    };
    settles(true, "allowed").await;
    std::fs::write(&path, NOTHING).unwrap();
    settles(false, "refused after a change").await;
    std::fs::write(&path, EVERYTHING).unwrap();
    settles(true, "allowed again").await;
    for (failures, broken) in
        ["[[allow]\n", "[[allow]]\ncallers = [\"uid:1\"]\n", "x = 1"].into_iter().enumerate()
    {
        std::fs::write(&path, broken).unwrap();
        let told = format!(
            r#"savepoint_gateway_policy_reloads_total{{outcome="failure"}} {}"#,
            failures + 1
        );
        let waiting = async {
            while !admin_get(&gateway, "/metrics").await.contains(&told) {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "never: {told}");
        settles(true, "still allowed").await;
    }
    std::fs::remove_file(&path).unwrap();
    settles(true, "still allowed without a file").await;
    std::fs::write(&path, NOTHING).unwrap();
    settles(false, "refused after the repair").await;
    load.await.unwrap();
}

#[tokio::test]
async fn a_watch_ends_when_its_right_does() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let folder = Folder::new();
    let (path, file) = file(&folder, EVERYTHING);
    let options = crate::watch::quick(&cloud)
        .with(|config| config.server.policy = Some(Enforcement { file, dry_run: false }));
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    let watch = |workspace: &str| {
        let mut request = watch_request();
        request.workspace = workspace.to_owned();
        request
    };
    let mut loses = client.watch_savepoint(watch("loses")).await.unwrap().into_inner();
    let mut keeps = client.watch_savepoint(watch("keeps")).await.unwrap().into_inner();
    loses.message().await.unwrap().unwrap();
    keeps.message().await.unwrap().unwrap();
    std::fs::write(&path, within("workspaces = [\"keeps\"]")).unwrap();
    let status = loop {
        if let Err(status) = tokio::time::timeout(LONG, loses.message()).await.expect("an end") {
            break status;
        }
    };
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    // Who joins a watch of others is judged, too.
    let status = client.watch_savepoint(watch("loses")).await.unwrap_err();
    is_refused(&status);
    keeps.message().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broken_policy_stops_the_start_with_every_mistake() {
    let folder = Folder::new();
    let policy = folder.write(
        "policy.toml",
        "[[allow]]\ncallers = [\"me\"]\nmethods = [\"x\"]\n[[allow]]\ncallers = [\"uid:1\"]\n",
    );
    let variables = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
    ];
    let args = [
        "--alibaba-endpoint=http://127.0.0.1:9".to_owned(),
        format!("--policy={}", policy.display()),
    ];
    let (status, said) = Process::serve(&args, &variables).ended().await;
    assert_eq!(status.code(), Some(2), "{said}");
    for part in [
        "--policy (SAVEPOINT_GATEWAY_POLICY)",
        "line 2: \"me\" is no caller",
        "line 3: \"x\" fits no RPC",
        "line 4: the rule has no methods",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn a_caller_that_fills_its_share_leaves_the_rest_to_others() {
    let cloud = FakeCloud::start(|request, _| match request.path().contains("slow") {
        true => Reply::Silence,
        false => Reply::json(200, SUCCESS),
    })
    .await;
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let client_ca = Some((folder.write("ca.crt", &ca.pem), ClientAuth::Optional));
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    let options = Options::at(&cloud).with(|config| {
        config.server.tls = Some(Arc::new(tls));
        config.max_in_flight = 4;
        config.max_in_flight_per_caller = Some(2);
        config.watch_limits.max_watches_per_caller = Some(1);
    });
    let gateway = Gateway::start(options).await;
    let of = async |name: &str| {
        let shows = Some(ca.client(vec![], name));
        let caller = Caller { believes: &ca, shows, version: &rustls::version::TLS13 };
        let wire = Wire::over(caller.connect(&gateway).await.unwrap()).await.unwrap();
        SavepointServiceClient::new(wire)
    };
    let slow = || GetSavepointRequest { savepoint_id: "slow".into(), ..get_request() };
    // A second connection of the same caller has no share of its own.
    let (mut greedy, mut again, mut other) =
        (of("greedy").await, of("greedy").await, of("other").await);
    let waiting: Vec<_> = [greedy.clone(), again.clone()]
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.get_savepoint(slow()).await }))
        .collect();
    eventually("its share is full", || cloud.count() == 2).await;
    for client in [&mut greedy, &mut again] {
        let status = client.get_savepoint(get_request()).await.unwrap_err();
        let reason = status.get_error_details().error_info().unwrap().reason.clone();
        assert_eq!(reason, "GATEWAY_OVERLOADED", "{status}");
    }
    other.get_savepoint(get_request()).await.unwrap();
    let mut watch = other.watch_savepoint(watch_request()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let status = other.watch_savepoint(watch_request()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    drop(watch);
    for call in waiting {
        call.abort();
    }
    let freed = async {
        while greedy.get_savepoint(get_request()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(LONG, freed).await.is_ok(), "never freed");
}
