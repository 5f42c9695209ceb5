//! The common parts of all REST calls: headers, a token or signature, and the envelope of
//! responses.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request};
use serde::{Deserialize, Serialize};

use super::{Huawei, sign};
use crate::call::{Call, Target};
use crate::clock::Clock;
use crate::credential::Credential;
use crate::json::{self, NotFalse, Nothing};
use crate::policy::Scope;
use crate::rpc::Error;
use crate::rpc::operation::Rest;
use crate::rpc::validate::{Violations, is_project_id, is_savepoint_path};
use crate::signing::sensitive;
use crate::upstream::{NotSuccess, ProviderText, Reply, RestCall, json_body, not_built};

/// A REST call about a job.
#[derive(Debug)]
pub(super) struct JobCall<'a> {
    huawei: &'a Huawei,
    path: String,
    project_id: Cow<'a, str>,
    body: Bytes,
}

impl<'a> JobCall<'a> {
    /// With a JSON body.
    ///
    /// # Errors
    /// If the body cannot be serialized, which is a bug.
    pub(super) fn new(
        huawei: &'a Huawei,
        path: String,
        project_id: Cow<'a, str>,
        body: &impl Serialize,
    ) -> Result<Self, Error> {
        Ok(Self { huawei, path, project_id, body: json_body(body)? })
    }

    pub(super) fn without_body(huawei: &'a Huawei, path: String, project_id: Cow<'a, str>) -> Self {
        Self { huawei, path, project_id, body: Bytes::new() }
    }

    pub(super) fn request(
        &self,
        method: Method,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let body = self.body.clone();
        self.huawei.request((method, &self.path), &self.project_id, body, credential)
    }
}

/// A change whose success is a message: that DLI accepted it.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(super) rest: &'static Rest,
    pub(super) call: JobCall<'a>,
    /// Whether the answer is a list with one element for each job.
    pub(super) has_list: bool,
}

impl<'a> Change<'a> {
    /// One whose answer is read without having been asked for.
    #[cfg(feature = "internals")]
    pub(crate) fn read_only(huawei: &'a Huawei, rest: &'static Rest, has_list: bool) -> Self {
        let call = JobCall::without_body(huawei, "/".to_owned(), Cow::Borrowed("p"));
        Self { rest, call, has_list }
    }
}

impl RestCall for Change<'_> {
    /// The message and the request id.
    type Output = (String, String);

    fn rest(&self) -> &'static Rest {
        self.rest
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.call.request(Method::POST, credential)
    }

    fn body<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        if self.has_list { only_element(body) } else { body }
    }

    fn response(&self, reply: &Reply<'_>) -> Result<(String, String), NotSuccess> {
        success(reply)
    }
}

const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const X_PROJECT_ID: HeaderName = HeaderName::from_static("x-project-id");

impl Huawei {
    /// A request with a JSON body and a token or signature.
    pub(super) fn request(
        &self,
        (method, path): (Method, &str),
        project_id: &str,
        body: Bytes,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let request = self.upstream.endpoint.request(method, path).body(body);
        let mut request = request.map_err(not_built)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_PROJECT_ID, HeaderValue::from_str(project_id).map_err(not_built)?);
        authorize(&mut request, credential, &*self.upstream.clock)?;
        Ok(request)
    }
}

/// Adds a token or a signature to a request, which is unchanged after an error.
pub(super) fn authorize(
    request: &mut Request<Bytes>,
    credential: &Credential,
    clock: &dyn Clock,
) -> Result<(), Error> {
    match credential.auth_token() {
        // Never with a signature, because the service would check both.
        Some(token) => {
            request.headers_mut().insert(X_AUTH_TOKEN, sensitive(token.expose())?);
            Ok(())
        }
        None => sign::sign(request, credential, clock.now()),
    }
}

/// The envelope. `is_success` is documented as a boolean, but the service also sends `"true"`.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading what denies a success is the check")]
struct EnvelopeWire<'a> {
    #[serde(default, deserialize_with = "json::boolean")]
    is_success: Option<bool>,
    #[serde(default, borrow)]
    message: ProviderText<'a>,
    #[serde(default, borrow)]
    request_id: ProviderText<'a>,
    // What denies a success.
    #[serde(default, alias = "isSuccess", alias = "Success")]
    success: NotFalse,
    #[serde(default, alias = "errorCode")]
    error_code: Nothing,
    #[serde(default, alias = "Code")]
    code: Nothing,
    #[serde(default)]
    error: Nothing,
}

/// The message and the request id of a success.
pub(super) fn success(reply: &Reply<'_>) -> Result<(String, String), NotSuccess> {
    match reply.json() {
        Some(EnvelopeWire { is_success: Some(true), message, request_id, .. }) => {
            let request_id = reply.request_id([&request_id]).unwrap_or_default();
            Ok((reply.show(message), request_id))
        }
        _ => Err(NotSuccess { expected: "is_success" }),
    }
}

/// The only element of a list, as the body. Where the provider answers with a list of one element
/// for each job, older documents show the element alone. Anything else is not an object, and so
/// proves nothing.
fn only_element(body: &[u8]) -> &[u8] {
    let list = body.trim_ascii().strip_prefix(b"[");
    list.and_then(|list| list.strip_suffix(b"]")).unwrap_or(body)
}

/// Checks the project and the job. More fields can be added to the violations.
pub(super) fn check_job(project_id: Option<&str>, job_id: i64) -> Violations {
    let mut violations = check_project(project_id);
    violations.check("job_id", job_id > 0, "must be from 1 to 9223372036854775807");
    violations
}

/// Judges a call by its project.
pub(super) fn judge(project_id: &str, call: &Call) -> Result<(), Error> {
    call.judge(&Scope { project: Some(project_id), ..Scope::default() })
}

/// What a change of a job is about, for the log.
pub(super) fn target(project_id: &str, job_id: i64) -> Target {
    Target {
        project_id: Some(project_id.to_owned()),
        job_id: Some(job_id.to_string()),
        ..Target::default()
    }
}

pub(super) fn check_savepoint_path(violations: &mut Violations, path: &str) {
    violations.check(
        "savepoint_path",
        is_savepoint_path(path),
        "must be 1 to 1024 bytes of UTF-8 without control characters",
    );
}

/// Checks the project, unless it is being looked up.
fn check_project(project_id: Option<&str>) -> Violations {
    let mut violations = Violations::default();
    if let Some(project_id) = project_id {
        let rule = match project_id {
            "" => "is empty and --huawei-project-id is not set",
            _ => "must be 1 to 64 of 0-9, A-Z, a-z, _ and -",
        };
        violations.check("project_id", is_project_id(project_id), rule);
    }
    violations
}
