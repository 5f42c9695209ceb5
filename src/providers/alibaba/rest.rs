//! What all REST calls of Realtime Compute have in common: the signed headers, the rules of
//! their path parameters, and the envelope of their responses.

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
    /// The workspace of a request: the one that it names, or the one of the options.
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
        let endpoint = self.upstream.endpoint();
        let mut request = endpoint
            .request(method, path)
            .header("workspace", workspace)
            .header("x-acs-action", action)
            .header("x-acs-version", "2022-07-18")
            .body(Bytes::new())
            .map_err(|_| Error::new(Reason::GatewayInternal, "the request cannot be built"))?;
        let clock = self.upstream.clock();
        sign::sign(&mut request, credential, clock.now(), clock.nonce())?;
        Ok(request)
    }
}

/// The bad fields of a request, beginning with its workspace.
pub(super) fn check_workspace(workspace: &str) -> Violations {
    let mut violations = Violations::default();
    let rule = match workspace {
        "" => "is empty and the gateway has no --alibaba-workspace",
        _ => WORKSPACE,
    };
    violations.check("workspace", is_workspace(workspace), rule);
    violations
}

/// Checks a field that becomes a segment of the path.
pub(super) fn check_segment(violations: &mut Violations, field: &'static str, value: &str) {
    const RULE: &str =
        "must be 1 to 128 of 0-9, A-Z, a-z, _, ., ~ and -, and begin with a letter or digit";
    violations.check(field, is_path_segment(value), RULE);
}

/// The envelope. `httpCode` in it is documented to be 200 whatever happened: `success` alone
/// decides.
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

/// The data of a successful response, and the request id.
///
/// # Errors
/// `success` is not true, or the data has not a single known field, which proves nothing.
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
