use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::version::{TLS12, TLS13};
use savepoint_gateway::check::{self, Style};
use savepoint_gateway::cli::{Cli, Command};
use savepoint_gateway::clock::{Clock, SystemClock};
use savepoint_gateway::service::OPERATIONS;
use savepoint_gateway::simulator::{Api, EXAMPLE_ID, EXAMPLE_SECRET, Simulator};
use serde_json::Value;
use tokio::net::TcpListener;

use super::proxy::FakeProxy;
use super::tls::{Authority, provider_with, tls_provider, write};
use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use crate::support::{FakeCloud, Folder, PROJECT_ID, RefusingAddress, Reply, WORKSPACE};

/// The system's clock, set wrong by this much.
#[derive(Debug)]
struct Wrong(SignedDuration);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        SystemClock.now().checked_add(self.0).unwrap()
    }

    fn nonce(&self) -> [u8; 16] {
        SystemClock.nonce()
    }

    fn chance(&self) -> f64 {
        SystemClock.chance()
    }
}

/// A run of `check`, with the key of the tests and without other variables.
struct Run {
    args: Vec<String>,
    variables: Vec<(&'static str, String)>,
    clock: Arc<dyn Clock>,
}

/// The exit code, and each step.
struct Checked {
    code: u8,
    steps: Vec<Value>,
}

impl Run {
    fn new(args: &[&str]) -> Self {
        let args = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"].iter().chain(args);
        let key = |id, secret| [(id, ACCESS_KEY_ID.into()), (secret, ACCESS_KEY_SECRET.into())];
        let huawei = key("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK");
        let alibaba = key("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET");
        Self {
            args: args.map(|arg| (*arg).to_owned()).collect(),
            variables: huawei.into_iter().chain(alibaba).collect(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Of Alibaba Cloud at this endpoint.
    fn of(endpoint: &str) -> Self {
        Self::new(&["--alibaba-workspace", WORKSPACE, "--alibaba-endpoint", endpoint])
    }

    fn with(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
        self
    }

    async fn shown(&self, style: Style) -> (u8, String) {
        let command = ["savepoint-gateway", "check"].map(str::to_owned);
        let cli = Cli::try_from_args(command.iter().chain(&self.args)).unwrap();
        let Command::Check(options) = cli.command else { unreachable!() };
        let lookup = |name: &str| {
            Ok(self.variables.iter().find(|(key, _)| *key == name).map(|(_, v)| v.clone()))
        };
        let mut out = Vec::new();
        let (config, clock) = (options.config(&lookup), Arc::clone(&self.clock));
        let code = check::run(config, clock, &mut out, style, options.caller()).await.unwrap();
        let out = String::from_utf8(out).unwrap();
        for (_, value) in &self.variables {
            assert!(value.contains("://") || !out.contains(value.as_str()), "a secret: {out}");
        }
        assert!(!out.contains("hidden"), "{out}");
        (code, out)
    }

    async fn run(&self) -> Checked {
        let (code, out) = self.shown(Style::Json).await;
        let steps: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = steps.last().unwrap();
        assert_eq!(last["step"], "result", "{out}");
        let has_failed = steps.iter().any(|step| step["result"] == "failed");
        assert_eq!(code != 0, has_failed, "{out}");
        assert_eq!(last["result"], if has_failed { "failed" } else { "ok" }, "{out}");
        Checked { code, steps }
    }
}

impl Checked {
    /// The steps of this name.
    fn all(&self, name: &str) -> Vec<&Value> {
        self.steps.iter().filter(|step| step["step"] == name).collect()
    }

    fn the(&self, name: &str) -> &Value {
        match self.all(name)[..] {
            [only] => only,
            _ => panic!("{name}: {:#?}", self.steps),
        }
    }

    /// That the step has this result and these texts, and the run this exit code.
    fn ends(&self, code: u8, name: &str, result: &str, texts: &[&str]) {
        let step = self.the(name);
        assert_eq!((self.code, &step["result"]), (code, &Value::from(result)), "{:#?}", self.steps);
        for text in texts {
            let all = format!("{} {} {}", step["text"], step["reason"], step["fix"]);
            assert!(all.contains(text), "{text}: {step:#}");
        }
        if result == "failed" {
            assert!(step["fix"].is_string(), "{step:#}");
            let last = self.the("result")["text"].as_str().unwrap();
            assert!(last.contains(name), "{last}");
        }
    }
}

async fn simulators() -> [Simulator; 2] {
    let clock = Arc::new(SystemClock);
    let start = async |api| Simulator::start(api, clock.clone()).await.unwrap();
    [start(Api::Huawei).await, start(Api::Alibaba).await]
}

/// Both clouds, with the keys of their simulators.
fn simulated([huawei, alibaba]: &[Simulator; 2]) -> Run {
    let ([huawei_id, huawei_secret], [alibaba_id, alibaba_secret]) = (huawei.key(), alibaba.key());
    Run::of(&format!("http://{}", alibaba.address()))
        .with(format!("--huawei-endpoint=http://{}", huawei.address()))
        .with(format!("--huawei-project-id={PROJECT_ID}"))
        .variable("HUAWEICLOUD_SDK_AK", huawei_id)
        .variable("HUAWEICLOUD_SDK_SK", huawei_secret)
        .variable("ALIBABA_CLOUD_ACCESS_KEY_ID", alibaba_id)
        .variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET", alibaba_secret)
}

#[tokio::test]
async fn each_step_of_a_configuration_that_works_is_good_in_every_style() {
    let clouds = simulators().await;
    let run = simulated(&clouds);
    let checked = run.run().await;
    assert_eq!(checked.code, 0, "{:#?}", checked.steps);
    let names: Vec<_> = checked.steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    let provider = ["connect", "credential", "clock", "signature"];
    let want = [&["configuration", "listen", "listen"][..], &provider, &provider, &["result"]];
    assert_eq!(names, want.concat());
    assert!(checked.steps.iter().all(|step| step["result"] == "ok"), "{:#?}", checked.steps);
    // The same steps in the same words.
    for (style, sign) in [(Style::Words, "ok  "), (Style::Signs, "✓")] {
        let (code, out) = run.shown(style).await;
        assert_eq!((code, out.lines().count()), (0, checked.steps.len()), "{out}");
        for (line, step) in out.lines().zip(&checked.steps) {
            let provider =
                step["provider"].as_str().map_or(String::new(), |name| format!("{name} "));
            let begin = format!("{sign} {provider}{}: ", step["step"].as_str().unwrap());
            let text = line.strip_prefix(&begin).unwrap_or_else(|| panic!("{line}\n{step:#}"));
            // How long a connection took differs.
            if step["step"] != "connect" {
                assert_eq!(text, step["text"].as_str().unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_failed_step_shows_the_same_in_every_style() {
    let clouds = simulators().await;
    let run = simulated(&clouds).variable("HUAWEICLOUD_SDK_SK", "exampleOtherSecret");
    let checked = run.run().await;
    checked.the("result");
    let failed: Vec<_> = checked.steps.iter().filter(|step| step["result"] == "failed").collect();
    let [step, last] = failed[..] else { panic!("{failed:#?}") };
    assert_eq!(step["reason"], "PROVIDER_CREDENTIALS_REJECTED");
    assert!(last["text"].as_str().unwrap().contains("huawei-dli signature"), "{last}");
    for (style, sign, arrow) in [(Style::Words, "FAIL", "->"), (Style::Signs, "✗", "→")] {
        let (code, out) = run.shown(style).await;
        let text = |name: &str| step[name].as_str().unwrap();
        let (reason, fix) = (text("reason"), text("fix"));
        let want =
            format!("{sign} huawei-dli signature: {} ({reason}) {arrow} {fix}", text("text"));
        assert!(out.lines().any(|line| line == want), "{want}\n{out}");
        assert_eq!(code, 1);
        assert_eq!(
            out.lines().last().unwrap(),
            format!("{sign} result: {}", last["text"].as_str().unwrap())
        );
    }
}

#[tokio::test]
async fn what_the_provider_answers_decides_about_the_signature() {
    let html = |status| Reply::text(status, "text/html", "<html>hidden</html>");
    let gateway = |status, code: &str| {
        Reply::json(status, &format!(r#"{{"RequestId":"R","Code":"{code}","Message":"m"}}"#))
    };
    let business = |code: &str| {
        Reply::json(200, &format!(r#"{{"success":false,"errorCode":"{code}","requestId":"R"}}"#))
    };
    for (reply, result, text) in [
        (business("990301"), "ok", "accepted"),
        (business("990302"), "ok", "accepted"),
        (Reply::json(200, r#"{"success":true,"data":{"savepointId":"s"}}"#), "ok", "accepted"),
        (gateway(400, "SignatureDoesNotMatch"), "failed", "PROVIDER_CREDENTIALS_REJECTED"),
        (gateway(404, "InvalidAccessKeyId.NotFound"), "failed", "PROVIDER_CREDENTIALS_REJECTED"),
        (gateway(400, "InvalidSecurityToken.Expired"), "failed", "PROVIDER_CREDENTIALS_REJECTED"),
        (gateway(400, "InvalidTimeStamp.Expired"), "failed", "CLOCK_SKEW"),
        (gateway(403, "NoPermission"), "failed", "PROVIDER_PERMISSION_DENIED"),
        (gateway(404, "InvalidApi.NotFound"), "failed", "PROVIDER_ENDPOINT_MISCONFIGURED"),
        (gateway(400, "MissingWorkspace"), "failed", "PROVIDER_REJECTED_ARGUMENT"),
        (gateway(400, "Throttling.User"), "failed", "try again later"),
        // Not from the service: pages of something else, which prove nothing.
        (gateway(404, "NotFound"), "failed", "PROVIDER_NOT_FOUND"),
        (html(200), "failed", "PROVIDER_MALFORMED_RESPONSE"),
        (html(302), "failed", "PROVIDER_REDIRECT_REFUSED"),
        (html(403), "failed", "PROVIDER_PERMISSION_DENIED"),
        (html(404), "failed", "PROVIDER_ENDPOINT_MISCONFIGURED"),
        (html(503), "failed", "PROVIDER_UNAVAILABLE"),
        (Reply::Raw(b"SSH-2.0-hidden\r\n".to_vec()), "failed", "PROVIDER_MALFORMED_RESPONSE"),
        (Reply::RawReset(Vec::new()), "failed", "PROVIDER_CONNECTION_LOST"),
    ] {
        let cloud = FakeCloud::answering(reply).await;
        let checked = Run::of(&cloud.endpoint()).run().await;
        checked.ends(u8::from(result == "failed"), "signature", result, &[text]);
        // Five wrong signatures lock a key of some providers.
        assert_eq!(cloud.count(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_key_of_huawei_cloud_that_may_not_list_jobs_is_accepted_all_the_same() {
    let error = |status, code: &str| {
        Reply::json(status, &format!(r#"{{"error_code":"{code}","error_msg":"m"}}"#))
    };
    for (reply, result, text) in [
        (Reply::json(200, r#"{"is_success":"true","job_list":{}}"#), "ok", "may be listed"),
        (error(403, "DLI.0016"), "ok", "may not be listed"),
        (error(403, "APIGW.0302"), "ok", "may not be listed"),
        (Reply::text(403, "text/html", "<html>hidden"), "failed", "PROVIDER_PERMISSION_DENIED"),
        (error(401, "APIG.0301"), "failed", "PROVIDER_CREDENTIALS_REJECTED"),
        (error(404, "APIG.0101"), "failed", "PROVIDER_ENDPOINT_MISCONFIGURED"),
        (Reply::json(200, r#"{"is_success":"false"}"#), "failed", "PROVIDER_REPORTED_FAILURE"),
    ] {
        let cloud = FakeCloud::answering(reply).await;
        let run = Run::new(&["--huawei-project-id", PROJECT_ID]);
        let checked = run.with(format!("--huawei-endpoint={}", cloud.endpoint())).run().await;
        checked.ends(u8::from(result == "failed"), "signature", result, &[text]);
        let request = cloud.only_request();
        assert_eq!(request.path(), format!("/v1.0/{PROJECT_ID}/streaming/jobs?limit=1"));
        assert_eq!(request.header("x-project-id"), Some(PROJECT_ID));
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_before_and_after_the_provider_minds() {
    let clouds = simulators().await;
    for (seconds, clock, signature) in [
        (0, "ok", "ok"),
        (-30, "ok", "ok"),
        (90, "warning", "ok"),
        (-90, "warning", "ok"),
        (3600, "warning", "failed"),
    ] {
        let run = Run {
            clock: Arc::new(Wrong(SignedDuration::from_secs(seconds))),
            ..simulated(&clouds)
        };
        let checked = run.run().await;
        for step in checked.all("clock") {
            assert_eq!(step["result"], clock, "{seconds}: {step:#}");
            let text = step["text"].as_str().unwrap();
            assert!(seconds < 60 || text.contains("ahead of"), "{text}");
            assert!(seconds > -60 || text.contains("behind"), "{text}");
        }
        for step in checked.all("signature") {
            assert_eq!(step["result"], signature, "{seconds}: {step:#}");
            assert!(signature == "ok" || step["reason"] == "CLOCK_SKEW", "{step:#}");
        }
        assert_eq!(checked.code, u8::from(signature == "failed"));
    }
}

#[tokio::test]
async fn hosts_that_cannot_be_reached_are_told_by_the_step_that_fails() {
    let refusing = RefusingAddress::new();
    // Accepted by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    // Answers in plain text.
    let plain = Simulator::start(Api::Alibaba, Arc::new(SystemClock)).await.unwrap();
    for (endpoint, step, text) in [
        ("https://savepoint-gateway.invalid", "name", "savepoint-gateway.invalid"),
        (&*format!("http://{refusing}"), "connect", "refused"),
        (&*format!("https://{refusing}"), "connect", "refused"),
        (&*silent, "connect", "TLS handshake was not complete within 300ms"),
        (&*format!("https://{}", plain.address()), "connect", "TLS handshake failed"),
    ] {
        let checked = Run::of(endpoint).with("--connect-timeout=300ms").run().await;
        checked.ends(1, step, "failed", &[text, "PROVIDER_CONNECT_FAILED"]);
        for skipped in ["clock", "signature"] {
            assert_eq!(checked.the(skipped)["result"], "skipped", "{:#?}", checked.steps);
        }
    }
}

#[tokio::test]
async fn a_provider_that_never_answers_does_not_hold_the_check() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let checked = Run::of(&cloud.endpoint()).with("--default-timeout=300ms").run().await;
    checked.ends(1, "signature", "failed", &["no response within 300ms", "DEADLINE_EXCEEDED"]);
    assert_eq!(checked.the("clock")["result"], "skipped");
}

#[tokio::test]
async fn a_certificate_is_shown_with_its_end_and_a_wrong_one_with_its_fault() {
    let (ca, other) = (Authority::new(), Authority::new());
    let folder = Folder::new();
    let path = |name, ca: &Authority| folder.write(name, &ca.pem).to_str().unwrap().to_owned();
    let (trusted, untrusted) = (path("ca.crt", &ca), path("other.crt", &other));
    let versions = [&TLS12, &TLS13];
    let (origin, _serving) = tls_provider(&ca).await;
    let run = || Run::of(&origin);
    let checked = run().with(format!("--upstream-ca={trusted}")).run().await;
    checked.ends(0, "signature", "ok", &[]);
    checked.ends(0, "name", "ok", &["localhost is", "127.0.0.1"]);
    let connected = checked.all("connect").into_iter().find(|step| step["result"] == "ok").unwrap();
    assert_eq!(connected["expires"], "2090-01-01T00:00:00Z", "{connected:#}");

    let fails = |checked: &Checked, text: &str| {
        let failed = checked.all("connect").into_iter().find(|step| {
            step["reason"] == "PROVIDER_CERTIFICATE_REJECTED" && step["result"] == "failed"
        });
        let shown = failed.unwrap_or_else(|| panic!("{:#?}", checked.steps))["text"].to_string();
        assert!(shown.contains(text), "{shown}");
        assert_eq!((checked.code, &checked.the("signature")["result"]), (1, &"skipped".into()));
    };
    let checked = run().with(format!("--upstream-ca={untrusted}")).run().await;
    fails(&checked, "its issuer is not a trusted CA");
    let (expired, _serving, _) = provider_with(ca.issue(2021), None, &versions).await;
    let checked = Run::of(&expired).with(format!("--upstream-ca={trusted}")).run().await;
    fails(&checked, "it has expired at 2021-01-01T00:00:00Z");
    let by_address = origin.replace("localhost", "127.0.0.1");
    let checked = Run::of(&by_address).with(format!("--upstream-ca={trusted}")).run().await;
    fails(&checked, "it is that of another host");
    // Expires in less than a week.
    let clock = Wrong(
        "2089-12-30T00:00:00Z".parse::<Timestamp>().unwrap().duration_since(SystemClock.now()),
    );
    let run = Run { clock: Arc::new(clock), ..run().with(format!("--upstream-ca={trusted}")) };
    let checked = run.run().await;
    assert!(
        checked.all("connect").iter().any(|step| step["result"] == "warning"),
        "{:#?}",
        checked.steps
    );
}

#[tokio::test]
async fn a_provider_that_requests_a_certificate_gets_the_one_of_serve() {
    let (ca, callers) = (Authority::new(), Authority::new());
    let (origin, _serving, _) = provider_with(ca.good(), Some(&callers), &[&TLS13]).await;
    let folder = Folder::new();
    let trusted = folder.write("ca.crt", &ca.pem);
    let run = || Run::of(&origin).with(format!("--upstream-ca={}", trusted.display()));
    let checked = run().run().await;
    checked.ends(1, "signature", "failed", &["PROVIDER_CERTIFICATE_REJECTED"]);
    let (cert, key) = write(&folder, &callers.good());
    let with_pair = run()
        .with(format!("--upstream-client-cert={}", cert.display()))
        .with(format!("--upstream-client-key={}", key.display()));
    let checked = with_pair.run().await;
    checked.ends(0, "signature", "ok", &[]);
    assert_eq!(checked.the("certificate")["expires"], "2090-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_proxy_is_used_as_serve_uses_it() {
    let ca = Authority::new();
    let (origin, _serving) = tls_provider(&ca).await;
    let folder = Folder::new();
    let trusted = folder.write("ca.crt", &ca.pem);
    for (answer, open, result, text) in [
        ("HTTP/1.1 200 OK\r\n\r\n", true, "ok", "certificate valid"),
        ("HTTP/1.1 407 Denied\r\n\r\n", false, "failed", "--upstream-proxy"),
        ("HTTP/1.1 502 hidden\r\n\r\n", false, "failed", "HTTP 502"),
        ("", false, "failed", "the tunnel of the proxy was not complete within"),
    ] {
        let proxy = FakeProxy::start(answer, open).await;
        let run = Run::of(&origin)
            .with(format!("--upstream-ca={}", trusted.display()))
            .with(format!("--upstream-proxy=http://user:hidden@{}", proxy.address))
            .with(if open { "--connect-timeout=20s" } else { "--connect-timeout=300ms" });
        let checked = run.run().await;
        checked.ends(u8::from(!open), "connect", result, &[text, &proxy.address.to_string()]);
    }
}

#[tokio::test]
async fn a_credential_is_shown_with_its_source_and_its_end() {
    let folder = Folder::new();
    for (name, text) in [("access_key_id", EXAMPLE_ID), ("access_key_secret", EXAMPLE_SECRET)] {
        folder.write(name, text);
    }
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"success":false}"#)).await;
    let source = format!("dir:{}", folder.path().display());
    let checked =
        Run::of(&cloud.endpoint()).with(format!("--alibaba-credentials={source}")).run().await;
    checked.ends(0, "credential", "ok", &[&source, "without a known end"]);

    let credential = |expires: &str| {
        let text = format!(
            r#"{{"Code":"Success","AccessKeyId":"STS.exampleId","AccessKeySecret":"hidden","SecurityToken":"hidden","Expiration":"{expires}"}}"#
        );
        Reply::json(200, &text)
    };
    for (reply, result, text) in [
        (credential("2090-01-01T00:00:00Z"), "ok", "from uri"),
        (credential("2020-01-01T00:00:00Z"), "failed", "has already expired"),
        (Reply::json(404, r#"{"Code":"NoSuchRole"}"#), "failed", "NoSuchRole"),
    ] {
        let service = FakeCloud::answering(reply).await;
        let source = format!("--alibaba-credentials=uri:{}/hidden", service.endpoint());
        let checked = Run::of(&cloud.endpoint()).with(source).run().await;
        checked.ends(u8::from(result == "failed"), "credential", result, &[text]);
        let expires = if result == "ok" { "2090-01-01T00:00:00Z".into() } else { Value::Null };
        assert_eq!(checked.the("credential")["expires"], expires);
        assert_eq!(
            checked.the("signature")["result"],
            if result == "ok" { "ok" } else { "skipped" }
        );
    }
}

#[tokio::test]
async fn a_project_is_looked_up_and_named() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let found = Reply::json(200, r#"{"projects":[{"id":"p1","name":"cn-north-4"}]}"#);
    let none = Reply::json(200, r#"{"projects":[]}"#);
    for (reply, result, text, signature) in
        [(found, "ok", "p1", "ok"), (none, "failed", "has no project", "skipped")]
    {
        let iam = FakeCloud::answering(reply).await;
        let checked =
            Run::new(&["--huawei-region=cn-north-4", "--huawei-endpoint", &cloud.endpoint()])
                .variable("HUAWEICLOUD_SDK_IAM_ENDPOINT", iam.endpoint())
                .run()
                .await;
        checked.ends(u8::from(result == "failed"), "lookup", result, &[text]);
        assert_eq!(checked.the("signature")["result"], signature, "{:#?}", checked.steps);
    }
    assert_eq!(cloud.count(), 1);
}

#[tokio::test]
async fn without_a_workspace_or_a_project_nothing_is_sent() {
    let cloud = FakeCloud::answering(Reply::json(200, "{}")).await;
    let checked = Run::new(&["--alibaba-endpoint", &cloud.endpoint()]).run().await;
    checked.ends(0, "signature", "warning", &["--alibaba-workspace"]);
    let checked = Run::new(&["--huawei-endpoint", &cloud.endpoint()]).run().await;
    checked.ends(0, "signature", "warning", &["--huawei-project-id"]);
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn what_serve_would_refuse_is_a_bad_configuration() {
    let run = Run::new(&["--alibaba-endpoint=http://203.0.113.1", "--workers=none"]);
    let checked = run.run().await;
    assert_eq!(checked.code, 2);
    let problems = checked.all("configuration");
    assert_eq!(problems.len(), 2, "{problems:#?}");
    for (problem, text) in problems.iter().zip(["--alibaba-endpoint", "--workers"]) {
        assert!(problem["text"].as_str().unwrap().starts_with(text), "{problem}");
    }
}

#[tokio::test]
async fn the_addresses_and_the_certificate_of_the_gateway_are_checked() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"success":false}"#)).await;
    let run = |listen: &str| {
        Run { args: vec![], ..Run::of(&cloud.endpoint()) }
            .with("--alibaba-workspace=w")
            .with(format!("--alibaba-endpoint={}", cloud.endpoint()))
            .with("--admin-listen=127.0.0.1:0")
            .with(format!("--listen={listen}"))
    };
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = Folder::new();
    let socket = format!("unix:{}/nowhere/s.sock", folder.path().display());
    for (address, result, code) in [(&*taken, "warning", 0), (&*socket, "failed", 1)] {
        let checked = run(address).run().await;
        let step = checked.all("listen")[0];
        assert_eq!((step["result"].as_str().unwrap(), checked.code), (result, code), "{step:#}");
        assert!(step["fix"].is_string() && step["text"].as_str().unwrap().contains(address));
    }
    let ca = Authority::new();
    for (year, result) in [(2090, "ok"), (2021, "failed")] {
        let (cert, key) = write(&folder, &ca.issue(year));
        let checked = run("127.0.0.1:0")
            .with(format!("--tls-cert={}", cert.display()))
            .with(format!("--tls-key={}", key.display()))
            .run()
            .await;
        checked.ends(u8::from(result == "failed"), "certificate", result, &["--tls-cert"]);
    }
}

#[tokio::test]
async fn each_cluster_of_flink_has_steps_of_its_own() {
    let overview = r#"{"flink-version":"2.3.0"}"#;
    let cluster = FakeCloud::start(move |request, _| {
        assert_eq!(request.path(), "/overview");
        match request.header("authorization") {
            Some("Bearer exampleToken") => Reply::json(200, overview),
            _ => Reply::text(401, "text/html", "<html>hidden</html>"),
        }
    })
    .await;
    let refusing = RefusingAddress::new();
    let folder = Folder::new();
    let file = folder.write("authorization", "Bearer exampleToken\n");
    let run = || {
        Run::new(&["--allow-insecure-endpoints"])
            .with(format!("--flink-cluster=good={},bad=http://{refusing}", cluster.endpoint()))
    };
    let checked = run().with(format!("--flink-authorization-file={}", file.display())).run().await;
    let results = |checked: &Checked, name: &str| {
        let steps = checked.all("signature").into_iter().chain(checked.all("connect"));
        let of = steps.filter(|step| step["cluster"] == name);
        of.map(|step| step["result"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(results(&checked, "good"), ["ok", "ok"], "{:#?}", checked.steps);
    assert_eq!(results(&checked, "bad"), ["skipped", "failed"]);
    let last = checked.the("result")["text"].to_string();
    assert!(last.contains("apache-flink bad connect"), "{last}");
    let source = format!("from file:{}", file.display());
    for step in checked.all("credential") {
        assert!(step["text"].as_str().unwrap().starts_with(&source), "{step:#}");
    }
    let checked = run().run().await;
    assert_eq!(results(&checked, "good"), ["failed", "ok"]);
    assert!(checked.all("credential")[0]["text"].as_str().unwrap().contains("none is configured"));
}

#[tokio::test]
async fn the_rights_of_a_caller_are_told() {
    let clouds = simulators().await;
    let folder = Folder::new();
    let text = "[[allow]]\ncallers = [\"spiffe://a.example/*\"]\nmethods = [\"savepoint.v1.SavepointService/*\"]\n\
                projects = [\"p\"]\n[[allow]]\ncallers = [\"uid:1\"]\nmethods = [\"savepoint.dli.v1.DliService/GetJob\"]\n";
    let policy = folder.write("policy.toml", text);
    for (caller, rights) in [
        (
            "spiffe://a.example/x",
            vec![("ImportSavepoint", "within projects p"), ("GetJob", "may not")],
        ),
        ("uid:1", vec![("ImportSavepoint", "may not"), ("DliService/GetJob", "uid:1 may call it")]),
        ("anonymous", vec![("ImportSavepoint", "may not"), ("DliService/GetJob", "may not")]),
    ] {
        let run = simulated(&clouds)
            .with(format!("--policy={}", policy.display()))
            .with(format!("--caller={caller}"));
        let checked = run.run().await;
        assert_eq!(checked.code, 0, "{:#?}", checked.steps);
        let steps: Vec<_> = checked
            .all("policy")
            .iter()
            .map(|step| step["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(steps.len(), 1 + OPERATIONS.len(), "{steps:#?}");
        for (method, right) in rights {
            assert!(
                steps.iter().any(|text| text.contains(method) && text.contains(right)),
                "{steps:#?}"
            );
        }
    }
    let checked = simulated(&clouds).with("--caller=uid:1").run().await;
    assert!(checked.all("policy")[0]["text"].as_str().unwrap().contains("everyone may call"));
}
