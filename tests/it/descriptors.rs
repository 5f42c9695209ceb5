use savepoint_gateway::gateway::Config;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::{FakeCloud, LONG, Options, Process, Reply, eventually, get_request};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;

const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
];

const SHORT: &str = "may not open as many files";

fn config(workers: usize, max_in_flight: usize, max_connections: usize) -> Config {
    let config = Config { workers, max_in_flight, max_idle: max_in_flight, ..Config::default() };
    let mut config = Options { huawei: None, ..Options::none() }.with(|own| *own = config).config;
    config.server.max_connections = max_connections;
    config
}

#[test]
fn what_the_options_can_need_is_kept_below_the_limit_of_open_files() {
    for workers in [1, 4, 64] {
        for max_in_flight in [1, 64, 256, 10_000] {
            for max_connections in [1, 100, 10_000] {
                let wanted = config(workers, max_in_flight, max_connections);
                let (_, shortage) = wanted.clone().within_descriptors(0);
                let needed = shortage.unwrap().needed;
                let (same, shortage) = wanted.clone().within_descriptors(needed);
                assert_eq!(shortage, None);
                assert_eq!(same.max_in_flight, max_in_flight);
                assert_eq!(same.max_idle, max_in_flight);
                assert_eq!(same.server.max_connections, max_connections);

                for limit in [64, 256, 1024, 4096, 65_536].into_iter().filter(|it| *it < needed) {
                    let (lower, shortage) = wanted.clone().within_descriptors(limit);
                    assert_eq!(shortage.unwrap().needed, needed);
                    assert!(lower.max_in_flight >= 1);
                    assert!(lower.server.max_connections >= max_connections.min(8));
                    let (_, again) = lower.clone().within_descriptors(0);
                    // Below some hundred, what the process itself needs is more than the limit.
                    if limit >= 256 + 8 * workers {
                        let needs = again.unwrap().needed;
                        assert!(needs <= limit, "{limit} {workers} {needs}: {lower:?}");
                    }
                }
            }
        }
    }
}

/// The status line of a probe.
async fn probe(admin: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn client(address: &str) -> SavepointServiceClient<tonic::transport::Channel> {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    SavepointServiceClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test]
async fn idle_callers_take_no_descriptor_that_probes_and_calls_need() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let args = [format!("--alibaba-endpoint={}", cloud.endpoint()), "--workers=2".to_owned()];
    let process = Process::serve_after("ulimit -n 256", &args, &KEY);
    let line = process.line("listening").await;
    let (address, admin) = (line["listen"].as_str().unwrap(), line["admin_listen"].as_str());
    let warning = process.line(SHORT).await;
    assert_eq!(warning["level"], "WARN");
    assert_eq!(warning["limit"], 256);
    assert!(warning["needed"].as_u64().unwrap() > 10_000, "{warning}");
    for option in ["--max-connections", "--max-in-flight"] {
        assert!(warning["message"].as_str().unwrap().contains(option), "{warning}");
    }
    let mut first = client(address).await;
    let mut callers = Vec::new();
    for _ in 0..260 {
        callers.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..20 {
        assert_eq!(probe(admin.unwrap()).await, "HTTP/1.1 200 OK");
        first.get_savepoint(get_request()).await.unwrap();
    }
    assert!(!process.said().contains("cannot accept"), "{}", process.said());
}

/// Far fewer descriptors than the admin port has places.
#[tokio::test]
async fn idle_peers_of_the_admin_port_take_no_descriptor_that_probes_need() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let args = [format!("--alibaba-endpoint={}", cloud.endpoint()), "--workers=1".to_owned()];
    let process = Process::serve_after("ulimit -n 40", &args, &KEY);
    let line = process.line("listening").await;
    let admin = line["admin_listen"].as_str().unwrap();
    let mut peers = Vec::new();
    for _ in 0..50 {
        peers.push(TcpStream::connect(admin).await.unwrap());
    }
    for _ in 0..3 {
        assert_eq!(probe(admin).await, "HTTP/1.1 200 OK");
    }
}

/// Calls beyond what the descriptors allow are refused as overload, never as an unavailable
/// provider.
#[tokio::test]
async fn a_burst_within_the_limits_that_hold_finds_descriptors() {
    let answer = Reply::Held(Box::new(Reply::json(200, SAVEPOINT)));
    let cloud = FakeCloud::answering(answer).await;
    let args = [format!("--alibaba-endpoint={}", cloud.endpoint()), "--workers=4".to_owned()];
    let process = Process::serve_after("ulimit -n 300", &args, &KEY);
    let address = process.address().await;
    let allowed = process.line(SHORT).await["max_in_flight"].as_u64().unwrap();
    assert!((50..256).contains(&allowed), "{allowed}");
    // With idle connections in the pools of all workers later on.
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(client(&address).await);
    }
    for round in 0..4 {
        let calls: Vec<_> = (0..250)
            .map(|call| {
                // The first burst goes to one worker.
                let mut client = clients[call * round % clients.len()].clone();
                tokio::spawn(async move { client.get_savepoint(get_request()).await })
            })
            .collect();
        if round == 0 {
            eventually("the burst is at the provider", || cloud.count() as u64 == allowed).await;
            let refused = || calls.iter().filter(|call| call.is_finished()).count() as u64;
            eventually("the rest is refused", || refused() == 250 - allowed).await;
            cloud.release();
        }
        for call in calls {
            if let Err(status) = call.await.unwrap() {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            }
        }
    }
}

/// Pools of many workers together keep no more connections than one of a single worker would.
#[tokio::test]
async fn idle_connections_to_a_provider_are_bounded_for_the_process() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let args = [
        format!("--alibaba-endpoint={}", cloud.endpoint()),
        "--max-in-flight=8".to_owned(),
        "--workers=4".to_owned(),
    ];
    let process = Process::serve(&args, &KEY);
    let address = process.address().await;
    let open = || {
        let folder = format!("/proc/{}/fd", process.id());
        std::fs::read_dir(folder).map_or(0, |entries| entries.count())
    };
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = client(&address).await;
        client.get_savepoint(get_request()).await.unwrap();
        clients.push(client);
    }
    // Each worker has one of them.
    let before = open() - 4;
    for client in &clients {
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { client.get_savepoint(get_request()).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
    }
    eventually("at most eight idle connections", || open() <= before + 8).await;
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let args = [
        format!("--alibaba-endpoint={}", cloud.endpoint()),
        "--max-connections=500".to_owned(),
        "--max-in-flight=64".to_owned(),
        "--workers=1".to_owned(),
    ];
    let process = Process::serve_after("ulimit -Sn 128 && ulimit -Hn 1024", &args, &KEY);
    process.address().await;
    assert!(!process.said().contains(SHORT), "{}", process.said());
    if let Ok(limits) = std::fs::read_to_string(format!("/proc/{}/limits", process.id())) {
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let numbers: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
        assert_eq!(numbers, ["1024", "1024"], "{line}");
    }
}
