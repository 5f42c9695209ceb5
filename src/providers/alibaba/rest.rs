//! The common parts of all REST calls: signed headers, rules for path parameters, and the envelope
//! of responses.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request};
use serde::Deserialize;

use super::{Alibaba, sign};
use crate::call::Call;
use crate::credential::Credential;
use crate::json::{self, Integer, NotFalse, Nothing};
use crate::policy::Scope;
use crate::rpc::Error;
use crate::rpc::validate::{Violations, WORKSPACE, is_path_segment, is_workspace};
use crate::signing::percent_encode;
use crate::upstream::{NotSuccess, ProviderText, Reply, not_built};

const WORKSPACE_HEADER: HeaderName = HeaderName::from_static("workspace");
const X_ACS_ACTION: HeaderName = HeaderName::from_static("x-acs-action");
const X_ACS_VERSION: HeaderName = HeaderName::from_static("x-acs-version");

impl Alibaba {
    /// The workspace that a request names, or the default.
    pub(super) fn workspace<'a>(&'a self, named: &'a str) -> &'a str {
        match named {
            "" => self.default_workspace.as_deref().unwrap_or_default(),
            named => named,
        }
    }

    /// Judges a call by what it is about.
    pub(super) fn judge(&self, workspace: &str, namespace: &str, call: &Call) -> Result<(), Error> {
        let (workspace, namespace) = (Some(workspace), Some(namespace));
        call.judge(&Scope { workspace, namespace, ..Scope::default() })
    }

    /// A signed request without a body. The path may have a query.
    pub(super) fn request(
        &self,
        (method, path): (Method, &str),
        workspace: &str,
        action: &'static str,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let request = self.upstream.endpoint.request(method, path).body(Bytes::new());
        self.signed(request, workspace, action, credential)
    }

    /// A signed request with a JSON body.
    pub(super) fn post(
        &self,
        path: &str,
        body: Bytes,
        workspace: &str,
        action: &'static str,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let request = self.upstream.endpoint.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(body);
        self.signed(request, workspace, action, credential)
    }

    fn signed(
        &self,
        request: http::Result<Request<Bytes>>,
        workspace: &str,
        action: &'static str,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let mut request = request.map_err(not_built)?;
        let headers = request.headers_mut();
        headers.insert(WORKSPACE_HEADER, HeaderValue::from_str(workspace).map_err(not_built)?);
        headers.insert(X_ACS_ACTION, HeaderValue::from_static(action));
        headers.insert(X_ACS_VERSION, HeaderValue::from_static("2022-07-18"));
        let clock = &*self.upstream.clock;
        sign::sign(&mut request, credential, clock.now(), clock.nonce())?;
        Ok(request)
    }
}

/// The path of the savepoints of a namespace.
pub(super) fn savepoints_path(namespace: &str) -> String {
    ["/api/v2/namespaces/", &percent_encode(namespace), "/savepoints"].concat()
}

/// Checks the workspace. More fields can be added to the violations.
pub(super) fn check_workspace(workspace: &str) -> Violations {
    let mut violations = Violations::default();
    let rule = match workspace {
        "" => "is empty and --alibaba-workspace is not set",
        _ => WORKSPACE,
    };
    violations.check("workspace", is_workspace(workspace), rule);
    violations
}

/// Checks a field that becomes a path segment.
pub(super) fn check_segment(violations: &mut Violations, field: &'static str, value: &str) {
    const RULE: &str =
        "must be 1 to 128 of 0-9, A-Z, a-z, _, ., ~ and -, and begin with a letter or digit";
    violations.check(field, is_path_segment(value), RULE);
}

/// The envelope. Its `httpCode` is documented to be always 200; only `success` is decisive.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading what denies a success is the check")]
#[serde(rename_all = "camelCase", bound(deserialize = "T: Deserialize<'de>"))]
struct EnvelopeWire<'a, T> {
    #[serde(default, deserialize_with = "json::boolean")]
    success: Option<bool>,
    #[serde(default, borrow)]
    request_id: ProviderText<'a>,
    #[serde(default, borrow, rename = "RequestId")]
    gateway_request_id: ProviderText<'a>,
    #[serde(default = "none")]
    data: Option<T>,
    /// Only of a list.
    #[serde(default, deserialize_with = "json::integer")]
    total_size: Integer,
    // What denies a success.
    #[serde(default, deserialize_with = "json::integer")]
    http_code: Integer,
    #[serde(default, rename = "is_success", alias = "isSuccess", alias = "Success")]
    other_success: NotFalse,
    #[serde(default, alias = "error_code")]
    error_code: Nothing,
    #[serde(default, alias = "Code")]
    code: Nothing,
    #[serde(default)]
    error: Nothing,
}

/// Unlike the derived default, without `T: Default`.
fn none<T>() -> Option<T> {
    None
}

/// A successful response.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) data: T,
    pub(super) request_id: String,
    pub(super) total_size: Integer,
}

/// Reads a response. It is a success only if its data proves that.
pub(super) fn answer<'a, T: Deserialize<'a>>(
    reply: &Reply<'a>,
    proves_success: impl Fn(&T) -> bool,
) -> Result<Answer<T>, NotSuccess> {
    match reply.json() {
        Some(EnvelopeWire {
            success: Some(true),
            data: Some(data),
            request_id,
            gateway_request_id,
            total_size,
            http_code: Integer::Absent | Integer::Value(200..=299),
            ..
        }) if proves_success(&data) => {
            let ids = [&request_id, &gateway_request_id];
            let request_id = reply.request_id(ids).unwrap_or_default();
            Ok(Answer { data, request_id, total_size })
        }
        _ => Err(NotSuccess { expected: "success and data" }),
    }
}
