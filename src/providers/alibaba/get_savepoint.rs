//! GetSavepoint: `GET /api/v2/namespaces/{namespace}/savepoints/{savepointId}`.
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-getsavepoint> (read 2026-11-22)

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use serde::Deserialize;

use super::savepoint::SavepointWire;
use super::{ALIBABA, Alibaba, sign};
use crate::call::Call;
use crate::credential::Credential;
use crate::json;
use crate::pb::savepoint_service_server::SERVICE_NAME;
use crate::pb::{GetSavepointRequest, GetSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::rpc::reason::Reason;
use crate::rpc::validate::{Violations, is_path_segment, is_workspace};
use crate::signing::percent_encode;
use crate::upstream::{NotSuccess, Reply, RestCall, Upstream};

/// The RPC.
pub static GET_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "GetSavepoint",
    provider: &ALIBABA,
    kind: Kind::Unary,
    rest: &[Rest {
        http_method: "GET",
        url_template: "/api/v2/namespaces/{namespace}/savepoints/{savepointId}",
    }],
    is_idempotent: true,
    changes_something: false,
};

/// The envelope. Its `httpCode` is documented to be always 200; only `success` is decisive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeWire {
    #[serde(default, deserialize_with = "json::boolean")]
    success: Option<bool>,
    #[serde(default, deserialize_with = "json::text")]
    request_id: Option<String>,
    #[serde(default, rename = "RequestId", deserialize_with = "json::text")]
    gateway_request_id: Option<String>,
    #[serde(default, deserialize_with = "json::object")]
    data: Option<SavepointWire>,
}

impl Alibaba {
    /// Gets a savepoint.
    ///
    /// # Errors
    /// Any [`Reason`]. Nothing is sent if the request is invalid.
    pub(crate) async fn get_savepoint(
        &self,
        request: &GetSavepointRequest,
        call: &Call,
    ) -> Result<GetSavepointResponse, Error> {
        self.upstream.call(&GET_SAVEPOINT, &self.get_call(request)?, call).await
    }

    /// Validates the request, and builds the REST call.
    pub(crate) fn get_call<'a>(
        &'a self,
        request: &'a GetSavepointRequest,
    ) -> Result<Get<'a>, Error> {
        let workspace = match request.workspace.as_str() {
            "" => self.default_workspace.as_deref().unwrap_or_default(),
            given => given,
        };
        validate(workspace, request)?;
        let uri = format!(
            "{}/api/v2/namespaces/{}/savepoints/{}",
            self.upstream.endpoint().origin(),
            percent_encode(&request.namespace),
            percent_encode(&request.savepoint_id),
        );
        Ok(Get { upstream: &self.upstream, uri, workspace })
    }
}

#[derive(Debug)]
pub(crate) struct Get<'a> {
    upstream: &'a Upstream,
    uri: String,
    workspace: &'a str,
}

impl RestCall for Get<'_> {
    type Output = GetSavepointResponse;

    fn rest(&self) -> &'static Rest {
        &GET_SAVEPOINT.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(&self.uri)
            .header(HOST, self.upstream.endpoint().host())
            .header("workspace", self.workspace)
            .header("x-acs-action", "GetSavepoint")
            .header("x-acs-version", "2022-07-18")
            .body(Bytes::new())
            .map_err(|_| Error::new(Reason::GatewayInternal, "the request cannot be built"))?;
        let clock = self.upstream.clock();
        sign::sign(&mut request, credential, clock.now(), clock.nonce())?;
        // Added after signing, because proxies may change them.
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
        Ok(request)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<GetSavepointResponse, NotSuccess> {
        match reply.json() {
            // An object without any known field counts as no object.
            Some(EnvelopeWire {
                success: Some(true),
                data: Some(data),
                request_id,
                gateway_request_id,
            }) if data != SavepointWire::default() => {
                let ids = [request_id.as_deref(), gateway_request_id.as_deref()];
                Ok(GetSavepointResponse {
                    savepoint: Some(data.into()),
                    request_id: reply.request_id(ids).unwrap_or_default(),
                })
            }
            other => Err(NotSuccess {
                reported: other.and_then(|wire| wire.success),
                expected: "success and data",
            }),
        }
    }
}

fn validate(workspace: &str, request: &GetSavepointRequest) -> Result<(), Error> {
    const SEGMENT: &str =
        "must be 1 to 128 of 0-9, A-Z, a-z, _, ., ~ and -, and begin with a letter or digit";
    let mut violations = Violations::default();
    violations.check(
        "workspace",
        is_workspace(workspace),
        if workspace.is_empty() {
            "is empty and --alibaba-workspace is not set"
        } else {
            "must be 1 to 128 of 0-9, A-Z, a-z, _, . and -, and begin with a letter or digit"
        },
    );
    violations.check("namespace", is_path_segment(&request.namespace), SEGMENT);
    violations.check("savepoint_id", is_path_segment(&request.savepoint_id), SEGMENT);
    violations.into_result()
}
