//! Changes of jobs against a provider that answers, cuts, resets and contradicts itself at random.
//!
//! The provider knows what it did and what it said. A change must never reach it twice unless it
//! said that it was throttled, and `not_applied` must be true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use savepoint_gateway::pb::ImportSavepointRequest;
use savepoint_gateway::pb::dli::dli_service_client::DliServiceClient;
use savepoint_gateway::pb::dli::{ResumeJobRequest, StopJobRequest, TriggerSavepointRequest};
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::telemetry::LevelFilter;
use tokio::task::JoinSet;
use tonic::Status;
use tonic_types::StatusExt;

use crate::support::{
    FakeCloud, Gateway, Options, PROJECT_ID, Recorded, Reply, eventually, import_request,
};

const SEED: u64 = 20_261_126;
const CALLS: u64 = 5000;
const AT_ONCE: u64 = 20;

/// What an answer says, to who reads it whole and strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Success,
    /// It failed, and nothing was done.
    Failed,
    Throttled,
    /// Nothing that is certain.
    Open,
}

/// One arrival of a request.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "the answer is shown when a test fails")]
struct Arrival {
    says: Says,
    applied: bool,
    answer: String,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A body, what it says with a 2xx, and what with an error's status: none where the status decides.
type Body<'a> = (&'a [u8], Says, Option<Says>);

const BODIES: [Body<'static>; 36] = {
    use Says::{Failed, Open, Success, Throttled};
    [
        (br#"{"is_success":true,"message":"done"}"#, Success, Some(Open)),
        (br#"{"is_success":"true"}"#, Success, Some(Open)),
        (br#"{"is_success":"TRUE","message":""}"#, Success, Some(Open)),
        (br#"{"is_success":true,"error_code":"","other":[{"":0}]}"#, Success, Some(Open)),
        (br#"{"is_success":false,"message":"no"}"#, Failed, None),
        (br#"{"is_success":"false","error_code":"DLI.0001"}"#, Failed, Some(Failed)),
        (br#"{"is_success":false,"error_code":"DLI.0009"}"#, Throttled, Some(Throttled)),
        (br#"{"is_success":false,"error_code":"DLI.0999"}"#, Open, Some(Open)),
        (br#"{"error_code":"DLI.0009","error_msg":"slow"}"#, Open, Some(Throttled)),
        (br#"{"error":{"code":"APIG.0308"}}"#, Open, Some(Throttled)),
        (br#"{"error_code":"DLI.0001"}"#, Open, Some(Failed)),
        (br#"{"error_code":"DLI.0019"}"#, Open, Some(Open)),
        (br#"{"is_success":true,"message":{"a":1},"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":true,"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":true,"errorCode":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":true,"error":{"code":"DLI.0009"}}"#, Open, Some(Open)),
        (br#"{"is_success":true,"is_success":false,"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":false,"is_success":true,"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":false,"success":true,"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":"yes","error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":1,"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"is_success":[false],"error_code":"DLI.0009"}"#, Open, Some(Open)),
        (br#"{"error_code":"DLI.0009","error_code":"DLI.0999"}"#, Open, Some(Open)),
        (br#"{"error_code":"DLI.0009","code":"DLI.0999"}"#, Open, Some(Open)),
        (br#"{"is_success":null,"error_code":"DLI.0009"}"#, Open, Some(Throttled)),
        (br#"{"data":{"is_success":false},"error_code":"DLI.0009"}"#, Open, Some(Throttled)),
        (br#"[{"is_success":false,"error_code":"DLI.0009"}]"#, Open, None),
        (br#"{"is_success":false,"error_code":"DLI.0009"} trailing"#, Open, None),
        (b"\xef\xbb\xbf{\"is_success\":true,\"error_code\":\"DLI.0009\"}", Open, Some(Open)),
        (b"{\"is_success\":false,\"error_code\":\"DLI.0009\",\"x\":\"\xff\"}", Open, None),
        (b"\xff\xfe{\0\"\0i\0s\0_\0", Open, None),
        (b"\x1f\x8b\x08\x00\x00\x00", Open, None),
        (b"<html>Too Many Requests</html>", Open, None),
        (b"{}", Open, None),
        (b"null", Open, None),
        (b"", Open, None),
    ]
};

const STATUSES: [u16; 30] = [
    101, 200, 200, 200, 200, 200, 200, 200, 201, 202, 204, 206, 302, 304, 400, 400, 401, 403, 404,
    408, 409, 425, 429, 429, 429, 499, 500, 502, 503, 504,
];

/// What a whole answer says.
fn says(status: u16, (_, on_2xx, on_error): Body<'_>) -> Says {
    match status {
        200..=299 => on_2xx,
        408 | 499 => Says::Open,
        400..=599 => on_error.unwrap_or(match status {
            429 => Says::Throttled,
            500.. => Says::Open,
            _ => Says::Failed,
        }),
        _ => Says::Open,
    }
}

/// A change of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Import,
    Trigger,
    Resume,
    Stop,
}

impl Change {
    fn of(job: u64) -> Self {
        match job % 5 {
            0 | 1 => Self::Import,
            2 => Self::Trigger,
            3 => Self::Resume,
            _ => Self::Stop,
        }
    }

    /// Whether its answer is a list with one element, which may also come without the list.
    fn has_list(self) -> bool {
        matches!(self, Self::Resume | Self::Stop)
    }

    async fn call(self, job_id: i64, channel: &tonic::transport::Channel) -> Result<(), Status> {
        let mut savepoints = SavepointServiceClient::new(channel.clone());
        let mut jobs = DliServiceClient::new(channel.clone());
        let (project_id, savepoint_path) = (PROJECT_ID.to_owned(), "bucket/dir".to_owned());
        match self {
            Self::Import => {
                let request = ImportSavepointRequest { job_id, ..import_request() };
                savepoints.import_savepoint(request).await.map(drop)
            }
            Self::Trigger => {
                let request = TriggerSavepointRequest { project_id, job_id, savepoint_path };
                jobs.trigger_savepoint(request).await.map(drop)
            }
            Self::Resume => {
                jobs.resume_job(ResumeJobRequest { project_id, job_id }).await.map(drop)
            }
            Self::Stop => {
                let request = StopJobRequest { project_id, job_id, trigger_savepoint: true };
                jobs.stop_job(request).await.map(drop)
            }
        }
    }
}

/// The job that a request is about.
fn job_of(request: &Recorded) -> u64 {
    let job = request.path().split('/').nth(5).unwrap();
    job.parse().unwrap_or_else(|_| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        body["job_ids"][0].as_u64().unwrap()
    })
}

fn answer(random: &mut Random, change: Change) -> (Reply, Says) {
    let status = random.one(&STATUSES);
    let body = BODIES[random.below(BODIES.len())];
    let list;
    let body = if change.has_list() && random.below(2) == 0 {
        list = [b"[", body.0, b"]"].concat();
        (&*list, body.1, body.2)
    } else if change.has_list() && body.0.starts_with(b"[") {
        // Its element is read, as it would be without the list.
        (body.0, Says::Throttled, Some(Says::Throttled))
    } else {
        body
    };
    let bytes = if matches!(status, 101 | 204 | 304) { &b""[..] } else { body.0 };
    let whole = match (bytes, body.0) {
        ([], [_, ..]) => says(status, (b"", Says::Open, None)),
        _ => says(status, (b"", body.1, body.2)),
    };
    let head = format!("HTTP/1.1 {status} X\r\nretry-after: soon\r\n");
    let length = format!("content-length: {}\r\n\r\n", bytes.len());
    let framed = [head.as_bytes(), length.as_bytes(), bytes].concat();
    let chunked = [
        head.as_bytes(),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", bytes.len()).as_bytes(),
        bytes,
        b"\r\n",
    ]
    .concat();
    let has_body = !bytes.is_empty();
    match random.below(10) {
        0..5 => (Reply::Http(status, vec![], bytes.to_vec()), whole),
        // All of it, and the end of the connection.
        5 => (Reply::Raw(framed), whole),
        6 => (Reply::Raw(framed[..random.below(framed.len())].to_vec()), Says::Open),
        7 => (Reply::RawReset(framed[..random.below(framed.len())].to_vec()), Says::Open),
        // The chunk is there, but not the end of the body.
        8 if has_body => (Reply::Raw(chunked), Says::Open),
        _ if has_body => {
            let more = format!("content-length: {}\r\n\r\n", bytes.len() + 1);
            let cut = [head.as_bytes(), more.as_bytes(), bytes].concat();
            let reply = if random.below(2) == 0 { Reply::Raw(cut) } else { Reply::RawReset(cut) };
            (reply, Says::Open)
        }
        _ => (Reply::Raw(vec![]), Says::Open),
    }
}

type Arrivals = Arc<Mutex<HashMap<u64, Vec<Arrival>>>>;

async fn provider(arrivals: Arrivals) -> FakeCloud {
    FakeCloud::start(move |request: &Recorded, _| {
        let job = job_of(request);
        let mut arrivals = arrivals.lock().unwrap();
        let before = arrivals.entry(job).or_default();
        let mut random = Random(SEED ^ job << 8 ^ before.len() as u64);
        let (reply, says) = answer(&mut random, Change::of(job));
        let applied = match says {
            Says::Success => true,
            Says::Failed | Says::Throttled => false,
            Says::Open => random.below(2) == 0,
        };
        before.push(Arrival { says, applied, answer: format!("{reply:?}") });
        reply
    })
    .await
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Told {
    Ok,
    NotApplied,
    Unknown,
}

#[tokio::test]
async fn no_change_is_sent_twice_unless_the_provider_said_that_it_failed() {
    let arrivals = Arrivals::default();
    let cloud = provider(Arc::clone(&arrivals)).await;
    let options = Options { log_level: LevelFilter::OFF, ..Options::at(&cloud) };
    let mut gateway = Gateway::start(options).await;
    let mut calls = JoinSet::new();
    for lane in 0..AT_ONCE {
        let channel = gateway.channel().await;
        calls.spawn(async move {
            let mut told = Vec::new();
            for job in (1..=CALLS).filter(|job| job % AT_ONCE == lane) {
                let job_id = i64::try_from(job).unwrap();
                let outcome = match Change::of(job).call(job_id, &channel).await {
                    Ok(_) => Told::Ok,
                    Err(status) => {
                        let details = status.get_error_details();
                        match details.error_info().unwrap().metadata["outcome"].as_str() {
                            "not_applied" => Told::NotApplied,
                            _ => Told::Unknown,
                        }
                    }
                };
                told.push((job, outcome));
            }
            told
        });
    }
    let told: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(told.len() as u64, CALLS);

    gateway.shut_down();
    gateway.ended().await;
    eventually("the provider has read every connection to its end", || cloud.open() == 0).await;

    let mut arrivals = arrivals.lock().unwrap();
    for request in cloud.crossed() {
        let lost =
            Arrival { says: Says::Open, applied: true, answer: "crossed a close".to_owned() };
        arrivals.entry(job_of(&request)).or_default().push(lost);
    }
    let mut count: HashMap<&Told, usize> = HashMap::new();
    let mut repeated = 0;
    for (job, told) in &told {
        let arrivals = arrivals.get(job).map(Vec::as_slice).unwrap_or_default();
        let shown = format!("seed {SEED}, job {job}, told {told:?}: {arrivals:#?}");
        *count.entry(told).or_default() += 1;
        let (last, earlier) = arrivals.split_last().expect(&shown);
        assert!(earlier.iter().all(|arrival| arrival.says == Says::Throttled), "{shown}");
        repeated += earlier.len();
        let applied = arrivals.iter().any(|arrival| arrival.applied);
        match told {
            Told::Ok => assert_eq!(last.says, Says::Success, "{shown}"),
            Told::NotApplied => assert!(!applied, "{shown}"),
            Told::Unknown => assert_eq!(last.says, Says::Open, "{shown}"),
        }
    }
    // Each happened often enough to mean something.
    for told in [Told::Ok, Told::NotApplied, Told::Unknown] {
        assert!(count[&told] > 100, "{count:?}");
    }
    assert!(repeated > 100, "{repeated} of {CALLS}");
}
