use std::time::Duration;

use savepoint_gateway::cli::{Cli, Command};
use savepoint_gateway::gateway::Config;
use savepoint_gateway::providers::huawei::Project;
use savepoint_gateway::telemetry::LogConfig;

const HUAWEI: [(&str, &str); 2] =
    [("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"), ("HUAWEICLOUD_SDK_SK", "exampleSecret")];

fn config(args: &[&str], env: &[(&str, &str)]) -> Result<(Config, LogConfig), String> {
    let args = ["savepoint-gateway", "serve"].iter().chain(args).copied();
    let cli = Cli::try_from_args(args).map_err(|error| error.to_string())?;
    let Command::Serve(options) = cli.command else { unreachable!() };
    let lookup = |name: &str| {
        Ok(env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    options.config(&lookup).map_err(|error| error.to_string())
}

fn project(args: &[&str], env: &[(&str, &str)]) -> String {
    match config(args, env).unwrap().0.providers.huawei.unwrap().default_project {
        Project::Id(id) => id.to_string(),
        Project::None | Project::Lookup(_) => panic!("no project"),
    }
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn defaults_are_the_documented_ones() {
    let (config, _) = config(&["--huawei-region", "cn-north-4"], &HUAWEI).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.server.timeouts.default, Duration::from_secs(30));
    assert_eq!(config.server.timeouts.max, Duration::from_secs(60));
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.max_in_flight, 256);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.server.drain_delay, Duration::ZERO);
    assert_eq!(config.server.max_connection_age, None);
    assert!(config.traces.accept && !config.traces.forward && config.traces.export.is_none());
    let huawei = config.providers.huawei.unwrap();
    assert_eq!(huawei.common.endpoint.origin(), "https://dli.cn-north-4.myhuaweicloud.com");
    assert!(matches!(huawei.default_project, Project::Lookup(_)));
    assert!(config.providers.alibaba.is_none());
}

#[test]
fn all_problems_are_reported_at_once_by_flag_and_variable() {
    let error = config(
        &[
            "--huawei-region=mars-1",
            "--alibaba-endpoint=http://203.0.113.1",
            "--alibaba-workspace=../x",
            "--listen=nowhere",
            "--default-timeout=30",
            "--max-timeout=-5s",
            "--connect-timeout=0s",
            "--max-in-flight=0",
            "--workers=many",
            "--log-level=loud",
            "--log-format=xml",
        ],
        &[
            ("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        ],
    )
    .unwrap_err();
    for part in [
        "--huawei-region (SAVEPOINT_GATEWAY_HUAWEI_REGION): \"mars-1\"",
        "HUAWEICLOUD_SDK_SK: is missing, while HUAWEICLOUD_SDK_AK is set",
        "--alibaba-endpoint (SAVEPOINT_GATEWAY_ALIBABA_ENDPOINT): \"http://203.0.113.1\" uses http://",
        "--alibaba-workspace (SAVEPOINT_GATEWAY_ALIBABA_WORKSPACE): ",
        "ALIBABA_CLOUD_ACCESS_KEY_ID: is missing",
        "--listen (SAVEPOINT_GATEWAY_LISTEN): \"nowhere\"",
        "--default-timeout (SAVEPOINT_GATEWAY_DEFAULT_TIMEOUT): \"30\"",
        "--max-timeout (SAVEPOINT_GATEWAY_MAX_TIMEOUT): \"-5s\"",
        "--connect-timeout (SAVEPOINT_GATEWAY_CONNECT_TIMEOUT): \"0s\"",
        "--max-in-flight (SAVEPOINT_GATEWAY_MAX_IN_FLIGHT): \"0\"",
        "--workers (SAVEPOINT_GATEWAY_WORKERS): \"many\"",
        "--log-level (SAVEPOINT_GATEWAY_LOG_LEVEL): \"loud\"",
        "--log-format (SAVEPOINT_GATEWAY_LOG_FORMAT): \"xml\"",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
    assert!(!error.contains("exampleSecret"), "{error}");
}

#[test]
fn trace_context_is_forwarded_where_the_option_says_so() {
    let args = ["--huawei-region=cn-north-4", "--propagate-trace-context"];
    assert!(config(&args, &HUAWEI).unwrap().0.traces.forward);
}

#[test]
fn a_configuration_without_a_provider_is_refused_with_a_hint() {
    let error = config(&[], &HUAWEI).unwrap_err();
    assert!(error.contains("no provider is configured"), "{error}");
}

#[test]
fn the_effective_configuration_prints_no_secret() {
    let (config, _) = config(&["--huawei-region=cn-north-4"], &HUAWEI).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("exampleSecret"), "{shown}");
    assert!(!shown.contains("EXAMPLEAK"), "{shown}");
}

#[test]
fn an_endpoint_overrides_the_region_and_may_lack_its_scheme() {
    for (endpoint, origin) in [
        ("dli.example", "https://dli.example"),
        ("http://127.0.0.1:8443/", "http://127.0.0.1:8443"),
    ] {
        let args = ["--huawei-region=cn-north-4", "--huawei-endpoint", endpoint];
        let (config, _) = config(&args, &HUAWEI).unwrap();
        assert_eq!(config.providers.huawei.unwrap().common.endpoint.origin(), origin);
    }
}

#[test]
fn the_project_may_come_from_the_providers_own_variable() {
    let env = [HUAWEI[0], HUAWEI[1], ("HUAWEICLOUD_SDK_PROJECT_ID", "p1")];
    let args = ["--huawei-region=cn-north-4"];
    assert_eq!(project(&args, &env), "p1");
    let args = ["--huawei-region=cn-north-4", "--huawei-project-id=p2"];
    assert_eq!(project(&args, &env), "p2");
}

#[test]
fn options_of_connections_are_checked_before_the_start() {
    let h = "--huawei-region=cn-north-4";
    for (args, want) in [
        (vec!["--tls-cert=/nowhere/c"], "--tls-key (SAVEPOINT_GATEWAY_TLS_KEY): is missing"),
        (vec!["--tls-key=/nowhere/k"], "--tls-cert (SAVEPOINT_GATEWAY_TLS_CERT): is missing"),
        (vec!["--tls-client-ca=/nowhere/c"], "has no effect without --tls-cert and --tls-key"),
        (vec!["--tls-client-auth=maybe"], "\"maybe\" is neither required nor optional"),
        (vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k"], "/nowhere/c: does not exist"),
        (vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k"], "/nowhere/k: does not exist"),
        (
            vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k", "--listen=unix:/x"],
            "cannot be used with --listen unix:/x, a Unix socket",
        ),
        (vec!["--socket-mode=rw"], "\"rw\" is not a mode"),
        (vec!["--socket-mode=1777"], "\"1777\" is not a mode"),
        (vec!["--socket-mode=0"], "\"0\" lets nobody connect"),
        (vec!["--socket-mode=0555"], "\"0555\" lets nobody connect"),
        (vec!["--reflection=maybe"], "\"maybe\" is neither true nor false"),
        (
            vec!["--grpc-web-allow-header=x-id"],
            "--grpc-web-allow-header (SAVEPOINT_GATEWAY_GRPC_WEB_ALLOW_HEADER): \"x-id\" has no effect \
             without --grpc-web-allow-origin",
        ),
        (
            vec!["--grpc-web-allow-origin=*", "--grpc-web-allow-header=x-id, x id"],
            "\"x id\" is not a header's name",
        ),
        (vec!["--upstream-ca=/nowhere/ca"], "/nowhere/ca: does not exist"),
        (vec!["--upstream-proxy=socks5://u:exampleSecret@h:1"], "--upstream-proxy (SAVE"),
        (vec!["--upstream-proxy=http://u:exampleSecret@h:1/path"], "--upstream-proxy (SAVE"),
    ] {
        let args = [vec![h], args].concat();
        let error = config(&args, &HUAWEI).unwrap_err();
        assert!(error.contains(want), "{want}\n{error}");
        assert!(!error.contains("exampleSecret"), "{error}");
    }
    let args = [
        h,
        "--listen=unix:/x",
        "--socket-mode=0660",
        "--upstream-proxy=http://u:exampleSecret@h:1",
    ];
    let (config, _) = config(&args, &HUAWEI).unwrap();
    assert_eq!(config.server.socket_mode, Some(0o660));
    assert!(!format!("{config:?}").contains("exampleSecret"));
}

#[test]
fn a_half_or_unusable_key_is_refused_without_showing_it() {
    for env in [
        vec![("HUAWEICLOUD_SDK_AK", "EXAMPLEAK")],
        vec![("HUAWEICLOUD_SDK_SK", "exampleSecret")],
        vec![("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"), ("HUAWEICLOUD_SDK_SK", "exampleSecret\n")],
        vec![],
    ] {
        let error = config(&["--huawei-region=cn-north-4"], &env).unwrap_err();
        assert!(error.contains("HUAWEICLOUD_SDK_"), "{error}");
        assert!(!error.contains("exampleSecret"), "{error}");
    }
}

#[test]
fn a_source_is_named_or_found_by_its_variables() {
    let oidc = [
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::123:role/gw"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::123:oidc-provider/p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
    ];
    let huawei_oidc = [
        ("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::acct:oidcProvider:k8s"),
        ("HUAWEICLOUD_OIDC_AGENCY_URN", "iam::acct:agency:gw"),
        ("HUAWEICLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
    ];
    let uri = ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:9/secret-path");
    let key = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
    ];
    let (a, h) = ("--alibaba-region=cn-hangzhou", "--huawei-region=cn-north-4");
    for (args, env, want) in [
        (vec![a], [&key[..], &oidc, &[uri]].concat(), "Fixed("),
        (vec![a], [&oidc[..], &[uri]].concat(), "Rrsa {"),
        (vec![a], vec![("ALIBABA_CLOUD_ECS_METADATA", "gw-role"), uri], "EcsRole {"),
        (vec![a], vec![uri], "CredentialsUri("),
        (vec![a, "--alibaba-credentials=ecs"], key.to_vec(), "role: None"),
        (vec![a, "--alibaba-credentials=ecs:gw"], vec![], "role: Some(\"gw\")"),
        (vec![a, "--alibaba-credentials=uri:https://h.example/x"], vec![], "CredentialsUri("),
        (vec![h], [&HUAWEI[..], &huawei_oidc].concat(), "Fixed("),
        (vec![h], huawei_oidc.to_vec(), "Oidc {"),
        (vec![h, "--huawei-credentials=ecs"], HUAWEI.to_vec(), "EcsAgency {"),
    ] {
        let shown = format!("{:?}", config(&args, &env).unwrap().0);
        assert!(shown.contains(want), "{want}\n{shown}");
        assert!(!shown.contains("secret-path"), "{shown}");
    }
}

#[test]
fn a_source_that_cannot_work_is_refused_and_never_replaced_by_another() {
    let a = "--alibaba-region=cn-hangzhou";
    let h = "--huawei-region=cn-north-4";
    let key = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        HUAWEI[0],
        HUAWEI[1],
    ];
    let flag = "--alibaba-credentials (SAVEPOINT_GATEWAY_ALIBABA_CREDENTIALS): ";
    for (args, want) in [
        ([a, "--alibaba-credentials=oidc"], "ALIBABA_CLOUD_OIDC_TOKEN_FILE: is missing"),
        ([a, "--alibaba-credentials=oidc"], "ALIBABA_CLOUD_ROLE_ARN: is missing"),
        ([a, "--alibaba-credentials=uri"], "ALIBABA_CLOUD_CREDENTIALS_URI: is missing"),
        ([a, "--alibaba-credentials=uri:http://h.example/"], "uses http://"),
        ([a, "--alibaba-credentials=uri:ftp://h.example/"], "must begin with https://"),
        ([a, "--alibaba-credentials=uri:https://u:exampleSecret@h.example/"], "not have a user"),
        ([a, "--alibaba-credentials=vault"], flag),
        ([a, "--alibaba-credentials=dir"], flag),
        ([a, "--alibaba-credentials=dir:"], flag),
        ([a, "--alibaba-credentials=dir:/nowhere/at/all"], "/access_key_secret: does not"),
        ([a, "--alibaba-credentials=token-file:/x"], flag),
        ([h, "--huawei-credentials=oidc"], "HUAWEICLOUD_OIDC_AGENCY_URN: is missing"),
        ([h, "--huawei-credentials=uri"], "--huawei-credentials (SAVEPOINT_GATEWAY_HUAWEI"),
        ([h, "--huawei-credentials=token-file:/nowhere"], "/nowhere: does not exist"),
    ] {
        let error = config(&args, &key).unwrap_err();
        assert!(error.contains(want), "{want}\n{error}");
        assert!(!error.contains("exampleSecret"), "{error}");
    }
}

#[test]
fn a_secret_goes_to_the_site_of_its_region_or_the_endpoint_is_asked_for() {
    let user = [
        ("HW_DOMAIN_NAME", "d"),
        ("HW_USER_NAME", "u"),
        ("HW_USER_PASSWORD", "examplePassword"),
        ("HUAWEICLOUD_SDK_PROJECT_ID", "p1"),
    ];
    let oidc = [
        ("HUAWEICLOUD_OIDC_PROVIDER_URN", "p"),
        ("HUAWEICLOUD_OIDC_AGENCY_URN", "a"),
        ("HUAWEICLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
        ("HUAWEICLOUD_SDK_PROJECT_ID", "p1"),
    ];
    let rrsa = [
        ("ALIBABA_CLOUD_ROLE_ARN", "r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
    ];
    let with = |env: &[(&'static str, &'static str)], more: (&'static str, &'static str)| {
        [env, &[more]].concat()
    };
    let (iam, sts) = ("HUAWEICLOUD_SDK_IAM_ENDPOINT", "HUAWEICLOUD_SDK_STS_ENDPOINT");
    let region = |name: &str| format!("--huawei-region={name}");
    let huawei_endpoint = |url: &str| format!("--huawei-endpoint={url}");
    let alibaba_endpoint = |url: &str| format!("--alibaba-endpoint={url}");
    for (arg, env, want) in [
        (region("cn-north-4"), user.to_vec(), Ok("https://iam.cn-north-4.myhuaweicloud.com")),
        (region("eu-west-101"), user.to_vec(), Ok("https://iam.eu-west-101.myhuaweicloud.eu")),
        // Without a project, which is looked up with the credential.
        (region("eu-west-101"), HUAWEI.to_vec(), Ok("https://iam.eu-west-101.myhuaweicloud.eu")),
        (region("af-north-1"), user.to_vec(), Err(iam)),
        (region("af-north-1"), HUAWEI.to_vec(), Err(iam)),
        (
            region("af-north-1"),
            with(&user, (iam, "https://iam.example")),
            Ok("https://iam.example"),
        ),
        (huawei_endpoint("https://private.example"), user.to_vec(), Err(iam)),
        (
            huawei_endpoint("https://dli.eu-west-101.myhuaweicloud.eu"),
            user.to_vec(),
            Ok("https://iam.eu-west-101.myhuaweicloud.eu"),
        ),
        (region("tr-west-1"), oidc.to_vec(), Ok("https://sts.tr-west-1.myhuaweicloud.com")),
        (
            region("ap-southeast-3"),
            oidc.to_vec(),
            Ok("https://sts.ap-southeast-3.myhuaweicloud.com"),
        ),
        (region("eu-west-101"), oidc.to_vec(), Err(sts)),
        (region("cn-north-1"), oidc.to_vec(), Err(sts)),
        (
            region("cn-north-1"),
            with(&oidc, (sts, "https://sts.example")),
            Ok("https://sts.example"),
        ),
        (huawei_endpoint("https://private.example"), oidc.to_vec(), Err(sts)),
        (
            "--alibaba-region=cn-shanghai-finance-1".into(),
            rrsa.to_vec(),
            Ok("https://sts.cn-shanghai-finance-1.aliyuncs.com"),
        ),
        (
            alibaba_endpoint("https://ververica-vpc.eu-central-1.aliyuncs.com"),
            rrsa.to_vec(),
            Ok("https://sts.eu-central-1.aliyuncs.com"),
        ),
        (
            alibaba_endpoint("https://private.example"),
            with(&rrsa, ("ALIBABA_CLOUD_STS_REGION", "ap-southeast-1")),
            Ok("https://sts.ap-southeast-1.aliyuncs.com"),
        ),
        (
            "--alibaba-region=cn-beijing".into(),
            with(&rrsa, ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")),
            Ok("https://sts-vpc.cn-beijing.aliyuncs.com"),
        ),
        (
            alibaba_endpoint("https://private.example"),
            rrsa.to_vec(),
            Err("ALIBABA_CLOUD_STS_REGION"),
        ),
        (
            "--alibaba-region=cn-beijing".into(),
            with(&rrsa, ("ALIBABA_CLOUD_STS_REGION", "cn.evil.example/")),
            Err("ALIBABA_CLOUD_STS_REGION"),
        ),
    ] {
        let found = config(&[&arg], &env);
        match want {
            Ok(site) => {
                let shown = format!("{:?}", found.unwrap_or_else(|why| panic!("{arg}: {why}")).0);
                assert!(shown.contains(&format!("origin: \"{site}\"")), "{arg}: {site}\n{shown}");
            }
            Err(name) => {
                let error = found.expect_err(&arg);
                assert!(error.contains(&format!("\n  {name}: ")), "{arg}\n{error}");
            }
        }
    }
}

#[test]
fn secrets_and_names_with_what_nobody_sees_are_refused_in_every_variable() {
    let h = "--huawei-region=cn-north-4";
    let a = "--alibaba-region=cn-hangzhou";
    let sources: [(&[&str], &[&str]); 6] = [
        (&[h], &["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"]),
        (&[h], &["HW_DOMAIN_NAME", "HW_USER_NAME", "HW_USER_PASSWORD", "HW_PROJECT_NAME"]),
        (
            &[h],
            &[
                "HUAWEICLOUD_OIDC_PROVIDER_URN",
                "HUAWEICLOUD_OIDC_AGENCY_URN",
                "HUAWEICLOUD_OIDC_TOKEN_FILE",
                "HUAWEICLOUD_OIDC_SESSION_NAME",
            ],
        ),
        (
            &[a],
            &[
                "ALIBABA_CLOUD_ACCESS_KEY_ID",
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                "ALIBABA_CLOUD_SECURITY_TOKEN",
            ],
        ),
        (
            &[a],
            &[
                "ALIBABA_CLOUD_ROLE_ARN",
                "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
                "ALIBABA_CLOUD_ROLE_SESSION_NAME",
            ],
        ),
        (&[a], &["ALIBABA_CLOUD_ECS_METADATA"]),
    ];
    for (args, names) in sources {
        let good: Vec<_> = names.iter().map(|name| (*name, "exampleValue")).collect();
        let fine = if names[0].contains("OIDC") {
            [("HUAWEICLOUD_SDK_STS_ENDPOINT", "https://sts.example")].to_vec()
        } else {
            Vec::new()
        };
        let env = |name: &str, value: &'static str| -> Vec<(&str, &str)> {
            let one = |(known, usual): &(&'static str, &'static str)| {
                (*known, if *known == name { value } else { *usual })
            };
            good.iter().map(one).chain(fine.clone()).collect()
        };
        config(args, &env("", "")).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        for name in names {
            for value in [
                "exampleValue\n",
                "exampleValue\r\n",
                "example\nValue",
                "exampleValue ",
                "\texampleValue",
                "\u{feff}exampleValue",
                "example\u{200b}Value",
                "example\0Value",
            ] {
                let error = config(args, &env(name, value)).expect_err(name);
                assert_eq!(error.matches(&format!("{name}: ")).count(), 1, "{name}\n{error}");
                assert!(!error.contains("exampleValue"), "{name}\n{error}");
            }
        }
    }
    for option in ["--huawei-credentials=dir:/path\n", "--huawei-credentials=ecs "] {
        let error = config(&[h, option], &HUAWEI).expect_err(option);
        assert!(error.contains("--huawei-credentials (SAVEPOINT_GATEWAY_"), "{error}");
    }
    let proxy = "--upstream-proxy=http://u:exampleValue\n@h:1";
    let error = config(&[h, proxy], &HUAWEI).expect_err(proxy);
    assert!(error.contains("--upstream-proxy (") && !error.contains("exampleValue"), "{error}");
}

#[test]
fn variables_that_are_meant_for_other_programs_are_warnings() {
    let env = [
        HUAWEI[0],
        HUAWEI[1],
        ("OTEL_PROPAGATORS", "tracecontext,baggage,b3"),
        ("OTEL_SDK_DISABLED", "0"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
    ];
    let (config, _) = config(&["--huawei-region=cn-north-4"], &env).unwrap();
    assert!(config.traces.accept && config.traces.export.is_none());
    let names: Vec<_> = config.warnings.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["OTEL_SDK_DISABLED", "OTEL_PROPAGATORS", "OTEL_TRACES_EXPORTER"]);
}
