use std::fs;
use std::io::Write as _;

use futures_util::future::join_all;
use prost::Message as _;
use savepoint_gateway::healthcheck;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::rpc::Timeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::wire::{
    ACK, DATA, END_HEADERS, END_STREAM, GET, HEADERS, IMPORT, PING, Peer, WINDOW_UPDATE, block,
    call_fields, frame, grpc, prefixed,
};
use crate::support::{
    FakeCloud, Gateway, LONG, Options, Process, Reply, get_request, import_request,
};

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The largest message.
const MOST: u32 = 12_288;

const SIDECAR: &str = "deploy/kubernetes/sidecar-secret.yaml";

/// What docs/reliability.md says that a connection holds at most besides its calls.
const CONNECTION: u64 = 128 * KIB;
/// What it says of the process itself, with the admin port and the log.
const PROCESS: u64 = 24 * MIB;

/// The settings of a sidecar that say how much it may hold, as flags.
fn settings() -> Vec<String> {
    let manifest = fs::read_to_string(SIDECAR).unwrap();
    let setting = |name: &str| {
        let variable = name.to_uppercase().replace('-', "_");
        let start = format!("{{name: SAVEPOINT_GATEWAY_{variable}, value: \"");
        let value = manifest.split(&start).nth(1).unwrap_or_else(|| panic!("{name}"));
        format!("--{name}={}", value.split('"').next().unwrap())
    };
    ["max-connections", "max-in-flight", "max-request-memory", "workers"].map(setting).into()
}

/// `--max-request-memory` of a sidecar and the memory limit of its container, in bytes.
fn limits() -> (u64, u64) {
    let mib =
        |text: &str, unit: &str| MIB * text.split(unit).next().unwrap().parse::<u64>().unwrap();
    let manifest = fs::read_to_string(SIDECAR).unwrap();
    let limit = manifest.split("limits: {memory: ").nth(1).unwrap();
    let settings = settings();
    let budget = settings.iter().find_map(|flag| flag.strip_prefix("--max-request-memory="));
    (mib(budget.unwrap(), "MiB"), mib(limit, "Mi}"))
}

async fn sidecar(cloud: &FakeCloud) -> Process {
    let mut args = settings();
    args.push(format!("--alibaba-endpoint={}", cloud.endpoint()));
    args.push(format!("--huawei-endpoint={}", cloud.endpoint()));
    let key = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        ("HUAWEICLOUD_SDK_AK", "EXAMPLEID"),
        ("HUAWEICLOUD_SDK_SK", "exampleSecret"),
    ];
    Process::serve(&args, &key)
}

async fn client(address: &str) -> SavepointServiceClient<Channel> {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
    SavepointServiceClient::new(endpoint.connect().await.unwrap())
}

/// The frames of a call, without its end.
type Call = Vec<Vec<u8>>;

fn open(stream: u32, path: &'static str, more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &[&block(&call_fields(path))[..], more].concat())
}

/// A call whose message announces so many bytes, of which the last one is missing.
fn unfinished(stream: u32, path: &'static str, announced: u32, piece: usize) -> Call {
    let mut message = vec![0];
    message.extend(announced.to_be_bytes());
    // As much as the window of a stream lets through.
    message.resize((4 + announced as usize).min(16_000), 7);
    let pieces = message.chunks(piece).map(|piece| frame(DATA, 0, stream, piece));
    [open(stream, path, &[])].into_iter().chain(pieces).collect()
}

/// A call with the end of its stream.
fn whole(stream: u32, path: &'static str, message: &[u8]) -> Call {
    vec![open(stream, path, &[]), frame(DATA, END_STREAM, stream, message)]
}

/// Sends these calls within the window of the connection, and returns when all were read.
async fn send(peer: &mut Peer, calls: impl Iterator<Item = Call>) {
    let mut window = 65_535;
    let ping = frame(PING, 0, 0, &[9; 8]);
    'sending: for bytes in calls.flatten() {
        if bytes[3] == DATA {
            window -= bytes.len() as i64 - 9;
        }
        while window < 0 {
            let Some(frame) = peer.next().await else { break 'sending };
            if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
                window += i64::from(u32::from_be_bytes(frame.payload[..].try_into().unwrap()));
            }
        }
        if peer.send(&bytes).await.is_err() {
            break;
        }
    }
    let _ = peer.send(&ping).await;
    while let Some(frame) = peer.next().await {
        if frame.kind == PING && frame.flags == ACK {
            break;
        }
    }
}

async fn attack(
    address: &str,
    connections: usize,
    calls: u32,
    call: &(dyn Fn(u32) -> Call + Sync),
) -> Vec<Peer> {
    let attacking = (0..connections).map(|_| async {
        let mut peer = Peer::connect(address).await;
        send(&mut peer, (0..calls).map(|index| call(2 * index + 1))).await;
        peer
    });
    join_all(attacking).await
}

/// The value of a metric without labels.
async fn metric(admin: &str, name: &str) -> u64 {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{page}")).parse().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let best = flate2::Compression::best();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Hostile inputs 84, 85.
#[tokio::test]
async fn callers_share_one_budget_whatever_they_send() {
    let (budget, _) = limits();
    let cloud = FakeCloud::answering(Reply::json(404, "{}")).await;
    let metadata: Vec<(String, String)> =
        (0..110).map(|index| (format!("x-{index}"), "y".repeat(110))).collect();
    let metadata: Vec<_> = metadata.iter().map(|(name, text)| (&**name, &**text)).collect();
    let metadata = block(&metadata);
    let bomb = {
        let mut message = prefixed(&gzip(&vec![0; 4 * MIB as usize]));
        message[0] = 1;
        [&block(&[("grpc-encoding", "gzip")])[..], &message].concat()
    };
    let encoded = block(&[("grpc-encoding", "gzip")]).len();
    let name = [&[0x0a, 0xc0, 0x3e][..], &[b'x'; 8000]].concat();
    // An entry of the table of the header compression, then fields of one byte each.
    let indexed = |stream: u32, count: usize| {
        let entry: &[u8] = if stream == 1 { b"\x40\x01a\x00" } else { b"" };
        [entry, &vec![0xbe; count]].concat()
    };
    type Make<'a> = Box<dyn Fn(u32) -> Call + Sync + 'a>;
    let cases: Vec<(&str, usize, u32, Make<'_>)> = vec![
        ("a large prefix", 1, 64, Box::new(|s| unfinished(s, REFLECTION, 4 << 20, 16_000))),
        ("gets without the last byte", 8, 256, Box::new(|s| unfinished(s, GET, MOST, 16_000))),
        ("too large gets", 8, 256, Box::new(|s| unfinished(s, GET, 65_536, 16_000))),
        ("checks", 8, 256, Box::new(|s| unfinished(s, CHECK, MOST, 16_000))),
        ("watches", 8, 256, Box::new(|s| unfinished(s, WATCH, MOST, 16_000))),
        ("reflection", 8, 256, Box::new(|s| unfinished(s, REFLECTION, MOST, 16_000))),
        ("reflection v1alpha", 8, 256, Box::new(|s| unfinished(s, REFLECTION_ALPHA, 99, 16_000))),
        ("small frames", 8, 256, Box::new(|s| unfinished(s, GET, 200, 40))),
        ("frames of one byte", 8, 256, Box::new(|s| unfinished(s, GET, 200, 1))),
        ("open watches", 8, 256, Box::new(|s| whole(s, WATCH, &prefixed(&name)))),
        ("headers alone", 16, 256, Box::new(|s| vec![open(s, GET, &[])])),
        ("metadata", 8, 256, Box::new(|s| vec![open(s, GET, &metadata)])),
        ("indexed metadata", 8, 256, Box::new(|s| vec![open(s, GET, &indexed(s, 400))])),
        ("too much of it", 8, 256, Box::new(|s| vec![open(s, GET, &indexed(s, 1900))])),
        (
            "gzip bombs",
            8,
            256,
            Box::new(|s| {
                let (headers, message) = bomb.split_at(encoded);
                vec![open(s, GET, headers), frame(DATA, END_STREAM, s, message)]
            }),
        ),
    ];
    for (what, connections, calls, call) in cases {
        let process = sidecar(&cloud).await;
        let line = process.line("listening").await;
        let [address, admin] =
            ["listen", "admin_listen"].map(|name| line[name].as_str().unwrap().to_owned());
        let before = process.resident();
        process.forget_peak();
        let peers = attack(&address, connections, calls, &*call).await;
        let held = metric(&admin, "savepoint_gateway_request_memory_bytes").await;
        assert!(held <= budget + budget / 8, "{what}: {held}");
        healthcheck::ask(&admin.parse().unwrap(), "", LONG).await.unwrap();
        let (most, peak) =
            (budget + budget / 8 + connections as u64 * CONNECTION + PROCESS, process.peak());
        let taken = peak.saturating_sub(before);
        assert!(taken <= most, "{what}: {} of {} KiB", taken / KIB, most / KIB);
        drop(peers);
        // All of it is given back, and others are served.
        while metric(&admin, "savepoint_gateway_request_memory_bytes").await > 0 {
            tokio::task::yield_now().await;
        }
        let mut client = client(&address).await;
        let status = client.get_savepoint(get_request()).await.unwrap_err();
        assert_ne!(status.code(), Code::ResourceExhausted, "{what}: {status:?}");
    }
}

/// Hostile input 84.
#[tokio::test]
async fn no_memory_for_a_call_is_gateway_overloaded() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let small = Options::at(&cloud).with(|config| config.server.max_request_memory = MIB as usize);
    let gateway = Gateway::start(small).await;
    let peers = attack(gateway.address(), 1, 256, &|s| vec![open(s, GET, &[])]).await;
    let body = prefixed(&import_request().encode_to_vec());
    for path in [IMPORT, GET, CHECK] {
        let answer = grpc(gateway.address(), path, &[], body.clone()).await;
        assert_eq!(answer.code(), Some(Code::ResourceExhausted as i32), "{path}: {answer:?}");
        assert!(answer.message().contains("try%20again%20later"), "{path}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
    assert!(gateway.log().contains("GATEWAY_OVERLOADED"), "{}", gateway.log());
    // The probes' port has a budget of its own.
    let answer = grpc(gateway.admin(), CHECK, &[], prefixed(&[])).await;
    assert_eq!(answer.code(), Some(0), "{answer:?}");
    drop(peers);
    let mut client = gateway.client().await;
    while client.import_savepoint(import_request()).await.is_err() {}
}

/// Hostile input 84.
#[tokio::test]
async fn every_message_of_every_service_has_one_bound() {
    let (cloud, gateway) = {
        let cloud = FakeCloud::answering(Reply::json(200, "{}")).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        (cloud, gateway)
    };
    for (address, path) in [
        (gateway.address(), GET),
        (gateway.address(), IMPORT),
        (gateway.address(), CHECK),
        (gateway.address(), WATCH),
        (gateway.address(), REFLECTION),
        (gateway.address(), REFLECTION_ALPHA),
        (gateway.admin(), CHECK),
        (gateway.admin(), WATCH),
    ] {
        // Nothing but the prefix, so that nothing else can be the reason.
        let prefix = [&[0][..], &(MOST + 1).to_be_bytes()].concat();
        let answer = grpc(address, path, &[], prefix).await;
        assert_eq!(answer.code(), Some(Code::ResourceExhausted as i32), "{path}: {answer:?}");
        assert!(answer.message().contains("12289"), "{path}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
}

/// Hostile input 84.
#[tokio::test]
async fn a_message_that_never_ends_ends_its_call_in_time() {
    let short = std::time::Duration::from_millis(300);
    let options = Options::none().with(|config| {
        config.server.peer_timeout = short;
        config.server.timeouts = Timeouts { default: short, max: short };
    });
    let gateway = Gateway::start(options).await;
    for (address, path) in [
        (gateway.address(), GET),
        (gateway.address(), CHECK),
        (gateway.address(), WATCH),
        (gateway.address(), REFLECTION),
        (gateway.address(), REFLECTION_ALPHA),
        (gateway.admin(), CHECK),
        (gateway.admin(), WATCH),
    ] {
        let mut peer = Peer::connect(address).await;
        for bytes in unfinished(1, path, 100, 100) {
            peer.send(&bytes).await.unwrap();
        }
        // Trailers, with or without headers before them.
        while let Some(frame) = peer.next().await {
            if frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
                break;
            }
            assert!(frame.stream == 0 || frame.kind == HEADERS, "{path}: {frame:?}");
        }
    }
}

/// Hostile input 86.
#[tokio::test]
async fn a_sidecar_stays_below_its_limit_under_everything_at_once() {
    let (_, limit) = limits();
    let answer = format!(r#"{{"error_code":"x","a":[{}{{}}]}}"#, r#"{"":0},"#.repeat(149_000));
    assert!((MIB - 16 * KIB..MIB).contains(&(answer.len() as u64)), "{}", answer.len());
    let answer = Reply::Held(Box::new(Reply::json(400, &answer)));
    let cloud = FakeCloud::answering(answer).await;
    let process = sidecar(&cloud).await;
    let address = process.address().await;
    process.forget_peak();
    // The calls of others, as many as may be in flight, which the provider answers in the end.
    let client = client(&address).await;
    let calls: Vec<_> = (0..64)
        .map(|index| {
            let mut client = client.clone();
            tokio::spawn(async move {
                if index % 2 == 0 {
                    client.get_savepoint(get_request()).await.unwrap_err()
                } else {
                    client.import_savepoint(import_request()).await.unwrap_err()
                }
            })
        })
        .collect();
    while cloud.count() < 64 {
        tokio::task::yield_now().await;
    }
    let streams = attack(&address, 1, 64, &|s| unfinished(s, REFLECTION, 4 << 20, 16_000)).await;
    let gets = attack(&address, 20, 256, &|s| unfinished(s, GET, 65_536, 16_000)).await;
    let valid = attack(&address, 8, 256, &|s| unfinished(s, GET, MOST, 16_000)).await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(Peer::connect(&address).await);
    }
    cloud.release();
    for call in calls {
        let status = call.await.unwrap();
        assert_ne!(status.code(), Code::DeadlineExceeded, "{status:?}");
    }
    let peak = process.peak();
    assert!(peak < limit, "{} of {} KiB", peak / KIB, limit / KIB);
    drop((streams, gets, valid, idle));
}
