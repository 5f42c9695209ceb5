use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use savepoint_gateway::clock::{Clock, SystemClock};
use savepoint_gateway::credential::Credential;
use savepoint_gateway::credential::{Credentials, Directory, SecretFile, Source};
use savepoint_gateway::gateway::Providers;
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::providers::alibaba::ALIBABA;
use savepoint_gateway::providers::alibaba::{CredentialsUri, EcsRole, Rrsa};
use savepoint_gateway::providers::huawei::{EcsAgency, Oidc, Password, PasswordOf, TokenScope};
use savepoint_gateway::providers::huawei::{HUAWEI, Project};
use savepoint_gateway::providers::{alibaba, huawei};
use savepoint_gateway::rpc::operation::Provider;
use savepoint_gateway::secret::Secret;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::operators::{admin_get, ready};
use crate::support::{
    FakeCloud, Folder, Gateway, LONG, Options, Recorded, Reply, eventually, get_request,
    import_request, pass,
};

pub(super) const ALIBABA_KEY: &str = r#""AccessKeyId":"STS.EXAMPLE","AccessKeySecret":"exampleSecret","SecurityToken":"exampleToken","Expiration":"2099-01-01T00:00:00Z""#;
pub(super) const HUAWEI_KEY: &str = r#"{"credential":{"access":"TMPAK","expires_at":"2099-01-01T00:00:00.213123Z","secret":"TMPSK","securitytoken":"TMPTOKEN"}}"#;

pub(super) const HUAWEI_OIDC_KEY: &str = r#"{"credentials":{"access_key_id":"OIDCAK","secret_access_key":"OIDCSK","security_token":"OIDCTOKEN","expiration":"2099-01-01T00:00:00.213123Z"}}"#;
/// The body of a login, as recorded from Huawei's Python SDK, but for its times. The token is in
/// a header.
pub(super) const TOKEN: &str = r#"{"token": {"expires_at": "2099-01-01T00:00:00.701000Z", "issued_at": "2026-01-15T08:30:00.701000Z", "methods": ["password"], "project": {"domain": {"id": "d", "name": "IAMDomain"}, "id": "0605767b3300d5762fb7c0186d9e1779", "name": "cn-north-4"}, "roles": [], "user": {"domain": {"id": "d", "name": "IAMDomain"}, "id": "u", "name": "IAMUser", "password_expires_at": ""}, "catalog": []}}"#;

fn endpoint(cloud: &FakeCloud) -> Endpoint {
    Endpoint::parse(&cloud.endpoint(), false).unwrap()
}

/// What both providers answer to a call.
pub(super) fn success(request: &Recorded) -> Reply {
    if request.line().starts_with("POST /v1.0/") {
        Reply::json(200, r#"{"is_success":true}"#)
    } else {
        Reply::json(200, r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#)
    }
}

/// A gateway to one provider, with credentials of this source.
async fn gateway(cloud: &FakeCloud, provider: &'static Provider, source: impl Source) -> Gateway {
    let credentials = Some(Credentials::refreshed(source, None));
    let at = |this: &Provider| (provider == this).then(|| cloud.endpoint());
    let (huawei, alibaba) = (at(&HUAWEI), at(&ALIBABA));
    Gateway::start(Options { huawei, alibaba, credentials, ..Options::none() }).await
}

async fn get(gateway: &Gateway) -> Result<(), Status> {
    gateway.client().await.get_savepoint(get_request()).await.map(|_| ())
}

async fn import(gateway: &Gateway) -> Result<(), Status> {
    gateway.client().await.import_savepoint(import_request()).await.map(|_| ())
}

/// The lines of the requests before the first call.
fn lines(requests: &[Recorded]) -> Vec<&str> {
    requests
        .iter()
        .map(Recorded::line)
        .take_while(|line| !line.contains("/v1.0/") && !line.contains("/api/v2/"))
        .collect()
}

pub(super) fn unavailable(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "CREDENTIALS_UNAVAILABLE");
}

/// Only a correct request for a token is answered.
fn huawei_metadata(request: &Recorded, v2: bool) -> Reply {
    match request.line() {
        "PUT /meta-data/latest/api/token HTTP/1.1" if v2 => {
            assert_eq!(request.header("x-metadata-token-ttl-seconds"), Some("21600"));
            Reply::text(200, "text/plain", "imdsv2-token\n")
        }
        "PUT /meta-data/latest/api/token HTTP/1.1" => Reply::json(404, ""),
        "GET /openstack/latest/securitykey HTTP/1.1" => {
            assert_eq!(request.header("x-metadata-token"), v2.then_some("imdsv2-token"));
            Reply::json(200, HUAWEI_KEY)
        }
        _ => success(request),
    }
}

#[tokio::test]
async fn huawei_ecs_agency_in_both_versions() {
    for v2 in [true, false] {
        let cloud = FakeCloud::start(move |request, _| huawei_metadata(request, v2)).await;
        let gateway = gateway(&cloud, &HUAWEI, EcsAgency { endpoint: endpoint(&cloud) }).await;
        import(&gateway).await.unwrap();
        let requests = cloud.requests();
        let call = requests.iter().find(|r| r.line().starts_with("POST /v1.0/")).unwrap();
        assert!(call.header("authorization").unwrap().contains("Access=TMPAK,"));
        assert_eq!(call.header("x-security-token"), Some("TMPTOKEN"));
    }
}

#[tokio::test]
async fn without_an_agency_nothing_is_called_and_the_gateway_is_not_ready() {
    let cloud = FakeCloud::start(|request, _| match request.line() {
        line if line.starts_with("PUT ") => Reply::text(200, "text/plain", "t"),
        _ => Reply::text(401, "text/plain", "Please configure Cloud Service Agency first"),
    })
    .await;
    let gateway = gateway(&cloud, &HUAWEI, EcsAgency { endpoint: endpoint(&cloud) }).await;
    let status = import(&gateway).await.unwrap_err();
    unavailable(&status);
    assert!(status.message().contains("no agency is configured"), "{status}");
    let readyz = admin_get(&gateway, "/readyz").await;
    assert!(readyz.starts_with("HTTP/1.1 503"), "{readyz}");
    assert!(
        readyz.contains("\r\nwaiting for credentials\nhuawei-dli: no credential: "),
        "{readyz}"
    );
    assert!(!cloud.requests().iter().any(|r| r.line().starts_with("POST /v1.0/")));
}

#[tokio::test]
async fn huawei_oidc_exchanges_the_mounted_token() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        "/v5/agencies/assume-with-oidc" => Reply::json(200, HUAWEI_OIDC_KEY),
        _ => success(request),
    })
    .await;
    let folder = Folder::new();
    let source = Oidc {
        endpoint: endpoint(&cloud),
        provider_urn: "iam::acct:oidcProvider:k8s".into(),
        agency_urn: "iam::acct:agency:gw".into(),
        token_file: SecretFile::of_token(folder.write("token", " ey.ID.TOKEN\r\n")),
        session_name: "oidc-sts-session".into(),
        duration_seconds: 3600,
    };
    let gateway = gateway(&cloud, &HUAWEI, source).await;
    import(&gateway).await.unwrap();
    let requests = cloud.requests();
    let asked = requests.iter().find(|r| r.path().starts_with("/v5/")).unwrap();
    assert_eq!(asked.line(), "POST /v5/agencies/assume-with-oidc HTTP/1.1");
    assert_eq!(asked.header("content-type"), Some("application/json;charset=UTF-8"));
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let want = serde_json::json!({
        "provider_urn": "iam::acct:oidcProvider:k8s", "agency_urn": "iam::acct:agency:gw",
        "agency_session_name": "oidc-sts-session", "id_token": "ey.ID.TOKEN",
        "duration_seconds": 3600,
    });
    assert_eq!(body, want);
    let call = requests.iter().find(|r| r.line().starts_with("POST /v1.0/")).unwrap();
    assert!(call.header("authorization").unwrap().contains("Access=OIDCAK,"));
    assert_eq!(call.header("x-security-token"), Some("OIDCTOKEN"));
}

#[tokio::test]
async fn a_token_from_a_file_is_sent_without_a_signature() {
    let cloud = FakeCloud::start(|request, _| success(request)).await;
    let folder = Folder::new();
    let source = Directory::of_token(folder.write("token", "MIIEXAMPLETOKEN\n"));
    let gateway = gateway(&cloud, &HUAWEI, source).await;
    import(&gateway).await.unwrap();
    let [call] = &cloud.requests()[..] else { panic!("one request") };
    assert_eq!(call.header("x-auth-token"), Some("MIIEXAMPLETOKEN"));
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.header("x-sdk-date"), None);
    // A token cannot sign.
    let source = Directory::of_token(folder.path().join("token"));
    let other = super::credentials::gateway(&cloud, &ALIBABA, source).await;
    unavailable(&get(&other).await.unwrap_err());
}

const PASSWORD: &str = "example Password é \"quoted\"";

fn password(cloud: &FakeCloud, password: PasswordOf, scope: TokenScope) -> Password {
    Password::new(endpoint(cloud), "IAMDomain", "IAMUser", password, scope)
}

fn logged_in(token: &str) -> Reply {
    Reply::json_with(201, &[("x-subject-token", token), ("x-request-id", "iamreq")], TOKEN)
}

fn is_login(request: &Recorded) -> bool {
    request.path() == "/v3/auth/tokens?nocatalog=true"
}

fn logins(cloud: &FakeCloud) -> usize {
    cloud.count_where(is_login)
}

#[tokio::test]
async fn huawei_password_login_gets_a_token_for_one_project() {
    for (scope, want) in [
        (TokenScope::Name("cn-north-4".into()), serde_json::json!({"name": "cn-north-4"})),
        (TokenScope::Id("p1".into()), serde_json::json!({"id": "p1"})),
    ] {
        let cloud = FakeCloud::start(|request, _| match is_login(request) {
            true => logged_in("MIIYEXAMPLETOKEN"),
            false => success(request),
        })
        .await;
        let source = password(&cloud, PasswordOf::Text(Secret::new(PASSWORD)), scope);
        let gateway = gateway(&cloud, &HUAWEI, source).await;
        import(&gateway).await.unwrap();
        import(&gateway).await.unwrap();
        let requests = cloud.requests();
        let [login, first, second] = &requests[..] else { panic!("{} requests", requests.len()) };
        assert_eq!(login.line(), "POST /v3/auth/tokens?nocatalog=true HTTP/1.1");
        assert_eq!(login.header("content-type"), Some("application/json;charset=utf-8"));
        assert_eq!(login.header("authorization"), None);
        let body: serde_json::Value = serde_json::from_slice(&login.body).unwrap();
        let user = serde_json::json!({
            "domain": {"name": "IAMDomain"}, "name": "IAMUser", "password": PASSWORD,
        });
        let identity = serde_json::json!({"methods": ["password"], "password": {"user": user}});
        let scope = serde_json::json!({"project": want});
        assert_eq!(body, serde_json::json!({"auth": {"identity": identity, "scope": scope}}));
        for call in [first, second] {
            assert_eq!(call.header("x-auth-token"), Some("MIIYEXAMPLETOKEN"));
            assert_eq!(call.header("authorization"), None);
        }
        let metrics = admin_get(&gateway, "/metrics").await;
        let line = r#"savepoint_gateway_credential_expiry_timestamp_seconds{provider="huawei-dli"} 4070908800"#;
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_once_and_never_shown() {
    // A service that echoes the whole request.
    let cloud = FakeCloud::start(|request, _| {
        let text = String::from_utf8_lossy(&request.body);
        let error = serde_json::json!({"code": 401, "message": text, "title": "Unauthorized"});
        Reply::json(401, &serde_json::json!({"error": error}).to_string())
    })
    .await;
    let from = PasswordOf::Text(Secret::new(PASSWORD));
    let source = password(&cloud, from, TokenScope::Name("cn-north-4".into()));
    assert!(!format!("{source:?}").contains("example"), "{source:?}");
    let gateway = gateway(&cloud, &HUAWEI, source).await;
    for _ in 0..20 {
        let status = import(&gateway).await.unwrap_err();
        unavailable(&status);
        assert!(status.message().contains("IAM answered with HTTP 401"), "{status}");
        assert!(!format!("{status:?}").contains("example Password"), "{status:?}");
    }
    assert_eq!(logins(&cloud), 1);
    for shown in
        [gateway.log(), admin_get(&gateway, "/metrics").await, admin_get(&gateway, "/readyz").await]
    {
        assert!(!shown.contains("example Password"), "{shown}");
        assert!(!shown.contains("quoted"), "{shown}");
    }
    let readyz = admin_get(&gateway, "/readyz").await;
    assert!(readyz.contains("huawei-dli: no credential: Huawei Cloud's IAM"), "{readyz}");
}

/// A changed password causes a login at once: the token of the old password is revoked soon,
/// before its own expiry.
#[tokio::test]
async fn a_changed_password_causes_a_new_login() {
    let cloud = FakeCloud::start(|request, _| match is_login(request) {
        true if String::from_utf8_lossy(&request.body).contains("second Password") => {
            logged_in("SECONDTOKEN")
        }
        true => logged_in("FIRSTTOKEN"),
        false => success(request),
    })
    .await;
    let folder = Folder::new();
    let file = SecretFile::of_password(folder.write("password", "first Password\n"))
        .with_times(Duration::from_millis(10), Duration::from_millis(5));
    let source = password(&cloud, PasswordOf::File(file), TokenScope::Name("cn-north-4".into()));
    let gateway = gateway(&cloud, &HUAWEI, source).await;
    import(&gateway).await.unwrap();
    // An invalid password is reported and changes nothing.
    folder.write("password", "two\nlines\n");
    gateway.reload();
    let failed =
        r#"savepoint_gateway_credential_refreshes_total{provider="huawei-dli",outcome="failure"}"#;
    super::rotation::metric_is(&gateway, failed, |failed| failed >= 1).await;
    import(&gateway).await.unwrap();
    folder.write("password", "second Password\n");
    let obtained =
        r#"savepoint_gateway_credential_refreshes_total{provider="huawei-dli",outcome="success"}"#;
    super::rotation::metric_is(&gateway, obtained, |obtained| obtained == 2).await;
    import(&gateway).await.unwrap();
    let requests = cloud.requests();
    let tokens: Vec<_> = requests.iter().filter_map(|call| call.header("x-auth-token")).collect();
    assert_eq!(tokens, ["FIRSTTOKEN", "FIRSTTOKEN", "SECONDTOKEN"]);
    assert_eq!(logins(&cloud), 2);
}

/// As when all tokens of a user are revoked.
#[tokio::test]
async fn a_token_that_the_provider_refuses_is_replaced_by_another_login() {
    let (issued, revoked) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let cloud = FakeCloud::start({
        let revoked = Arc::clone(&revoked);
        move |request, _| match is_login(request) {
            true if issued.fetch_add(1, Ordering::SeqCst) == 0 => logged_in("FIRSTTOKEN"),
            true => logged_in("SECONDTOKEN"),
            false
                if revoked.load(Ordering::SeqCst)
                    && request.header("x-auth-token") == Some("FIRSTTOKEN") =>
            {
                let text = "Incorrect IAM authentication information: decrypt token fail";
                let body = format!(r#"{{"error_code":"APIG.0301","error_msg":"{text}"}}"#);
                Reply::json(401, &body)
            }
            false => success(request),
        }
    })
    .await;
    let from = PasswordOf::Text(Secret::new(PASSWORD));
    let source = password(&cloud, from, TokenScope::Name("cn-north-4".into()));
    let gateway = gateway(&cloud, &HUAWEI, source).await;
    import(&gateway).await.unwrap();
    revoked.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let status = import(&gateway).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    // Not at once: the token may have been refused for another reason.
    assert_eq!(logins(&cloud), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let obtained =
        r#"savepoint_gateway_credential_refreshes_total{provider="huawei-dli",outcome="success"}"#;
    super::rotation::metric_is(&gateway, obtained, |obtained| obtained == 2).await;
    import(&gateway).await.unwrap();
    assert_eq!(logins(&cloud), 2);
}

/// A token that ends in this many seconds, for a login that is answered once.
fn ends_in(seconds: i64, once: &Arc<AtomicBool>) -> Reply {
    if once.swap(true, Ordering::SeqCst) {
        return Reply::json(503, "{}");
    }
    let end = SystemClock.now() + jiff::SignedDuration::from_secs(seconds);
    let body = format!(r#"{{"token":{{"expires_at":"{end}"}}}}"#);
    Reply::json_with(201, &[("x-subject-token", "SHORTTOKEN")], &body)
}

#[tokio::test]
async fn an_expired_credential_makes_the_gateway_unready_until_the_next_one_arrives() {
    let (once, restored) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let cloud = FakeCloud::start({
        let restored = Arc::clone(&restored);
        move |request, _| match is_login(request) {
            true if restored.load(Ordering::SeqCst) => logged_in("NEXTTOKEN"),
            true => ends_in(2, &once),
            false => success(request),
        }
    })
    .await;
    let from = PasswordOf::Text(Secret::new(PASSWORD));
    let source = password(&cloud, from, TokenScope::Name("cn-north-4".into()));
    let gateway = gateway(&cloud, &HUAWEI, source).await;
    import(&gateway).await.unwrap();
    let becomes = async |start: &str| {
        let asking = async {
            loop {
                let readyz = admin_get(&gateway, "/readyz").await;
                if readyz.starts_with(start) {
                    return readyz;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, asking).await.expect(start)
    };
    becomes("HTTP/1.1 200").await;
    let ended = becomes("HTTP/1.1 503").await;
    assert!(ended.contains("all credentials have expired\nhuawei-dli: no credential"), "{ended}");
    let mut health = super::operators::health(&gateway).await;
    assert_eq!(super::operators::check(&mut health, "").await, Ok("NOT_SERVING"));
    assert_eq!(super::operators::check(&mut health, "liveness").await, Ok("SERVING"));
    let fresh = r#"savepoint_gateway_credential_last_refresh_success{provider="huawei-dli"}"#;
    super::rotation::metric_is(&gateway, fresh, |fresh| fresh == 0).await;
    unavailable(&import(&gateway).await.unwrap_err());
    restored.store(true, Ordering::SeqCst);
    pass(Duration::from_secs(61)).await;
    becomes("HTTP/1.1 200").await;
    import(&gateway).await.unwrap();
    assert_eq!(super::operators::check(&mut health, "").await, Ok("SERVING"));
}

#[tokio::test]
async fn an_expired_credential_of_one_provider_does_not_affect_the_other() {
    let once = Arc::<AtomicBool>::default();
    let cloud = FakeCloud::start(move |request, _| match is_login(request) {
        true => ends_in(1, &once),
        false => success(request),
    })
    .await;
    let from = PasswordOf::Text(Secret::new(PASSWORD));
    let source = password(&cloud, from, TokenScope::Name("cn-north-4".into()));
    let key = Credential::new("EXAMPLEID", Secret::new("exampleSecret"), None).unwrap();
    let huawei = Credentials::refreshed(source, None);
    let huawei = huawei::Setup::new(endpoint(&cloud), huawei, Project::None);
    let alibaba = alibaba::Setup::new(endpoint(&cloud), Credentials::fixed(key), None);
    let providers = Providers::from(huawei).or(alibaba.into());
    let gateway = Gateway::start(Options::none().with(|config| config.providers = providers)).await;
    let shown = async {
        loop {
            let readyz = admin_get(&gateway, "/readyz").await;
            if readyz.contains("ok\nhuawei-dli: no credential") {
                return readyz;
            }
        }
    };
    let readyz = tokio::time::timeout(LONG, shown).await.unwrap();
    assert!(readyz.starts_with("HTTP/1.1 200"), "{readyz}");
    get(&gateway).await.unwrap();
    unavailable(&import(&gateway).await.unwrap_err());
}

fn rrsa(cloud: &FakeCloud, folder: &Folder) -> Rrsa {
    Rrsa {
        endpoint: endpoint(cloud),
        role_arn: "acs:ram::123:role/gw".into(),
        oidc_provider_arn: "acs:ram::123:oidc-provider/ack-rrsa-c1".into(),
        token_file: SecretFile::of_token(folder.write("token", "eyJhbGciOi.JWT.sig\n")),
        session_name: "gw".into(),
    }
}

#[tokio::test]
async fn alibaba_rrsa_keeps_the_token_out_of_the_url() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        path if path.starts_with("/?Action=") => {
            let who = r#""AssumedRoleUser":{"Arn":"acs:ram::123:role/gw/gw"}"#;
            Reply::json(
                200,
                &format!(r#"{{"RequestId":"R",{who},"Credentials":{{{ALIBABA_KEY}}}}}"#),
            )
        }
        _ => success(request),
    })
    .await;
    let folder = Folder::new();
    let gateway = gateway(&cloud, &ALIBABA, rrsa(&cloud, &folder)).await;
    get(&gateway).await.unwrap();
    let requests = cloud.requests();
    let asked = requests.iter().find(|r| r.path().starts_with("/?")).unwrap();
    let start = "POST /?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&Timestamp=20";
    assert!(asked.line().starts_with(start), "{}", asked.line());
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(
        String::from_utf8_lossy(&asked.body),
        "RoleArn=acs%3Aram%3A%3A123%3Arole%2Fgw\
         &OIDCProviderArn=acs%3Aram%3A%3A123%3Aoidc-provider%2Fack-rrsa-c1\
         &OIDCToken=eyJhbGciOi.JWT.sig&RoleSessionName=gw&DurationSeconds=3600"
    );
    let call = requests.iter().find(|r| r.path().starts_with("/api/v2/")).unwrap();
    assert!(call.header("authorization").unwrap().contains("Credential=STS.EXAMPLE,"));
    assert_eq!(call.header("x-acs-security-token"), Some("exampleToken"));
}

#[tokio::test]
async fn a_refused_exchange_is_reported_by_its_code_without_secrets() {
    let cloud = FakeCloud::start(|request, _| {
        let body = serde_json::json!({
            "RequestId": "R", "Code": "AuthenticationFail.OIDCToken.Expired",
            "Message": String::from_utf8_lossy(&request.body),
        });
        Reply::json(400, &body.to_string())
    })
    .await;
    let folder = Folder::new();
    let gateway = gateway(&cloud, &ALIBABA, rrsa(&cloud, &folder)).await;
    let status = get(&gateway).await.unwrap_err();
    unavailable(&status);
    assert!(status.message().contains("AuthenticationFail.OIDCToken.Expired"), "{status}");
    for shown in [format!("{status:?}"), gateway.log(), admin_get(&gateway, "/metrics").await] {
        assert!(!shown.contains("eyJhbGciOi"), "{shown}");
    }
}

#[tokio::test]
async fn alibaba_ecs_role_is_discovered_or_configured_in_both_versions() {
    let token = "PUT /latest/api/token HTTP/1.1";
    let list = "GET /latest/meta-data/ram/security-credentials/ HTTP/1.1";
    let key = "GET /latest/meta-data/ram/security-credentials/gw-role HTTP/1.1";
    for (v2, role, want) in [
        (true, None, vec![token, list, key]),
        (true, Some("gw-role"), vec![token, key]),
        (false, Some("gw-role"), vec![token, key]),
    ] {
        let cloud = FakeCloud::start(move |request, _| {
            let sent = request.header("x-aliyun-ecs-metadata-token").map(str::to_owned);
            match request.line() {
                line if line == token && v2 => {
                    let ttl = request.header("x-aliyun-ecs-metadata-token-ttl-seconds");
                    assert_eq!(ttl, Some("21600"));
                    Reply::text(200, "text/plain", "METATOKEN")
                }
                line if line == token => Reply::text(404, "text/plain", ""),
                line if line == list || line == key => {
                    assert_eq!(sent.as_deref(), v2.then_some("METATOKEN"));
                    match line == list {
                        true => Reply::text(200, "text/plain", "gw-role\n"),
                        false => {
                            Reply::json(200, &format!(r#"{{"Code":"Success",{ALIBABA_KEY}}}"#))
                        }
                    }
                }
                _ => success(request),
            }
        })
        .await;
        let role = role.map(str::to_owned);
        let source = EcsRole { endpoint: endpoint(&cloud), role, allow_v1: true };
        let gateway = gateway(&cloud, &ALIBABA, source).await;
        get(&gateway).await.unwrap();
        let requests = cloud.requests();
        assert_eq!(lines(&requests), want);
    }
}

#[tokio::test]
async fn alibaba_metadata_without_a_role_gives_no_credential() {
    for (allow_v1, body) in [(true, r#"{"Code":"Failed"}"#), (false, "{}")] {
        let cloud = FakeCloud::start(move |request, _| match request.line() {
            line if line.starts_with("PUT ") => Reply::text(404, "text/plain", ""),
            _ => Reply::json(200, body),
        })
        .await;
        let role = Some("gw-role".to_owned());
        let source = EcsRole { endpoint: endpoint(&cloud), role, allow_v1 };
        let gateway = gateway(&cloud, &ALIBABA, source).await;
        unavailable(&get(&gateway).await.unwrap_err());
        let gets = cloud.requests().iter().filter(|r| r.line().starts_with("GET ")).count();
        // Where the first version is switched off, it is not tried.
        assert_eq!(gets > 0, allow_v1);
    }
}

#[tokio::test]
async fn alibaba_credentials_of_a_uri() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        "/creds?x=1" => Reply::json(200, &format!(r#"{{"Code":"Success",{ALIBABA_KEY}}}"#)),
        _ => success(request),
    })
    .await;
    let uri = format!("{}/creds?x=1", cloud.endpoint()).parse().unwrap();
    let gateway = gateway(&cloud, &ALIBABA, CredentialsUri { uri }).await;
    get(&gateway).await.unwrap();
    assert_eq!(lines(&cloud.requests()), ["GET /creds?x=1 HTTP/1.1"]);
    let metrics = admin_get(&gateway, "/metrics").await;
    let line = r#"savepoint_gateway_credential_expiry_timestamp_seconds{provider="alibaba-flink"} 4070908800"#;
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

/// A hundred callers wait for the one request that is under way, and then the gateway is
/// ready.
#[tokio::test]
async fn a_hundred_callers_at_the_start_cause_one_request() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        "/creds" => Reply::Held(Box::new(Reply::json(
            200,
            &format!(r#"{{"Code":"Success",{ALIBABA_KEY}}}"#),
        ))),
        _ => success(request),
    })
    .await;
    let uri = format!("{}/creds", cloud.endpoint()).parse().unwrap();
    let options = Options {
        credentials: Some(Credentials::refreshed(CredentialsUri { uri }, None)),
        alibaba: Some(cloud.endpoint()),
        ..Options::none()
    };
    let gateway = Gateway::start(options).await;
    let client = gateway.client().await;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.get_savepoint(get_request()).await })
        })
        .collect();
    assert!(admin_get(&gateway, "/readyz").await.starts_with("HTTP/1.1 503"));
    cloud.release();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    ready(&gateway).await;
    let asked = cloud.requests().iter().filter(|r| r.path() == "/creds").count();
    assert_eq!(asked, 1);
}

#[test]
fn no_source_shows_its_secrets() {
    let folder = Folder::new();
    let uri = "http://127.0.0.1:1/exampleSecret".parse().unwrap();
    folder.write("access_key_id", "EXAMPLEID");
    folder.write("access_key_secret", "exampleSecret");
    let directory = Directory::of_key(folder.path());
    let read = directory.read().unwrap();
    for shown in [
        format!("{:?}", CredentialsUri { uri }),
        format!("{directory:?}"),
        format!("{:?} {:?}", read, read.access_key().unwrap()),
        format!("{:?}", Credentials::refreshed(directory, None)),
    ] {
        assert!(!shown.contains("exampleSecret") && !shown.contains("EXAMPLEID"), "{shown}");
    }
}

#[tokio::test]
async fn no_signal_causes_another_login_with_a_refused_password() {
    let wrong = r#"{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}"#;
    let cloud = FakeCloud::start(move |request, _| {
        match String::from_utf8_lossy(&request.body).contains("right Password") {
            true => logged_in("TOKEN"),
            false => Reply::json(401, wrong),
        }
    })
    .await;
    let folder = Folder::new();
    let file = SecretFile::of_password(folder.write("password", "wrong Password\n"))
        .with_times(Duration::from_millis(10), Duration::from_millis(5));
    for (password, is_file) in
        [(PasswordOf::Text(Secret::new("wrong Password")), false), (PasswordOf::File(file), true)]
    {
        let before = logins(&cloud);
        let source = self::password(&cloud, password, TokenScope::Name("cn-north-4".into()));
        let gateway = gateway(&cloud, &HUAWEI, source).await;
        unavailable(&import(&gateway).await.unwrap_err());
        for _ in 0..40 {
            gateway.reload();
            pass(Duration::from_secs(40)).await;
            unavailable(&import(&gateway).await.unwrap_err());
        }
        assert_eq!(logins(&cloud) - before, 1, "{is_file}");
        if is_file {
            folder.write("password", "right Password\n");
            let obtained = r#"savepoint_gateway_credential_refreshes_total{provider="huawei-dli",outcome="success"}"#;
            while super::rotation::metric(&gateway, obtained).await == 0 {
                gateway.reload();
                pass(Duration::from_millis(10)).await;
            }
            assert_eq!(logins(&cloud) - before, 2);
        }
    }
}

/// A service that never answers requests for a session token: its response has a hop limit that is
/// too low for containers.
#[tokio::test]
async fn metadata_without_an_answer_to_version_2_is_asked_in_version_1() {
    for provider in [&HUAWEI, &ALIBABA] {
        let cloud = FakeCloud::start(|request, _| match request.path() {
            _ if request.line().starts_with("PUT ") => Reply::Silence,
            "/openstack/latest/securitykey" => {
                assert_eq!(request.header("x-metadata-token"), None);
                Reply::json(200, HUAWEI_KEY)
            }
            "/latest/meta-data/ram/security-credentials/gw" => {
                assert_eq!(request.header("x-aliyun-ecs-metadata-token"), None);
                Reply::json(200, &format!(r#"{{"Code":"Success",{ALIBABA_KEY}}}"#))
            }
            _ => success(request),
        })
        .await;
        let (endpoint, role) = (endpoint(&cloud), Some("gw".to_owned()));
        let gateway = match provider == &HUAWEI {
            true => gateway(&cloud, provider, EcsAgency { endpoint }).await,
            false => gateway(&cloud, provider, EcsRole { endpoint, role, allow_v1: true }).await,
        };
        eventually("a token was requested", || cloud.count() == 1).await;
        pass(Duration::from_secs(4)).await;
        match provider == &HUAWEI {
            true => import(&gateway).await.unwrap(),
            false => get(&gateway).await.unwrap(),
        }
        assert_eq!(cloud.abandoned(), 1);
    }
}

#[tokio::test]
async fn a_credential_without_an_end_is_used() {
    for end in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"] {
        let key = HUAWEI_KEY.replace("2099-01-01T00:00:00.213123Z", end);
        let cloud = FakeCloud::start(move |request, _| match request.path() {
            "/openstack/latest/securitykey" => Reply::json(200, &key),
            "/meta-data/latest/api/token" => Reply::text(200, "text/plain", "T"),
            _ => success(request),
        })
        .await;
        let gateway = gateway(&cloud, &HUAWEI, EcsAgency { endpoint: endpoint(&cloud) }).await;
        import(&gateway).await.unwrap();
        let metrics = admin_get(&gateway, "/metrics").await;
        let line = r#"savepoint_gateway_credential_expiry_timestamp_seconds{provider="huawei-dli"} 253402207200"#;
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}
