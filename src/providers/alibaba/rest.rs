//! The common parts of all REST calls: signed headers, rules for path parameters, and the envelope
//! of responses.

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;

use super::{Alibaba, sign};
use crate::credential::Credential;
use crate::json::{self, Integer, NotFalse, Nothing};
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::rpc::validate::{Violations, WORKSPACE, is_path_segment, is_workspace};
use crate::upstream::{NotSuccess, ProviderText, Reply};

impl Alibaba {
    /// The workspace that a request names, or the default.
    pub(super) fn workspace<'a>(&'a self, named: &'a str) -> &'a str {
        match named {
            "" => self.default_workspace.as_deref().unwrap_or_default(),
            named => named,
        }
    }

    /// A signed request without a body.
    pub(super) fn request(
        &self,
        (method, path): (Method, &str),
        workspace: &str,
        action: &'static str,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let endpoint = &self.upstream.endpoint;
        let mut request = endpoint
            .request(method, path)
            .header("workspace", workspace)
            .header("x-acs-action", action)
            .header("x-acs-version", "2022-07-18")
            .body(Bytes::new())
            .map_err(|_| Error::new(Reason::GatewayInternal, "the request cannot be built"))?;
        let clock = &*self.upstream.clock;
        sign::sign(&mut request, credential, clock.now(), clock.nonce())?;
        Ok(request)
    }
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
    #[serde(default, deserialize_with = "json::object")]
    data: Option<T>,
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

/// The data and the request id of a response. Data without a known field proves nothing, and counts
/// as a failure.
pub(super) fn data<'a, T>(reply: &Reply<'a>) -> Result<(T, String), NotSuccess>
where
    T: Deserialize<'a> + Default + PartialEq,
{
    match reply.json() {
        Some(EnvelopeWire {
            success: Some(true),
            data: Some(data),
            request_id,
            gateway_request_id,
            http_code: Integer::Absent | Integer::Value(200..=299),
            ..
        }) if data != T::default() => {
            let ids = [&request_id, &gateway_request_id];
            Ok((data, reply.request_id(ids).unwrap_or_default()))
        }
        _ => Err(NotSuccess { expected: "success and data" }),
    }
}
