//! What an operator reads: lines of calls, of peers that do not get as far as a call, of the start,
//! of reloads and of a start that fails.

use std::collections::BTreeSet;

use savepoint_gateway::pb::ImportSavepointRequest;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::operators::admin_get;
use crate::support::{
    FakeCloud, Folder, Gateway, Options, PROJECT_ID, Process, Reply, WORKSPACE, create_request,
    get_request, import_request, watch_request,
};
use crate::tls::{Authority, write};

const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
];
const FAILS: &str = r#"{"is_success":false,"message":"text of the provider","request_id":"R-1"}"#;
const COMPLETED: &str =
    r#"{"success":true,"data":{"savepointId":"s","status":{"state":"COMPLETED"}}}"#;

/// The lines of calls so far.
fn calls(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.log();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message"] == "call").collect()
}

#[tokio::test]
async fn a_failed_change_can_be_found_by_its_line_and_says_what_the_caller_is_told() {
    let cloud = FakeCloud::answering(Reply::json(200, FAILS)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let status = client.import_savepoint(import_request()).await.unwrap_err();
    assert_eq!(
        status.message(),
        "huawei-dli: reported that the call failed (HTTP 200): text of the provider \
         (PROVIDER_REPORTED_FAILURE)"
    );
    client.create_savepoint(create_request()).await.unwrap_err();
    client.get_savepoint(get_request()).await.unwrap_err();
    let [import, create, get] = calls(&gateway).try_into().unwrap();
    assert_eq!(import["error"], "reported that the call failed (HTTP 200)");
    let host = cloud.endpoint().trim_start_matches("http://").to_owned();
    for line in [&import, &create, &get] {
        assert_eq!(line["endpoint"], host);
        assert_eq!(line["attempts"], 1);
        let deadline = line["deadline_ms"].as_u64().unwrap();
        assert!((29_000..=30_000).contains(&deadline), "{line}");
        assert!(!line.to_string().contains("text of the provider"), "{line}");
    }
    assert_eq!((&import["project_id"], &import["job_id"]), (&PROJECT_ID.into(), &"137228".into()));
    assert_eq!(create["workspace"], WORKSPACE);
    assert_eq!(create["namespace"], create_request().namespace);
    assert_eq!(create["deployment_id"], create_request().deployment_id);
    for name in ["project_id", "job_id", "workspace", "namespace", "deployment_id", "outcome"] {
        assert!(get.get(name).is_none(), "{name}: {get}");
    }
}

#[tokio::test]
async fn invalid_fields_are_named_and_their_values_are_not_told() {
    let gateway =
        Gateway::start(Options::at(&FakeCloud::answering(Reply::json(200, "")).await)).await;
    let mut client = gateway.client().await;
    let request = ImportSavepointRequest {
        project_id: "../MARK".into(),
        job_id: 0,
        savepoint_path: "MARK\n".into(),
    };
    let status = client.import_savepoint(request).await.unwrap_err();
    assert!(status.message().starts_with("savepoint-gateway: invalid request: "), "{status}");
    assert!(status.message().ends_with(" (INVALID_REQUEST)"), "{status}");
    let [line] = calls(&gateway).try_into().unwrap();
    assert_eq!(line["fields"], serde_json::json!(["project_id", "job_id", "savepoint_path"]));
    assert!(line.get("job_id").is_none() && !line.to_string().contains("MARK"), "{line}");
}

#[tokio::test]
async fn a_change_in_doubt_says_so_in_words_and_a_read_does_not() {
    let cloud = FakeCloud::answering(Reply::json(500, r#"{"error_msg":"oops"}"#)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let message = client.import_savepoint(import_request()).await.unwrap_err().message().to_owned();
    assert_eq!(
        message,
        "huawei-dli: returned an error (HTTP 500); the job may have been changed: oops \
         (PROVIDER_INTERNAL)"
    );
    let message = client.create_savepoint(create_request()).await.unwrap_err().message().to_owned();
    assert!(message.contains("; the savepoint may have been made all the same"), "{message}");
    let message = client.get_savepoint(get_request()).await.unwrap_err().message().to_owned();
    assert!(message.starts_with("alibaba-flink: returned an error (HTTP 500)"), "{message}");
    assert!(!message.contains(" may have been "), "{message}");
}

/// A text of any length leaves the reason and the doubt in place.
#[tokio::test]
async fn the_reason_is_the_end_of_every_message() {
    let body = format!(r#"{{"error_msg":"{}"}}"#, "点".repeat(2000));
    let cloud = FakeCloud::answering(Reply::json(500, &body)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let message = client.import_savepoint(import_request()).await.unwrap_err().message().to_owned();
    assert!(message.ends_with(" (PROVIDER_INTERNAL)") && message.len() <= 1024, "{message}");
    assert!(message.contains("; the job may have been changed: 点"), "{message}");
}

#[tokio::test]
async fn peers_without_a_call_are_told_with_their_address_and_the_cause() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let client_ca = folder.write("ca.crt", &ca.pem);
    let args = [
        "--alibaba-endpoint=http://127.0.0.1:1".to_owned(),
        format!("--tls-cert={}", cert.display()),
        format!("--tls-key={}", key.display()),
        format!("--tls-client-ca={}", client_ca.display()),
    ];
    let process = Process::serve(&args, &KEY);
    let address = process.address().await;
    for (sent, cause) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "the caller does not speak TLS"),
        (b"", "the caller closed the connection"),
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let peer = stream.local_addr().unwrap().to_string();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let line = of_peer(&process, &peer).await;
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"WARN".into(), &"TLS handshake failed".into())
        );
        assert_eq!(line["error"], cause);
    }
    let plain = Process::serve(&args[..1], &KEY);
    let address = plain.address().await;
    for (sent, cause) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "the caller speaks HTTP/1.1, and this port only HTTP/2"),
        (b"\x16\x03\x01\x02\x00", "the caller speaks TLS, and this port does not"),
        (b"\x00\x1b[2J", "the caller does not speak HTTP"),
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let peer = stream.local_addr().unwrap().to_string();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let line = of_peer(&plain, &peer).await;
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"WARN".into(), &"connection refused".into())
        );
        assert!(line["error"].as_str().unwrap().starts_with(cause), "{line}");
    }
}

/// The line about this peer, once there is one.
async fn of_peer(process: &Process, peer: &str) -> Value {
    let find = || {
        let said = process.said();
        let mut lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["peer"] == peer)
    };
    crate::support::eventually("the line of the peer", || find().is_some()).await;
    find().unwrap()
}

#[tokio::test]
async fn the_start_and_a_reload_say_what_is_used_and_what_came_of_it() {
    let folder = Folder::new();
    folder.write("access_key_id", "EXAMPLEID");
    folder.write("access_key_secret", "exampleSecret");
    let dir = format!("--alibaba-credentials=dir:{}", folder.path().display());
    let endpoint = "--alibaba-endpoint=http://127.0.0.1:1".to_owned();
    let args = [endpoint, format!("--alibaba-workspace={WORKSPACE}"), dir];
    let process = Process::serve(&args, &[]);
    let start = process.line("starting").await;
    assert_eq!((&start["tls"], &start["traces"]), (&"off".into(), &"off".into()));
    assert_eq!(start["job_control"], false);
    assert_eq!(start["policy"], "off: everyone who reaches the port may call");
    let provider = process.line("provider configured").await;
    assert_eq!(provider["endpoint"], "http://127.0.0.1:1");
    assert_eq!(provider["credentials"], format!("dir:{}", folder.path().display()));
    assert_eq!(provider["default"], format!("workspace {WORKSPACE}"));
    process.address().await;
    process.signal("HUP");
    let reload = process.line("reload of credential").await;
    assert_eq!(
        (&reload["provider"], &reload["outcome"]),
        (&"alibaba-flink".into(), &"unchanged".into())
    );
    folder.write("access_key_secret", "otherSecret");
    // At most once a second, so that it may be the poll that finds the change.
    process.signal("HUP");
    process.line("credential refreshed").await;
    assert!(!process.said().contains("Secret"), "{}", process.said());
}

/// In the log's own format, which a collector reads.
#[tokio::test]
async fn a_start_that_fails_is_a_line_with_the_option_and_a_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--listen", "--admin-listen"] {
        let args =
            ["--alibaba-endpoint=http://127.0.0.1:1".to_owned(), format!("{flag}={address}")];
        let (status, said) = Process::serve(&args, &KEY).ended().await;
        assert_eq!(status.code(), Some(1), "{said}");
        let lines: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!((&last["level"], &last["message"]), (&"ERROR".into(), &"cannot start".into()));
        assert_eq!(last["option"], flag);
        let error = last["error"].as_str().unwrap();
        for part in [
            &format!("(SAVEPOINT_GATEWAY_{})", flag[2..].to_uppercase().replace('-', "_")),
            &address.to_string(),
            "is another gateway running?",
            &format!("{flag} 127.0.0.1:0 takes a free port"),
        ] {
            assert!(error.contains(part), "{part}\n{error}");
        }
    }
}

/// Runbooks send people to fields and metrics by name: each of them must exist.
#[tokio::test]
async fn every_field_and_metric_that_the_operations_page_names_exists() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        path if path.contains("import-savepoint") => Reply::json(200, FAILS),
        _ => Reply::json(200, COMPLETED),
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    client.import_savepoint(import_request()).await.unwrap_err();
    client.get_savepoint(get_request()).await.unwrap();
    let mut watch = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    while watch.message().await.unwrap().is_some() {}
    let metrics = admin_get(&gateway, "/metrics").await;
    let (_, metrics) = metrics.split_once("\r\n\r\n").unwrap();

    // A failure is counted by its reason, and only once it has happened.
    let failures: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("savepoint_gateway_failures_total{"))
        .collect();
    let [failure] = failures[..] else { panic!("{failures:?}") };
    for part in ["ImportSavepoint", "reason=\"PROVIDER_REPORTED_FAILURE\"", "} 1"] {
        assert!(failure.contains(part), "{failure}");
    }
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"] {
        let name = format!("process_{name} ");
        assert!(metrics.lines().any(|line| line.starts_with(&name)), "{name}");
    }
    // What is no convention of others has our prefix.
    let others = ["grpc_server_", "http_client_", "process_", "otel_sdk_", "savepoint_gateway_"];
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(others.iter().any(|prefix| line.starts_with(prefix)), "{line}");
    }

    let root = env!("CARGO_MANIFEST_DIR");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let source = read("src/server/log_line.rs");
    let (_, line) = source.split_once("struct Line<'a> {").unwrap();
    let (line, _) = line.split_once("\n}").unwrap();
    let fields: BTreeSet<_> = line
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("pub(super) ")?.split_once(": ")?.0))
        .collect();
    for call in calls(&gateway) {
        for name in call.as_object().unwrap().keys() {
            assert!(fields.contains(&**name), "{name}");
        }
    }
    let page = read("docs/operations.md");
    let (_, logs) = page.split_once("\n## Logs\n").unwrap();
    let (logs, _) = logs.split_once("\nOther lines").unwrap();
    let listed: BTreeSet<_> = logs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(listed, fields);

    // Values and names that are neither.
    let others = [
        "not_applied",
        "queue_full",
        "already_shutdown",
        "error_type",
        "round_robin",
        "job_id",
        "project_id",
        "server_stream",
        "otel_sdk_processor_span_processed_total",
        "otel_sdk_exporter_span_exported_total",
        "savepoint_gateway_project_known",
        "savepoint_gateway_project_lookups_total",
        "left_out",
        "would_refuse",
        "dry_run",
        "job_control",
    ];
    let known = |name: &str| {
        fields.contains(name)
            || others.contains(&name)
            || metrics.lines().any(|line| {
                line.split(['{', ' ', ',', '=']).any(|word| word == name)
                    || line.starts_with(&format!("# HELP {name} "))
            })
    };
    let mut unknown = BTreeSet::new();
    for name in page.split('`').skip(1).step_by(2) {
        let is_name = name.contains('_')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if is_name && !known(name) {
            unknown.insert(name);
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}
