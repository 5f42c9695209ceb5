//! The common parts of all REST calls: headers, a token or signature, and the envelope of
//! responses.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, Request};
use serde::Deserialize;

use super::{Huawei, sign};
use crate::clock::Clock;
use crate::credential::Credential;
use crate::json::{self, NotFalse, Nothing};
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::rpc::validate::{Violations, is_project_id};
use crate::signing::sensitive;
use crate::upstream::{NotSuccess, ProviderText, Reply};

const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

impl Huawei {
    /// A request with a JSON body and a token or signature.
    pub(super) fn request(
        &self,
        (method, path): (Method, &str),
        project_id: &str,
        body: Bytes,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let endpoint = &self.upstream.endpoint;
        let mut request = endpoint
            .request(method, path)
            .header(CONTENT_TYPE, "application/json")
            .header("x-project-id", project_id)
            .body(body)
            .map_err(|_| Error::new(Reason::GatewayInternal, "the request cannot be built"))?;
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

/// Checks the project, unless it is being looked up. More fields can be added to the violations.
pub(super) fn check_project(project_id: Option<&str>) -> Violations {
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
