use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;

use super::credentials::ALIBABA_KEY;
use super::tls::{Authority, negotiated, write};
use crate::support::{FakeCloud, Folder, Process, Recorded, Reply, eventually, get_request};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;

fn alibaba(cloud: &FakeCloud) -> Vec<String> {
    vec![format!("--alibaba-endpoint={}", cloud.endpoint())]
}

const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
];

/// The credential of this source is valid for long, so that only the signal refreshes it.
#[tokio::test]
async fn sighup_refreshes_a_credential_at_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let cloud = FakeCloud::start({
        let asked = Arc::clone(&asked);
        move |request, _| match request.path() {
            "/creds" => {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let key = ALIBABA_KEY.replace("STS.EXAMPLE", &format!("KEY{number}"));
                Reply::json(200, &format!(r#"{{"Code":"Success",{key}}}"#))
            }
            _ => Reply::json(200, SAVEPOINT),
        }
    })
    .await;
    let uri = format!("{}/creds", cloud.endpoint());
    let process =
        Process::serve(&alibaba(&cloud), &[("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str())]);
    let address = format!("http://{}", process.address().await);
    let endpoint = tonic::transport::Endpoint::new(address).unwrap();
    let mut client = SavepointServiceClient::new(endpoint.connect().await.unwrap());
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    process.signal("HUP");
    let taken = || process.said().matches("credential refreshed").count() == 2;
    eventually("credential refreshed", taken).await;
    client.get_savepoint(get_request()).await.unwrap();
    let requests = cloud.requests();
    let calls: Vec<&Recorded> =
        requests.iter().filter(|request| request.path().starts_with("/api/v2/")).collect();
    let keys: Vec<_> = calls
        .iter()
        .map(|call| call.header("authorization").unwrap())
        .map(|value| value.split("Credential=").nth(1).unwrap().split(',').next().unwrap())
        .collect();
    assert_eq!(keys, ["KEY1", "KEY2"]);
    process.signal("TERM");
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("reloading credentials and certificates"), "{said}");
    assert!(!said.contains("exampleSecret") && !said.contains("exampleToken"), "{said}");
}

/// HTTP/1.1 is offered for gRPC-Web alone: where it is off, a peer must not end up with a
/// protocol that nothing is served over.
#[tokio::test]
async fn http_1_is_offered_over_tls_only_with_grpc_web() {
    let (cloud, folder, ca) =
        (FakeCloud::answering(Reply::json(200, SAVEPOINT)).await, Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let tls = [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())];
    let web = "--grpc-web-allow-origin=https://page.example".to_owned();
    for (more, http_1) in [(None, false), (Some(web), true)] {
        let args: Vec<_> = alibaba(&cloud).into_iter().chain(tls.clone()).chain(more).collect();
        let process = Process::serve(&args, &KEY);
        let address = process.address().await;
        let offered = [&b"http/1.1"[..], b"h2"];
        assert_eq!(negotiated(&ca, &address, &offered).await, Ok(Some(b"h2".to_vec())));
        let alone = negotiated(&ca, &address, &offered[..1]).await;
        match http_1 {
            true => assert_eq!(alone, Ok(Some(b"http/1.1".to_vec()))),
            false => assert!(alone.is_err(), "{alone:?}"),
        }
    }
}

/// Arguments, variables, and the problems that are reported.
type Case<'a> = (Vec<String>, Vec<(&'a str, &'a str)>, Vec<String>);

#[tokio::test]
async fn all_problems_of_credentials_and_certificates_are_reported_at_once_with_exit_code_2() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let other_key = folder.write("other.key", ca.good().key());
    let secret = folder.write("password", "exampleSecret\ntwo lines\n");
    let (cert, key, other_key) = (shown(&cert), shown(&key), shown(&other_key));
    let both = ["--huawei-region=cn-north-4", "--alibaba-region=cn-hangzhou"];
    let user = [("HW_DOMAIN_NAME", "d"), ("HW_USER_NAME", "u")];
    let huawei = "--huawei-credentials (SAVEPOINT_GATEWAY_HUAWEI_CREDENTIALS): ";
    let alibaba = "--alibaba-credentials (SAVEPOINT_GATEWAY_ALIBABA_CREDENTIALS): ";
    let client_cert = "--upstream-client-cert (SAVEPOINT_GATEWAY_UPSTREAM_CLIENT_CERT): ";
    let client_key = "--upstream-client-key (SAVEPOINT_GATEWAY_UPSTREAM_CLIENT_KEY): ";
    let with = |prefix: &str, rest: &str| format!("{prefix}{rest}");
    let cases: [Case<'_>; 6] = [
        // An id without its secret, for both providers, and half a pair of files.
        (
            vec![format!("--upstream-client-cert={cert}")],
            vec![
                ("HUAWEICLOUD_SDK_SK", "exampleSecret"),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
            ],
            vec![
                "HUAWEICLOUD_SDK_AK: is missing, while HUAWEICLOUD_SDK_SK is set".into(),
                "ALIBABA_CLOUD_ACCESS_KEY_ID: is missing, while".into(),
                with(client_key, "is missing, while --upstream-client-cert is set"),
            ],
        ),
        // Sources that nobody knows, and the other half.
        (
            vec![
                "--huawei-credentials=exampleSecret".into(),
                "--alibaba-credentials=password".into(),
                format!("--upstream-client-key={key}"),
            ],
            vec![],
            vec![
                with(huawei, "is not one of env, dir:/path, oidc, ecs, token-file:/path, password"),
                with(
                    alibaba,
                    "\"password\" is not one of env, dir:/path, oidc, ecs, ecs:role, uri",
                ),
                with(client_cert, "is missing, while --upstream-client-key is set"),
            ],
        ),
        // Files that are not there, and a key that does not fit.
        (
            vec![
                "--huawei-credentials=password:/nowhere/password".into(),
                "--alibaba-credentials=dir:/nowhere".into(),
                format!("--upstream-client-cert={cert}"),
                format!("--upstream-client-key={other_key}"),
            ],
            user.to_vec(),
            vec![
                with(huawei, "/nowhere/password: does not exist"),
                with(alibaba, "/nowhere/access_key_id: does not exist"),
                with(client_key, &format!("{other_key}: does not match the certificate {cert}")),
            ],
        ),
        // A login without a user, and files that are something else.
        (
            vec![
                "--huawei-credentials=password".into(),
                format!("--upstream-client-cert={key}"),
                format!("--upstream-client-key={cert}"),
            ],
            [KEY[0], KEY[1], ("HUAWEICLOUD_SDK_IAM_ENDPOINT", "http://iam.example")].to_vec(),
            vec![
                "HW_DOMAIN_NAME: is missing".into(),
                "HW_USER_NAME: is missing".into(),
                "HW_USER_PASSWORD: is missing".into(),
                "HUAWEICLOUD_SDK_IAM_ENDPOINT: \"http://iam.example\" uses http://".into(),
                with(client_cert, &format!("{key}: has no PEM certificate, or an invalid one")),
                with(client_key, &format!("{cert}: has no PEM private key")),
            ],
        ),
        // An invalid password; it is not shown.
        (
            vec![format!("--huawei-credentials=password:{}", secret.display())],
            [&user[..], &KEY].concat(),
            vec![with(huawei, &format!("{}: contains a control", secret.display()))],
        ),
        // Half a user is not replaced by anything else.
        (
            vec![],
            [&KEY[..], &[("HW_USER_PASSWORD", "exampleSecret")]].concat(),
            vec!["HW_DOMAIN_NAME: is missing".into(), "HW_USER_NAME: is missing".into()],
        ),
    ];
    for (args, variables, problems) in cases {
        let args: Vec<_> = both.iter().map(|arg| (*arg).to_owned()).chain(args).collect();
        let (status, said) = Process::serve(&args, &variables).ended().await;
        assert_eq!(status.code(), Some(2), "{said}");
        let reported: Vec<_> = said.lines().skip(1).map(str::trim).collect();
        for problem in &problems {
            assert!(reported.iter().any(|line| line.starts_with(problem)), "{problem}\n{said}");
        }
        assert!(!said.contains("exampleSecret"), "{said}");
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The options of a subcommand that have a variable, from its own list.
fn variables_of(subcommand: &str) -> Vec<String> {
    let command = savepoint_gateway::cli::Cli::command();
    let subcommand = command.find_subcommand(subcommand).unwrap();
    let variables = subcommand.get_arguments().filter_map(|arg| arg.get_env());
    variables.map(|name| name.to_str().unwrap().to_owned()).collect()
}

/// How a subcommand ends, and what it says.
fn run(args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn an_empty_variable_counts_as_unset_for_every_option() {
    for args in [
        // Ends with all problems of the configuration.
        &["serve", "--huawei-region=cn-north-4"][..],
        // Ends before the simulators are called.
        &["demo", "--log-level=none of these"],
        // Nothing is there.
        &["healthcheck", "--address=127.0.0.1:1"],
    ] {
        let names = variables_of(args[0]);
        assert!(names.len() >= 2, "{args:?}: {names:?}");
        let want = run(args, &[]);
        assert_ne!(want.0, Some(0), "{args:?}: {}", want.1);
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(run(args, &all), want, "{args:?}");
        for one in all {
            assert_eq!(run(args, &[one]), want, "{args:?} {one:?}");
        }
    }
    // Help is the same, whatever is set.
    let help = run(&["serve", "--help"], &[]);
    let empty = run(&["serve", "--help"], &[("SAVEPOINT_GATEWAY_LISTEN", "")]);
    assert_eq!(help, empty);
    assert!(help.1.contains("SAVEPOINT_GATEWAY_MAX_TIMEOUT"), "{}", help.1);
}

#[tokio::test]
async fn a_storm_of_signals_logs_in_once_and_says_little() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        "/v3/auth/tokens?nocatalog=true" => Reply::json(401, r#"{"error":{"code":401}}"#),
        _ => Reply::json(200, SAVEPOINT),
    })
    .await;
    let iam = cloud.endpoint();
    let variables = [
        ("HW_DOMAIN_NAME", "d"),
        ("HW_USER_NAME", "u"),
        ("HW_USER_PASSWORD", "exampleSecret"),
        ("HUAWEICLOUD_SDK_PROJECT_ID", "p1"),
        ("HUAWEICLOUD_SDK_IAM_ENDPOINT", iam.as_str()),
    ];
    let huawei = vec![format!("--huawei-endpoint={}", cloud.endpoint())];
    let process = Process::serve(&huawei, &variables);
    process.address().await;
    eventually("a login", || cloud.count() == 1).await;
    let began = std::time::Instant::now();
    let storm = format!("for i in $(seq 2000); do kill -HUP {}; done", process.id());
    assert!(std::process::Command::new("sh").args(["-c", &storm]).status().unwrap().success());
    eventually("a reload", || process.said().contains("not reloaded: ")).await;
    process.signal("TERM");
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(cloud.count(), 1);
    let most = 2 + usize::try_from(began.elapsed().as_secs()).unwrap();
    let reloads = said.matches("reloading credentials and certificates").count();
    assert!((1..=most).contains(&reloads), "{reloads} lines in {:?}", began.elapsed());
    assert!(said.lines().count() < 20 + 2 * most, "{said}");
}

/// What platforms set for the programs of all languages.
#[tokio::test]
async fn variables_of_other_programs_are_told_and_do_not_stop_the_start() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let others = [
        ("OTEL_PROPAGATORS", "tracecontext,baggage,b3"),
        ("OTEL_SDK_DISABLED", "0"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel-collector.example:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
    ];
    let process = Process::serve(&alibaba(&cloud), &[&KEY[..], &others].concat());
    process.address().await;
    for name in
        ["OTEL_PROPAGATORS", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_BSP_SCHEDULE_DELAY"]
    {
        let told = format!("\"level\":\"WARN\",\"message\":\"{name}: ");
        assert!(process.said().contains(&told), "{name}\n{}", process.said());
    }
    process.signal("TERM");
    assert_eq!(process.ended().await.0.code(), Some(0));
}
