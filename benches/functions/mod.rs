//! The measured functions and their inputs.
//!
//! Requests and responses are from `bench/calls.json`, which has the providers' documented bodies.

use std::fmt;
use std::hint::black_box;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use jiff::Timestamp;
use prost::Message;
use savepoint_gateway::credential::Credential;
use savepoint_gateway::pb::{
    CreateSavepointRequest, GetSavepointRequest, GetSavepointResponse, ImportSavepointRequest,
    ImportSavepointResponse, ListSavepointsRequest, ListSavepointsResponse, flink,
};
use savepoint_gateway::policy::{Policy, Scope};
use savepoint_gateway::providers::alibaba::{self, GET_SAVEPOINT};
use savepoint_gateway::providers::huawei::{self, IMPORT_SAVEPOINT};
use savepoint_gateway::rpc::Error;
use savepoint_gateway::secret::Secret;
use savepoint_gateway::service::OPERATIONS;
use savepoint_gateway::test_util::{self, FLINK_ID, Providers, Records, SECRETS};
use savepoint_gateway::transport::Response;
use serde_json::{Value, json};
use tonic::Status;

/// A measured function of the call path.
pub(crate) struct Function {
    /// Its name in reports: the step, then the RPC.
    pub(crate) name: &'static str,
    /// Runs it once with prepared inputs.
    pub(crate) once: fn(&Inputs),
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every function, in the order of a call.
pub(crate) const ALL: [Function; 24] = [
    // The message of the request body, decoded and validated.
    Function { name: "decode-import", once: |inputs| inputs.decode_import() },
    Function { name: "decode-get", once: |inputs| inputs.decode_get() },
    Function { name: "decode-create", once: |inputs| inputs.decode_create() },
    // The policy's decision for a caller that its last rule of 100 allows, and for one that none does.
    Function { name: "policy-allowed", once: |inputs| inputs.policy_allowed() },
    Function { name: "policy-refused", once: |inputs| inputs.policy_refused() },
    // The signature alone, on a copy of the unsigned request.
    Function { name: "sign-import", once: |inputs| inputs.sign_import() },
    Function { name: "sign-get", once: |inputs| inputs.sign_get() },
    // The upstream request: validated, built and signed.
    Function { name: "request-import", once: |inputs| inputs.request_import() },
    Function { name: "request-get", once: |inputs| inputs.request_get() },
    Function { name: "request-create", once: |inputs| inputs.request_create() },
    Function { name: "request-list", once: |inputs| inputs.request_list() },
    Function { name: "request-flink", once: |inputs| inputs.request_flink() },
    // The provider's success as the response message.
    Function { name: "answer-import", once: |inputs| inputs.answer_import() },
    Function { name: "answer-get", once: |inputs| inputs.answer_get() },
    Function { name: "answer-list", once: |inputs| inputs.answer_list() },
    Function { name: "answer-flink", once: |inputs| inputs.answer_flink() },
    // The response message in its frame.
    Function { name: "encode-import", once: |inputs| inputs.encode_import() },
    Function { name: "encode-get", once: |inputs| inputs.encode_get() },
    Function { name: "encode-list", once: |inputs| inputs.encode_list() },
    // The provider's failure: failure table, status with details, HTTP response.
    Function { name: "failure-import", once: |inputs| inputs.failure_import() },
    Function { name: "failure-get", once: |inputs| inputs.failure_get() },
    Function { name: "failure-flink", once: |inputs| inputs.failure_flink() },
    // The record of a call: metrics and the log line.
    Function { name: "record-success", once: |inputs| inputs.record_success() },
    Function { name: "record-failure", once: |inputs| inputs.record_failure() },
];

static INPUTS: LazyLock<Inputs> = LazyLock::new(Inputs::new);

/// The inputs, created once.
pub(crate) fn inputs() -> &'static Inputs {
    &INPUTS
}

/// The inputs.
pub(crate) struct Inputs {
    /// 100 rules, each for callers of its own by a pattern.
    policy: Policy,
    providers: Providers,
    records: Records,
    credential: Credential,
    now: Timestamp,
    import: Call<ImportSavepointRequest, ImportSavepointResponse>,
    get: Call<GetSavepointRequest, GetSavepointResponse>,
    create: CreateSavepointRequest,
    /// The framed request of a creation.
    created: Bytes,
    list: ListSavepointsRequest,
    /// A page of 50 savepoints.
    page: Response,
    listed: ListSavepointsResponse,
    /// GetSavepoint of Apache Flink.
    flink: flink::GetSavepointRequest,
    flink_success: Response,
    /// With a stack trace of 50 kB.
    flink_failure: Response,
}

/// The data of one RPC.
struct Call<Q, A> {
    request: Q,
    framed: Bytes,
    unsigned: Request<Bytes>,
    success: Response,
    failure: Response,
    response: A,
}

const SHOWN: &str = "the inputs are valid";

impl Inputs {
    fn new() -> Self {
        let calls: Value =
            serde_json::from_str(include_str!("../../bench/calls.json")).expect("calls.json");
        let text =
            |rpc: &str, field: &str| calls[rpc]["request"][field].as_str().expect(field).to_owned();
        let rules: String = (1..=100)
            .map(|team| {
                format!(
                    "[[allow]]\ncallers = [\"spiffe://prod.example/ns/team-{team}/*\"]\n\
                     methods = [\"savepoint.v1.SavepointService/*\"]\nworkspaces = [\"w-{team}\"]\n"
                )
            })
            .collect();
        let policy = Policy::parse(rules.as_bytes(), OPERATIONS).expect("a policy");
        let providers = Providers::new("0605767b3300d5762fb7c0186d9e1779", "a14bd5d90a0001");
        let [id, secret, token] = SECRETS;
        let credential =
            Credential::new(id, Secret::new(secret), Some(Secret::new(token))).expect("a key");

        let request = ImportSavepointRequest {
            project_id: text("import", "project_id"),
            job_id: text("import", "job_id").parse().expect("a number"),
            savepoint_path: text("import", "savepoint_path"),
        };
        let success = answer(&calls["import"]["upstream"]);
        let unsigned = Request::post(format!(
            "https://huawei.example{}",
            calls["import"]["upstream"]["path"].as_str().expect("a path"),
        ))
        .header("host", "huawei.example")
        .header("content-type", "application/json")
        .header("x-project-id", &request.project_id)
        .body(calls["import"]["upstream"]["direct_request"].to_string().into())
        .expect("a request");
        let import = Call {
            framed: framed(&request),
            unsigned,
            failure: Response {
                status: 400,
                body: Bytes::from_static(
                    br#"{"error_code":"DLI.0001","error_msg":"The savepoint path does not exist."}"#,
                ),
                ..success.clone()
            },
            response: providers.imported(&success).expect(SHOWN),
            request,
            success,
        };

        let request = GetSavepointRequest {
            workspace: text("get", "workspace"),
            namespace: text("get", "namespace"),
            savepoint_id: text("get", "savepoint_id"),
        };
        let success = answer(&calls["get"]["upstream"]);
        let unsigned = Request::get(format!(
            "https://alibaba.example{}",
            calls["get"]["upstream"]["path"].as_str().expect("a path"),
        ))
        .header("host", "alibaba.example")
        .header("workspace", &request.workspace)
        .header("x-acs-action", "GetSavepoint")
        .header("x-acs-version", "2022-07-18")
        .body(Bytes::new())
        .expect("a request");
        let get = Call {
            framed: framed(&request),
            unsigned,
            failure: Response {
                status: 429,
                body: Bytes::from_static(
                    br#"{"RequestId":"CBC799F0-AB7C-1D30-8A4F-882ED4DD0001","Code":"Throttling.User","Message":"Request was denied due to user flow control.","HostId":"alibaba.example"}"#,
                ),
                headers: HeaderMap::from_iter([(
                    HeaderName::from_static("x-acs-retry-after"),
                    HeaderValue::from_static("700"),
                )]),
                ..success.clone()
            },
            response: providers.got(&success).expect(SHOWN),
            request,
            success,
        };

        let create = CreateSavepointRequest {
            workspace: text("get", "workspace"),
            namespace: text("get", "namespace"),
            deployment_id: "58718c99-3b29-4c5e-93bb-c9fc4ec60001".to_owned(),
            description: "before the upgrade".to_owned(),
            native_format: Some(true),
        };
        let list = ListSavepointsRequest {
            workspace: text("get", "workspace"),
            namespace: text("get", "namespace"),
            deployment_id: create.deployment_id.clone(),
            ..ListSavepointsRequest::default()
        };
        let mut upstream = calls["get"]["upstream"].clone();
        upstream["body"]["data"] = vec![upstream["body"]["data"].clone(); 50].into();
        upstream["body"]["totalSize"] = 1000.into();
        let page = answer(&upstream);

        let flink = flink::GetSavepointRequest {
            job_id: FLINK_ID.to_owned(),
            trigger_id: FLINK_ID.to_owned(),
            ..flink::GetSavepointRequest::default()
        };
        let answered = |status: u16, body: Value| Response {
            status,
            headers: HeaderMap::new(),
            body: body.to_string().into(),
            whole: true,
        };
        let location = "file:/var/flink/savepoints/savepoint-fae2ea-1f0ec26c9e27";
        let flink_success = answered(
            200,
            json!({"status": {"id": "COMPLETED"}, "operation": {"location": location}}),
        );
        let frame = "\n\tat org.apache.flink.runtime.rest.handler.job.SavepointHandlers.handle(SavepointHandlers.java:316)";
        let trace = format!(
            "org.apache.flink.runtime.rest.handler.RestHandlerException: There is no savepoint operation with triggerId={FLINK_ID} for job {FLINK_ID}.{}",
            frame.repeat(500)
        );
        let flink_failure = answered(404, json!({"errors": [trace]}));

        let inputs = Self {
            flink,
            flink_success,
            flink_failure,
            policy,
            listed: providers.listed(&list, &page).expect(SHOWN),
            created: framed(&create),
            create,
            list,
            page,
            providers,
            records: Records::new(),
            credential,
            now: "2026-01-15T08:30:00Z".parse().expect("a time"),
            import,
            get,
        };
        // A call that fails early would look fast.
        inputs.providers.import(&inputs.import.request).expect(SHOWN);
        inputs.providers.get(&inputs.get.request).expect(SHOWN);
        inputs.providers.create(&inputs.create).expect(SHOWN);
        inputs.providers.flink_get(&inputs.flink).expect(SHOWN);
        inputs.providers.flink_savepoint(&inputs.flink_success).expect(SHOWN);
        assert_eq!((inputs.listed.savepoints.len(), inputs.listed.next_page_token.len()), (50, 44));
        inputs
    }

    fn policy_allowed(&self) {
        let caller = black_box("spiffe://prod.example/ns/team-100/jobs");
        let (workspace, namespace) = (Some("w-100"), Some("n"));
        let scope = Scope { workspace, namespace, ..Scope::default() };
        // As a call does: before its message is read, and once it was found valid.
        assert!(self.policy.may_call(caller, &GET_SAVEPOINT));
        assert!(self.policy.allows(caller, &GET_SAVEPOINT, black_box(&scope)));
    }

    fn policy_refused(&self) {
        let caller = black_box("spiffe://prod.example/ns/other/jobs");
        assert!(!self.policy.may_call(caller, &GET_SAVEPOINT));
    }

    fn decode_import(&self) {
        let message = body(&self.import.framed).expect(SHOWN);
        let request = ImportSavepointRequest::decode(message).expect(SHOWN);
        self.providers.check_import(&request).expect(SHOWN);
        black_box(request);
    }

    fn decode_get(&self) {
        let message = body(&self.get.framed).expect(SHOWN);
        let request = GetSavepointRequest::decode(message).expect(SHOWN);
        self.providers.check_get(&request).expect(SHOWN);
        black_box(request);
    }

    fn decode_create(&self) {
        let message = body(&self.created).expect(SHOWN);
        let request = CreateSavepointRequest::decode(message).expect(SHOWN);
        self.providers.check_create(&request).expect(SHOWN);
        black_box(request);
    }

    fn sign_import(&self) {
        let mut request = self.import.unsigned.clone();
        huawei::sign::sign(&mut request, &self.credential, self.now).expect(SHOWN);
        black_box(request);
    }

    fn sign_get(&self) {
        let mut request = self.get.unsigned.clone();
        alibaba::sign::sign(&mut request, &self.credential, self.now, [0xa5; 16]).expect(SHOWN);
        black_box(request);
    }

    fn request_import(&self) {
        black_box(self.providers.import(black_box(&self.import.request)).expect(SHOWN));
    }

    fn request_get(&self) {
        black_box(self.providers.get(black_box(&self.get.request)).expect(SHOWN));
    }

    fn request_create(&self) {
        black_box(self.providers.create(black_box(&self.create)).expect(SHOWN));
    }

    fn request_list(&self) {
        black_box(self.providers.list(black_box(&self.list)).expect(SHOWN));
    }

    fn request_flink(&self) {
        black_box(self.providers.flink_get(black_box(&self.flink)).expect(SHOWN));
    }

    fn answer_import(&self) {
        black_box(self.providers.imported(black_box(&self.import.success)).expect(SHOWN));
    }

    fn answer_get(&self) {
        black_box(self.providers.got(black_box(&self.get.success)).expect(SHOWN));
    }

    /// With the validation of its request, because the page decides about the next one.
    fn answer_list(&self) {
        black_box(self.providers.listed(&self.list, black_box(&self.page)).expect(SHOWN));
    }

    fn answer_flink(&self) {
        black_box(self.providers.flink_savepoint(black_box(&self.flink_success)).expect(SHOWN));
    }

    fn encode_import(&self) {
        black_box(framed(black_box(&self.import.response)));
    }

    fn encode_get(&self) {
        black_box(framed(black_box(&self.get.response)));
    }

    fn encode_list(&self) {
        black_box(framed(black_box(&self.listed)));
    }

    fn failure_import(&self) {
        black_box(Status::from(self.import_error()).into_http::<tonic::body::Body>());
    }

    fn failure_get(&self) {
        let error = self.providers.got(black_box(&self.get.failure)).expect_err(SHOWN);
        black_box(Status::from(error).into_http::<tonic::body::Body>());
    }

    fn failure_flink(&self) {
        let error =
            self.providers.flink_savepoint(black_box(&self.flink_failure)).expect_err(SHOWN);
        black_box(Status::from(error).into_http::<tonic::body::Body>());
    }

    fn record_success(&self) {
        let id = black_box(&self.get.response.request_id);
        self.records.record(&GET_SAVEPOINT, 200, Ok(id));
    }

    fn record_failure(&self) {
        static ERROR: LazyLock<Error> = LazyLock::new(|| INPUTS.import_error());
        self.records.record(&IMPORT_SAVEPOINT, 400, Err(black_box(&*ERROR)));
    }

    fn import_error(&self) -> Error {
        self.providers.imported(black_box(&self.import.failure)).expect_err(SHOWN)
    }
}

/// The provider's response from `calls.json`.
fn answer(upstream: &Value) -> Response {
    let headers = upstream["headers"].as_object().expect("headers").iter().map(|(name, value)| {
        let value = value.as_str().expect("a text");
        (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
    });
    Response {
        status: 200,
        headers: headers.collect(),
        body: upstream["body"].to_string().into(),
        whole: true,
    }
}

/// A message with its five-byte prefix, in a buffer of its size.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("a small message"));
    message.encode(&mut frame).expect("there is room");
    frame.freeze()
}

/// The message of a complete request body.
fn body(framed: &Bytes) -> Result<Bytes, Error> {
    let read = pin!(test_util::single_message(Full::new(black_box(framed).clone()), 12 * 1024));
    match read.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read.map(|message| message.slice(5..)),
        Poll::Pending => unreachable!("all of the body is there"),
    }
}
