//! The common parts of all REST calls: signed headers, rules for path parameters, and the envelope
//! of responses.

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Alibaba, sign};
use crate::credential::Credential;
use crate::json::{self, Text};
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::rpc::validate::{Violations, WORKSPACE, is_path_segment, is_workspace};
use crate::upstream::{NotSuccess, Reply};

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
#[serde(rename_all = "camelCase", bound = "T: DeserializeOwned")]
struct EnvelopeWire<T> {
    #[serde(default, deserialize_with = "json::boolean")]
    success: Option<bool>,
    #[serde(default)]
    request_id: Text,
    #[serde(default, rename = "RequestId")]
    gateway_request_id: Text,
    #[serde(default, deserialize_with = "json::object")]
    data: Option<T>,
}

/// The data and the request id of a response. Data without a known field proves nothing, and counts
/// as a failure.
pub(super) fn data<T>(reply: &Reply<'_>) -> Result<(T, String), NotSuccess>
where
    T: DeserializeOwned + Default + PartialEq,
{
    match reply.json() {
        Some(EnvelopeWire {
            success: Some(true),
            data: Some(data),
            request_id,
            gateway_request_id,
        }) if data != T::default() => {
            let ids = [request_id.0.as_deref(), gateway_request_id.0.as_deref()];
            Ok((data, reply.request_id(ids).unwrap_or_default()))
        }
        other => Err(NotSuccess {
            reported: other.and_then(|wire: EnvelopeWire<T>| wire.success),
            expected: "success and data",
        }),
    }
}
