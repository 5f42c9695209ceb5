use std::path::Path;

use savepoint_gateway::cli::{Cli, Command};
use savepoint_gateway::pb::dli::dli_service_client::DliServiceClient;
use savepoint_gateway::pb::dli::{GetJobRequest, ResumeJobRequest};
use savepoint_gateway::telemetry;
use savepoint_gateway::tls::ClientIdentity;
use tonic::Code;
use tonic_types::StatusExt;

use super::tls::{Authority, write};
use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use crate::support::{
    FakeCloud, Folder, Gateway, Options, PROJECT_ID, Reply, Rpc, get_request, import_request,
};

const TOKEN: &str = "exampleSecurityToken0123456789/+==";

/// A provider that echoes the whole request, as one is known to do for a wrong signature.
fn echo(request: &crate::support::Recorded) -> Reply {
    let canonical = request.head.replace("\r\n", "|");
    let body = serde_json::json!({
        "error_code": "APIG.0301", "Code": "SignatureDoesNotMatch",
        "error_msg": format!("verify aksk signature fail, canonicalRequest:{canonical} key {ACCESS_KEY_SECRET}"),
        "Message": format!("canonicalRequest:{canonical} key {ACCESS_KEY_SECRET}"),
        "encoded_authorization_message": TOKEN,
        "AccessDeniedDetail": {"AuthAction": ACCESS_KEY_SECRET},
        "request_id": "R-1",
        "errors": [format!("a.b.SomeException: canonicalRequest:{canonical}\n\tat {canonical}")],
    });
    Reply::json_with(401, &[("x-request-id", "R-1")], &body.to_string())
}

/// Hostile input 67.
#[tokio::test]
async fn a_provider_that_echoes_everything_leaks_no_secret() {
    let cloud = FakeCloud::start(|request, _| echo(request)).await;
    let options = Options {
        security_token: Some(TOKEN.into()),
        flink_authorization: Some(format!("Bearer {TOKEN}")),
        ..Options::at(&cloud)
    };
    let gateway = Gateway::start(options).await;
    // The most verbose level, for this process: the log has the events of all calls.
    let _ = telemetry::install(gateway.sink());
    let mut statuses = Vec::new();
    for rpc in Rpc::ALL {
        statuses.push(rpc.call(&gateway).await.unwrap_err());
    }
    let metrics = super::operators::admin_get(&gateway, "/metrics").await;
    let log = gateway.log();
    assert!(log.contains(r#""code":"Unauthenticated""#), "{log}");
    for status in &statuses {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert!(info.metadata["providerMessage"].contains("[redacted]"), "{info:?}");
    }
    let signatures: Vec<_> = cloud
        .requests()
        .iter()
        .map(|request| {
            let authorization = request.header("authorization").unwrap();
            let marks = ["Signature=", "Bearer "];
            let secret = marks.iter().find_map(|mark| authorization.rsplit_once(mark));
            secret.unwrap().1.to_owned()
        })
        .collect();
    assert_eq!(signatures.len(), statuses.len());
    let mut shown = vec![log, metrics];
    for status in &statuses {
        shown.push(format!("{status:?}"));
        shown.push(String::from_utf8_lossy(status.details()).into_owned());
    }
    for text in &shown {
        for secret in [ACCESS_KEY_SECRET, TOKEN, ACCESS_KEY_ID]
            .into_iter()
            .chain(signatures.iter().map(String::as_str))
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// The forms in which a provider may tell what a request contained.
fn forms(secret: &str) -> Vec<String> {
    let hidden: String = secret.chars().flat_map(|c| [c, '\u{200b}']).collect();
    vec![
        secret.to_owned(),
        format!("{}{secret}", "x".repeat(100)),
        format!("{secret} ").repeat(12 * 1024 / secret.len()),
        hidden,
        secret.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D"),
        secret.replace('/', "\\/"),
        secret.to_uppercase(),
        secret[..secret.len() - 3].to_owned(),
        secret[3..].to_owned(),
    ]
}

/// A part of the secret that a text must not have, whatever its case.
fn tells(text: &str, secret: &str) -> bool {
    let text: String = text.chars().filter(char::is_ascii_graphic).collect();
    let (text, secret) = (text.to_lowercase(), secret.to_lowercase());
    text.contains(&secret[..secret.len() - 3]) || text.contains(&secret[3..])
}

#[tokio::test]
async fn no_field_of_a_success_or_a_failure_tells_a_secret_in_any_form() {
    for form in 0..forms(TOKEN).len() {
        for which in 0..4 {
            let secret = move |request: &crate::support::Recorded| {
                let authorization = request.header("authorization").unwrap();
                let signature = authorization.rsplit_once("Signature=").unwrap().1.to_owned();
                [ACCESS_KEY_SECRET, TOKEN, ACCESS_KEY_ID, &signature][which].to_owned()
            };
            let cloud = FakeCloud::start(move |request, _| {
                let text = forms(&secret(request)).swap_remove(form);
                let id: String = text.chars().filter(char::is_ascii_graphic).collect();
                let body = serde_json::json!({
                    "is_success": true, "success": true, "message": text, "request_id": text,
                    "data": {
                        "savepointId": text, "deploymentId": text, "jobId": text, "namespace": text,
                        "savepointOrigin": text, "description": text, "savepointLocation": text,
                        "status": {"state": text, "failure": {"message": text, "reason": text}},
                    },
                    "job_detail": {
                        "name": text, "desc": text, "job_type": text, "queue_name": text,
                        "status": text, "status_desc": text, "savepoint_path": text,
                    },
                });
                // JSON in a text, as the provider nests it.
                let nested = serde_json::json!({"message": text}).to_string();
                let list = serde_json::json!([{"is_success": true, "message": nested}]);
                let body = if request.path().ends_with("/run") { list } else { body };
                let failure = serde_json::json!({
                    "error_code": text, "error_msg": text, "request_id": text, "requestId": text,
                    "encoded_authorization_message": text, "AccessDeniedDetail": {"AuthAction": text},
                });
                let fails = request.path().contains("/jobs/2/") || request.path().ends_with("/fails");
                let (status, body) = if fails { (400, failure) } else { (200, body) };
                let ids = [("x-request-id", &*id), ("x-acs-request-id", &*id)];
                Reply::json_with(status, &ids, &body.to_string())
            })
            .await;
            let options = Options { security_token: Some(TOKEN.into()), ..Options::at(&cloud) };
            let gateway = Gateway::start(options).await;
            let mut client = gateway.client().await;
            let imported = client.import_savepoint(import_request()).await.unwrap().into_inner();
            let got = client.get_savepoint(get_request()).await.unwrap().into_inner();
            let import =
                savepoint_gateway::pb::ImportSavepointRequest { job_id: 2, ..import_request() };
            let import = client.import_savepoint(import).await.unwrap_err();
            let mut jobs = DliServiceClient::new(gateway.channel().await);
            let (project_id, job_id) = (PROJECT_ID.to_owned(), 1);
            let job = GetJobRequest { project_id: project_id.clone(), job_id };
            let job = jobs.get_job(job).await.unwrap().into_inner();
            let resumed = ResumeJobRequest { project_id, job_id };
            let resumed = jobs.resume_job(resumed).await.unwrap().into_inner();
            let get = savepoint_gateway::pb::GetSavepointRequest {
                savepoint_id: "fails".into(),
                ..get_request()
            };
            let get = client.get_savepoint(get).await.unwrap_err();
            let shown = [
                format!("{imported:?} {got:?} {import:?} {get:?} {job:?} {resumed:?}"),
                String::from_utf8_lossy(import.details()).into_owned(),
                String::from_utf8_lossy(get.details()).into_owned(),
                gateway.log(),
            ];
            assert!(shown[0].contains("[redacted]"), "{}", shown[0]);
            for (request, text) in
                cloud.requests().iter().flat_map(|r| shown.iter().map(move |t| (r, t)))
            {
                assert!(!tells(text, &secret(request)), "{which} {form}: {text}");
            }
        }
    }
}

/// Hostile input 74.
#[test]
fn no_type_shows_the_secret_that_it_holds() {
    use savepoint_gateway::credential::{Credential, Credentials};
    use savepoint_gateway::secret::Secret;
    let credential = || {
        Credential::new(ACCESS_KEY_ID, Secret::new(ACCESS_KEY_SECRET), Some(Secret::new(TOKEN)))
            .unwrap()
    };
    for shown in [
        format!("{:?}", Secret::new(TOKEN)),
        format!("{:?}", credential()),
        format!("{:?}", Credentials::fixed(credential())),
    ] {
        for secret in [ACCESS_KEY_SECRET, TOKEN, ACCESS_KEY_ID] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// Every secret that options and variables can hold: neither the options nor what is made of them
/// show any, not even when a panic prints them.
#[test]
fn secrets_in_options_and_variables_are_never_shown() {
    let folder = Folder::new();
    let pair = Authority::new().good();
    let (cert, key) = write(&folder, &pair);
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let args = [
        "savepoint-gateway".into(),
        "serve".into(),
        "--huawei-region=cn-north-4".into(),
        "--huawei-credentials=password".into(),
        "--alibaba-region=cn-hangzhou".into(),
        "--alibaba-credentials=uri:https://h.example/exampleUriSecret".into(),
        "--upstream-proxy=http://user:exampleProxyPassword@proxy.example:3128".into(),
        file("tls-cert", &cert),
        file("tls-key", &key),
        file("upstream-client-cert", &cert),
        file("upstream-client-key", &key),
    ];
    let variables = [
        ("HW_DOMAIN_NAME", "account"),
        ("HW_USER_NAME", "user"),
        ("HW_USER_PASSWORD", "exampleUserPassword"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=exampleCollectorKey"),
    ];
    let cli = Cli::try_from_args(args.clone()).unwrap();
    let given = format!("{cli:?} {cli:#?}");
    let Command::Serve(options) = cli.command else { panic!("not serve") };
    let lookup = |name: &str| {
        Ok(variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
    };
    let (config, _) = options.config(&lookup).unwrap();
    let made = format!("{config:?} {config:#?}");
    let export = config.traces.export.as_ref().unwrap();
    assert_eq!(export.headers["api-key"], "exampleCollectorKey");
    let (tls, identity) = (config.server.tls.unwrap(), config.upstream.identity.unwrap());
    let parts = format!("{tls:?} {identity:?} {:?} {export:?}", config.upstream.proxy.unwrap());
    let spoilt = folder.write("spoilt.key", pair.key.replace("END", "NED"));
    let refused = format!("{:?}", ClientIdentity::load(&cert, &spoilt).unwrap_err());
    let panics =
        std::panic::catch_unwind(|| ClientIdentity::load(&cert, &spoilt).unwrap()).unwrap_err();
    let panicked = panics.downcast_ref::<String>().unwrap();
    assert!(made.contains("Password {") && panicked.contains("--upstream-client-key"), "{made}");
    for shown in [&given, &made, &parts, &refused, panicked] {
        for secret in [
            "exampleUserPassword",
            "exampleCollectorKey",
            "exampleUriSecret",
            "exampleProxyPassword",
            // The proxy's user and password as its header has them.
            "dXNlcjpleGFtcGxlUHJveHlQYXNzd29yZA",
            pair.key.lines().nth(1).unwrap(),
        ] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}
