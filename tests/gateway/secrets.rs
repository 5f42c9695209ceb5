use savepoint_gateway::telemetry;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use crate::support::{FakeCloud, Gateway, Options, Reply, get_request, import_request};

const TOKEN: &str = "exampleSecurityToken0123456789/+==";

/// A provider that echoes all it got, as one is known to do when a signature is wrong.
fn echo(request: &crate::support::Recorded) -> Reply {
    let canonical = request.head.replace("\r\n", "|");
    let body = serde_json::json!({
        "error_code": "APIG.0301", "Code": "SignatureDoesNotMatch",
        "error_msg": format!("verify aksk signature fail, canonicalRequest:{canonical} key {ACCESS_KEY_SECRET}"),
        "Message": format!("canonicalRequest:{canonical} key {ACCESS_KEY_SECRET}"),
        "encoded_authorization_message": TOKEN,
        "AccessDeniedDetail": {"AuthAction": ACCESS_KEY_SECRET},
        "request_id": "R-1",
    });
    Reply::json_with(401, &[("x-request-id", "R-1")], &body.to_string())
}

#[tokio::test]
async fn a_provider_that_echoes_everything_betrays_nothing() {
    let cloud = FakeCloud::start(|request, _| echo(request)).await;
    let options = Options { security_token: Some(TOKEN.into()), ..Options::at(&cloud) };
    let gateway = Gateway::start(options).await;
    // The most verbose level, for this process: events of all calls come along.
    let _ = telemetry::install(gateway.sink());
    let mut client = gateway.client().await;
    let import = client.import_savepoint(import_request()).await.unwrap_err();
    let get = client.get_savepoint(get_request()).await.unwrap_err();
    let metrics = super::operators::admin_get(&gateway, "/metrics").await;
    let log = gateway.log();
    assert!(log.contains(r#""code":"Unauthenticated""#), "{log}");
    for status in [&import, &get] {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert!(info.metadata["providerMessage"].contains("[redacted]"), "{info:?}");
    }
    let signatures: Vec<_> = cloud
        .requests()
        .iter()
        .map(|request| {
            let authorization = request.header("authorization").unwrap();
            authorization.rsplit_once("Signature=").unwrap().1.to_owned()
        })
        .collect();
    let shown = [
        format!("{import:?}"),
        format!("{get:?}"),
        String::from_utf8_lossy(import.details()).into_owned(),
        String::from_utf8_lossy(get.details()).into_owned(),
        log,
        metrics,
    ];
    for text in &shown {
        for secret in [ACCESS_KEY_SECRET, TOKEN, ACCESS_KEY_ID]
            .into_iter()
            .chain(signatures.iter().map(String::as_str))
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn no_type_that_holds_a_secret_shows_it() {
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
