//! Each of these is one mistake; the answer is one problem that names flag, variable and value.

use std::process::{Command, Output, Stdio};

use crate::support::{Folder, Process};

const HUAWEI: &str = "--huawei-endpoint=http://127.0.0.1:1";
const ALIBABA: &str = "--alibaba-endpoint=http://127.0.0.1:1";
const SECRET: &str = "exampleSecret";

/// The variables of both clouds that make a configuration complete.
const KEYS: [(&str, &str); 5] = [
    ("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"),
    ("HUAWEICLOUD_SDK_SK", SECRET),
    ("HUAWEICLOUD_SDK_PROJECT_ID", "p1"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET),
];

fn variable_of(flag: &str) -> String {
    format!("SAVEPOINT_GATEWAY_{}", flag.trim_start_matches('-').to_uppercase().replace('-', "_"))
}

/// Runs `serve`, which must end at once.
fn serve(folder: &Folder, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"))
        .arg("serve")
        .args(args)
        .current_dir(folder.path())
        .env_clear()
        .envs(KEYS)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The problems that it reports, one each, without their indent.
fn problems(what: &str, output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{what}\n{text}");
    assert!(!text.contains(SECRET), "{what}\n{text}");
    text.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

/// A flag, its value, what the answer shows of the value, and what it says about it.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// With a provider that is configured apart from them.
#[rustfmt::skip]
const OF_ONE_OPTION: [Row; 74] = [
    ("--listen", "nowhere", "\"nowhere\"", "host:port, such as"),
    ("--listen", "127.0.0.1", "\"127.0.0.1\"", "host:port, such as"),
    ("--listen", "127.0.0.1:99999", "\"127.0.0.1:99999\"", "host:port, such as"),
    ("--listen", ":50051", "\":50051\"", "host:port, such as"),
    ("--listen", "::1:50051", "\"::1:50051\"", "host:port, such as"),
    ("--listen", "http://127.0.0.1:1", "\"http://127.0.0.1:1\"", "host:port, such as"),
    ("--listen", "unix:", "\"unix:\"", "unix:/path"),
    ("--admin-listen", "9464", "\"9464\"", "host:port, such as"),
    ("--admin-listen", "127.0.0.1:50051", "\"127.0.0.1:50051\"", "is the address of --listen"),
    ("--socket-mode", "0660", "\"0660\"", "has no effect without a Unix socket, such as --listen"),
    ("--default-timeout", "30", "\"30\"", "with a unit, such as"),
    ("--default-timeout", "soon", "\"soon\"", "with a unit, such as"),
    ("--default-timeout", "61s", "\"61s\"", "is longer than --max-timeout, \"60s\""),
    ("--default-timeout", "0s", "\"0s\"", "must be longer than zero"),
    ("--max-timeout", "0s", "\"0s\"", "must be longer than zero"),
    ("--max-timeout", "-5s", "\"-5s\"", "with a unit, such as"),
    ("--max-timeout", "9000000000000000000s", "\"9000000000000000000s\"", "is longer than a year"),
    ("--max-watch", "9000h", "\"9000h\"", "is longer than a year"),
    ("--max-watch", "1", "\"1\"", "with a unit, such as"),
    ("--connect-timeout", "0s", "\"0s\"", "must be longer than zero"),
    ("--connect-timeout", "5", "\"5\"", "with a unit, such as"),
    ("--peer-timeout", "0s", "\"0s\"", "must be longer than zero"),
    ("--peer-timeout", "10 apples", "\"10 apples\"", "with a unit, such as"),
    ("--drain-timeout", "0", "\"0\"", "must be longer than zero"),
    ("--drain-timeout", "10", "\"10\"", "with a unit, such as"),
    ("--drain-delay", "5", "\"5\"", "with a unit, such as"),
    ("--max-connection-age", "300", "\"300\"", "with a unit, such as"),
    ("--max-connection-idle", "five", "\"five\"", "with a unit, such as"),
    ("--watch-heartbeat", "0s", "\"0s\"", "must be longer than zero"),
    ("--watch-heartbeat", "30", "\"30\"", "with a unit, such as"),
    ("--watch-stale-timeout", "0s", "\"0s\"", "must be longer than zero"),
    ("--watch-stale-timeout", "5", "\"5\"", "with a unit, such as"),
    ("--max-in-flight", "0", "\"0\"", "is not a number from 1 to 1000000"),
    ("--max-in-flight", "-1", "\"-1\"", "is not a number from 1 to 1000000"),
    ("--max-in-flight", "1e3", "\"1e3\"", "is not a number from 1 to 1000000"),
    ("--max-in-flight", "1000001", "\"1000001\"", "is not a number from 1 to 1000000"),
    ("--max-connections", "0", "\"0\"", "is not a number from 1 to 10000000"),
    ("--max-connections", "many", "\"many\"", "is not a number from 1 to 10000000"),
    ("--max-watches", "0", "\"0\"", "is not a number from 1 to 1000000"),
    ("--max-watches", "10k", "\"10k\"", "is not a number from 1 to 1000000"),
    ("--workers", "0", "\"0\"", "is not a number from 1 to 1024"),
    ("--workers", "1025", "\"1025\"", "is not a number from 1 to 1024"),
    ("--max-request-memory", "16", "\"16\"", "such as 16MiB"),
    ("--max-request-memory", "16MB", "\"16MB\"", "such as 16MiB"),
    ("--max-request-memory", "1KiB", "\"1KiB\"", "from 1MiB to 1024GiB"),
    ("--max-request-memory", "9999999GiB", "\"9999999GiB\"", "from 1MiB to 1024GiB"),
    ("--reflection", "off", "\"off\"", "is neither true nor false"),
    ("--log-format", "xml", "\"xml\"", "is neither json nor text"),
    ("--log-level", "loud", "\"loud\"", "is not one of off, error, warn"),
    ("--log-level", "INFO", "\"INFO\"", "is not one of off, error, warn"),
    ("--grpc-web-allow-origin", "example.com", "\"example.com\"", "origin such as https://"),
    ("--grpc-web-allow-origin", "https://a.example/", "\"https://a.example/\"", "origin such as"),
    ("--grpc-web-allow-header", "x-id", "\"x-id\"", "has no effect without --grpc-web-allow-origin"),
    ("--tls-cert", "cert.pem", "", "set both, or neither"),
    ("--tls-key", "key.pem", "", "set both, or neither"),
    ("--tls-client-ca", "ca.pem", "\"ca.pem\"", "has no effect without --tls-cert and --tls-key"),
    ("--tls-client-auth", "optional", "\"optional\"", "has no effect without --tls-client-ca"),
    ("--upstream-client-cert", "cert.pem", "", "set both, or neither"),
    ("--upstream-client-key", "key.pem", "", "set both, or neither"),
    ("--upstream-ca", "nowhere.pem", "nowhere.pem", "does not exist"),
    ("--upstream-ca", "empty.pem", "empty.pem", "has no PEM certificate"),
    ("--upstream-ca", ".", ".", "is not a regular file"),
    ("--upstream-ca", "broken.pem", "broken.pem", "has no valid PEM certificate"),
    ("--upstream-proxy", "socks5://proxy:1080", "\"socks5://...\"", "such as http://proxy"),
    ("--upstream-proxy", "exampleSecret", "", "such as http://proxy"),
    ("--upstream-proxy", "http://u:exampleSecret@h/path", "\"http://...\"", "such as http://proxy"),
    ("--upstream-proxy", "http://h:1", "", "has no effect without an endpoint that begins with https"),
    ("--huawei-project-id", "a b", "\"a b\"", "must be 1 to 64 of"),
    ("--huawei-credentials", "vault", "\"vault\"", "is not one of env, dir:/path"),
    ("--huawei-credentials", "exampleSecret", "", "is not one of env, dir:/path"),
    ("--huawei-credentials", "token-file:/nowhere", "/nowhere", "does not exist"),
    ("--alibaba-workspace", "w", "\"w\"", "has no effect without --alibaba-region or"),
    ("--alibaba-credentials", "ecs", "", "has no effect without --alibaba-region or"),
    ("--alibaba-region", "mars", "\"mars\"", "is not the name of a region, such as"),
];

/// With a Unix socket.
#[rustfmt::skip]
const OF_A_SOCKET: [Row; 3] = [
    ("--socket-mode", "rw", "\"rw\"", "is not a mode such as 0660"),
    ("--socket-mode", "1777", "\"1777\"", "is not a mode such as 0660"),
    ("--socket-mode", "0444", "\"0444\"", "lets nobody connect"),
];

/// With nothing but them.
#[rustfmt::skip]
const OF_A_PROVIDER: [Row; 21] = [
    ("--huawei-region", "mars-1", "\"mars-1\"", "region"),
    ("--huawei-region", "CN-North-4", "\"CN-North-4\"", "region"),
    ("--huawei-endpoint", "ftp://dli.example", "\"ftp://dli.example\"", "must begin with https://"),
    ("--huawei-endpoint", "https://", "\"https://\"", "is not a URL such as"),
    ("--huawei-endpoint", "https://dli.example/v1", "\"https://dli.example/v1\"", "host and port only"),
    ("--huawei-endpoint", "http://dli.example", "\"http://dli.example\"", "use https://, or --allow"),
    ("--huawei-endpoint", "https://u:exampleSecret@h", "not shown", "host and port only"),
    ("--alibaba-endpoint", "http://203.0.113.1", "\"http://203.0.113.1\"", "use https://, or --allow"),
    ("--alibaba-endpoint", "https://h?exampleSecret", "not shown", "host and port only"),
    ("--alibaba-endpoint", "not a host", "\"not a host\"", "is not a URL such as"),
    ("--alibaba-region", "cn.evil.example/", "\"cn.evil.example/\"", "is not the name of a region"),
    ("--huawei-project-id", "p1", "\"p1\"", "has no effect without --huawei-region or"),
    ("--huawei-credentials", "env", "", "has no effect without --huawei-region or"),
    ("--alibaba-workspace", "../x", "\"../x\"", "must be"),
    ("--flink-cluster", "http://h:8081", "\"http://h:8081\"", "is not NAME=URL, such as prod=http"),
    ("--flink-cluster", "a b=http://h:1", "\"a b=http://h:1\"", "is not NAME=URL, such as prod=http"),
    ("--flink-cluster", "http://u:exampleSecret@h/?a=b", "not shown", "is not NAME=URL, such as"),
    ("--flink-cluster", "p=http://u:exampleSecret@h", "of cluster \"p\"", "host and port only"),
    ("--flink-cluster", "p=ftp://h", "of cluster \"p\", \"ftp://h\"", "must begin with https://"),
    ("--flink-cluster", "p=http://h:1,p=http://h:2", "\"p\"", "is there twice"),
    ("--flink-authorization-file", "/nowhere", "\"/nowhere\"", "has no effect without --flink-cluster"),
];

fn folder() -> Folder {
    let folder = Folder::new();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("empty.pem", "");
    write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder
}

#[test]
fn each_mistake_is_one_problem_with_flag_variable_value_and_a_way_out() {
    let folder = folder();
    let with = |base: &'static [&'static str], rows: &'static [Row]| {
        rows.iter().map(move |row| (base, row))
    };
    let all: Vec<_> = with(&[HUAWEI], &OF_ONE_OPTION)
        .chain(with(&[HUAWEI, "--listen=unix:/nowhere/socket"], &OF_A_SOCKET))
        .chain(with(&[], &OF_A_PROVIDER))
        .collect();
    assert!(all.len() >= 80);
    let mut wrong = Vec::new();
    for (base, (flag, value, shown, why)) in all {
        let (option, variable) = (format!("{flag}={value}"), variable_of(flag));
        let as_flag = serve(&folder, &[base, &[&option]].concat(), &[]);
        let as_variable = serve(&folder, base, &[(&variable, value)]);
        for output in [as_flag, as_variable] {
            let found = problems(&option, &output);
            // What is missing may be the other option of a pair.
            let parts = [flag, &*variable, shown, why].map(|part| {
                let other = [part.replace("CERT", "KEY"), part.replace("KEY", "CERT")];
                [part.to_owned()].into_iter().chain(other).collect::<Vec<_>>()
            });
            let is_answer = |problem: &&String| {
                parts.iter().all(|forms| forms.iter().any(|part| problem.contains(part)))
            };
            if found.iter().filter(is_answer).count() != 1 || (found.len() > 1 && !base.is_empty())
            {
                wrong.push(format!("{option}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Mistakes that only a command line can have.
#[test]
fn mistakes_of_the_command_line_come_with_those_of_the_values() {
    let folder = folder();
    for (args, want) in [
        (
            &["--listne=127.0.0.1:1"][..],
            &["--listne: there is no such option; did you mean --listen?"][..],
        ),
        (
            &["--listne", "127.0.0.1:1"],
            &["--listne: there is no such option; did you mean --listen?"],
        ),
        (&["--zzz"], &["--zzz: there is no such option; --help lists all"]),
        (&["-x"], &["-x: there is no such option"]),
        (&["extra"], &["\"extra\": is not an option"]),
        (&["--listen"], &["--listen (SAVEPOINT_GATEWAY_LISTEN): needs a value"]),
        (
            &["--listen=a:1", "--listen=b:1"],
            &["--listen (SAVEPOINT_GATEWAY_LISTEN): is given more than once"],
        ),
        (
            &["--enable-job-control=yes"],
            &[
                "--enable-job-control (SAVEPOINT_GATEWAY_ENABLE_JOB_CONTROL): \"yes\" must be left out",
            ],
        ),
        (
            &["--enable-job-control", "--enable-job-control"],
            &[
                "--enable-job-control (SAVEPOINT_GATEWAY_ENABLE_JOB_CONTROL): is given more than once",
            ],
        ),
        (
            &["--listne=x", "--max-timeout=5", "--reflection", "extra", "--workers=0", "--zzz=1"],
            &[
                "--listne: there is no such option",
                "\"extra\" is neither true nor false",
                "--zzz: there is no such option",
                "--max-timeout (SAVEPOINT_GATEWAY_MAX_TIMEOUT): \"5\"",
                "--workers (SAVEPOINT_GATEWAY_WORKERS): \"0\"",
            ],
        ),
        (&["--upstream-proxi=http://u:exampleSecret@h:1"], &["--upstream-proxi: there is no"]),
        (
            &["--listen=\u{1b}[2J"],
            &["--listen (SAVEPOINT_GATEWAY_LISTEN): \"\\u{1b}[2J\" is neither"],
        ),
    ] {
        let output = serve(&folder, &[&[HUAWEI], args].concat(), &[]);
        let found = problems(&format!("{args:?}"), &output);
        assert_eq!(found.len(), want.len(), "{args:?}\n{found:?}");
        for want in want {
            assert!(found.iter().any(|problem| problem.contains(want)), "{want}\n{found:?}");
        }
        assert!(!output.stderr.contains(&0x1b), "{args:?}");
    }
    // A name that is wrong may be the one of the provider, so that it is not said to be missing.
    let found = problems("region", &serve(&folder, &["--huawei-regoin=cn-north-4"], &[]));
    assert_eq!(found, ["--huawei-regoin: there is no such option; did you mean --huawei-region?"]);
}

#[test]
fn switches_and_bytes_in_variables_are_told_with_the_variable() {
    let folder = folder();
    for flag in ["--enable-job-control", "--propagate-trace-context", "--allow-insecure-endpoints"]
    {
        let variable = variable_of(flag);
        let found = problems(flag, &serve(&folder, &[HUAWEI], &[(&variable, "banana")]));
        let want = format!("{flag} ({variable}): \"banana\" is not one of true, false");
        assert_eq!(found, [want]);
    }
    let output = Command::new("sh")
        .args([
            "-c",
            "SAVEPOINT_GATEWAY_LISTEN=\"$(printf '\\377')\" \"$@\" \"--workers=$(printf '\\377')\"",
        ])
        .args(["sh", env!("CARGO_BIN_EXE_savepoint-gateway"), "serve", HUAWEI])
        .env_clear()
        .envs(KEYS)
        .env("PATH", "/usr/bin:/bin")
        .env("HUAWEICLOUD_SDK_AK", "EXAMPLEAK\n")
        .output()
        .unwrap();
    let found = problems("bytes", &output);
    for want in [
        "--workers (SAVEPOINT_GATEWAY_WORKERS): \"\u{fffd}\" is not UTF-8 text",
        "SAVEPOINT_GATEWAY_LISTEN: is not UTF-8 text",
        "HUAWEICLOUD_SDK_AK: contains a control character",
    ] {
        assert!(found.iter().any(|problem| problem.contains(want)), "{want}\n{found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}

/// They have no configuration that they could be told with.
#[test]
fn the_other_commands_tell_all_mistakes_as_serve_does() {
    let folder = folder();
    for (args, want) in [
        (&["check", HUAWEI, "--format=xml", "--listen=x"][..], &["--format", "--listen"][..]),
        (&["demo", "--onec", "--rate=many"], &["--onec", "--rate"]),
        (&["demo", "--once", "--rate=5"], &["--once"]),
        (&["healthcheck", "--timeut=5s", "--adress=x"], &["--timeut", "--adress"]),
        (&["descriptor", "--output"], &["--output"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"))
            .args(args)
            .current_dir(folder.path())
            .env_clear()
            .envs(KEYS)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}\n{text}");
        for flag in want {
            let is_named = |line: &str| line.contains(flag) && line.contains(": ");
            assert!(text.lines().any(is_named), "{flag}\n{text}");
        }
    }
}

/// Nothing of these stops the start.
#[tokio::test]
async fn what_may_be_meant_for_others_is_a_warning() {
    let env: Vec<_> = [
        ("SAVEPOINT_GATEWAY_LISTNE", "127.0.0.1:1"),
        ("SAVEPOINT_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("SAVEPOINT_GATEWAY_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("SAVEPOINT_GATEWAY_MAX_TIMEOUT", ""),
    ]
    .into_iter()
    .chain(KEYS)
    .collect();
    let args = [HUAWEI.to_owned(), ALIBABA.to_owned(), "--listen=0.0.0.0:0".to_owned()];
    let process = Process::serve(&args, &env);
    process.address().await;
    let warnings: Vec<_> = process
        .said()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["level"] == "WARN")
        .map(|line| line["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("SAVEPOINT_GATEWAY_LISTNE: is not the variable of any option"));
    assert!(warnings[0].ends_with("did you mean SAVEPOINT_GATEWAY_LISTEN?"), "{warnings:?}");
    let want = "--listen (SAVEPOINT_GATEWAY_LISTEN): \"0.0.0.0:0\" can be reached from other hosts";
    assert!(warnings[1].starts_with(want), "{warnings:?}");
}
