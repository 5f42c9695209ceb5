//! The common parts of all REST calls: rules for fields, ids that the gateway chooses, and requests.

use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use prost::Message;
use serde::{Deserialize, Serialize};

use super::{Cluster, Flink};
use crate::call::Call;
use crate::clock::Clock;
use crate::credential::Credential;
use crate::json::Nothing;
use crate::pb::flink::SavepointFormat;
use crate::rpc::Error;
use crate::rpc::operation::{Operation, Rest};
use crate::rpc::reason::Reason;
use crate::rpc::validate::{Violations, is_savepoint_path};
use crate::signing::sensitive;
use crate::text::hex;
use crate::upstream::{NotSuccess, ProviderText, Reply, RestCall, Upstream, json_body, not_built};

impl Flink {
    /// Checks the cluster and the job. More fields can be added to the violations.
    pub(super) fn check_job(&self, cluster: &str, job_id: &str) -> Violations {
        let mut violations = self.check_cluster(cluster);
        check_id(&mut violations, "job_id", job_id);
        violations
    }

    pub(super) fn check_cluster(&self, name: &str) -> Violations {
        let mut violations = Violations::default();
        let rule = match name {
            "" => "is empty, and the gateway has more than one cluster",
            _ => "is not the name of a cluster of --flink-cluster",
        };
        violations.check("cluster", self.cluster(name).is_some(), rule);
        violations
    }

    /// The cluster of a request whose fields are valid.
    ///
    /// # Errors
    /// If there is none, which is a bug.
    pub(super) fn known_cluster(&self, name: &str) -> Result<&Cluster, Error> {
        let missing = || Error::new(Reason::GatewayInternal, "the cluster was not checked");
        self.cluster(name).ok_or_else(missing)
    }
}

/// Checks an id of Flink.
pub(super) fn check_id(violations: &mut Violations, field: &'static str, id: &str) {
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    violations.check(field, is_id, "must be 32 hexadecimal digits");
}

/// An id as Flink writes it: it accepts capitals, and answers with small letters.
pub(super) fn small(id: &str) -> String {
    id.to_ascii_lowercase()
}

pub(super) fn check_key(violations: &mut Violations, key: &str) {
    let is_key = key.len() <= 128 && key.bytes().all(|b| b.is_ascii_graphic());
    violations.check("idempotency_key", is_key, "must be at most 128 characters of visible ASCII");
}

/// Checks the fields of a savepoint that is to be made, and returns its format.
pub(super) fn check_savepoint(
    violations: &mut Violations,
    target_directory: &str,
    format: i32,
    key: &str,
) -> Option<&'static str> {
    violations.check(
        "target_directory",
        target_directory.is_empty() || is_savepoint_path(target_directory),
        "must be at most 1024 bytes of UTF-8 without control characters",
    );
    check_key(violations, key);
    match SavepointFormat::try_from(format) {
        Ok(SavepointFormat::Unspecified) => None,
        Ok(SavepointFormat::Canonical) => Some("CANONICAL"),
        Ok(SavepointFormat::Native) => Some("NATIVE"),
        Err(_) => {
            violations.check("format", false, "is not a format of this contract");
            None
        }
    }
}

/// The id of what a call begins, 32 hexadecimal digits.
///
/// Without a key it is random. With one it is made of the RPC and the whole request, so that it is
/// the same for a repeated call, and never for another call: Flink answers a stop that has the id
/// of a completed savepoint with that savepoint, and stops nothing.
pub(super) fn chosen_id(
    operation: &Operation,
    request: &impl Message,
    key: &str,
    clock: &dyn Clock,
) -> String {
    if key.is_empty() {
        return hex(&clock.nonce());
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(operation.to_string().as_bytes());
    context.update(&[0]);
    context.update(&request.encode_to_vec());
    hex(&context.finish().as_ref()[..16])
}

impl Upstream {
    /// A request to Flink, with the authorization for its proxy if there is one.
    pub(super) fn flink_request(
        &self,
        (method, path): (Method, &str),
        body: Bytes,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let mut request = self.endpoint.request(method, path);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = credential.authorization() {
            request = request.header(AUTHORIZATION, sensitive(authorization.expose())?);
        }
        request.body(body).map_err(not_built)
    }
}

impl Cluster {
    /// Begins a change of a job under the id that the gateway chose for it.
    pub(super) async fn begin(
        &self,
        operation: &'static Operation,
        job_id: &str,
        (path, body): (String, &(impl Serialize + Sync)),
        id: &str,
        call: &Call,
    ) -> Result<(), Error> {
        call.note_target(self.target(job_id));
        self.judge(call)?;
        let (rest, upstream) = (&operation.rest[0], &self.upstream);
        let begin = Begin { rest, upstream, path, body: json_body(body)?, id };
        upstream.call(operation, &begin, call).await
    }
}

/// A request that Flink accepts with the id that the gateway chose.
#[derive(Debug)]
pub(super) struct Begin<'a> {
    pub(super) rest: &'static Rest,
    pub(super) upstream: &'a Upstream,
    pub(super) path: String,
    pub(super) body: Bytes,
    pub(super) id: &'a str,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading what denies a success is the check")]
struct AcceptedWire<'a> {
    #[serde(default, borrow, rename = "request-id", alias = "jobid")]
    id: ProviderText<'a>,
    // What denies a success.
    #[serde(default)]
    errors: Nothing,
}

impl RestCall for Begin<'_> {
    type Output = ();

    fn rest(&self) -> &'static Rest {
        self.rest
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        let body = self.body.clone();
        self.upstream.flink_request((Method::POST, &self.path), body, credential)
    }

    /// Another id would be that of something else, or of a Flink before 1.15, which ignores the
    /// chosen one.
    fn response(&self, reply: &Reply<'_>) -> Result<(), NotSuccess> {
        match reply.json() {
            Some(AcceptedWire { id, .. }) if id.is(self.id) => Ok(()),
            _ => Err(NotSuccess { expected: "id, which must be the one that was sent" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::pb::flink::{StopWithSavepointRequest, TriggerSavepointRequest};
    use crate::providers::flink::{STOP_WITH_SAVEPOINT, TRIGGER_SAVEPOINT};

    #[test]
    fn a_key_leads_to_one_id_for_each_rpc_and_request() {
        let job_id = "fae2ea4e711c8a93bba26029a6f845cd".to_owned();
        let key = "a-key".to_owned();
        let trigger = TriggerSavepointRequest {
            job_id: job_id.clone(),
            idempotency_key: key.clone(),
            ..TriggerSavepointRequest::default()
        };
        // Its encoding is the same as that of the other.
        let stop = StopWithSavepointRequest {
            job_id,
            idempotency_key: key.clone(),
            ..StopWithSavepointRequest::default()
        };
        assert_eq!(trigger.encode_to_vec(), stop.encode_to_vec());
        let of_trigger = |request: &TriggerSavepointRequest| {
            chosen_id(&TRIGGER_SAVEPOINT, request, &request.idempotency_key, &SystemClock)
        };
        let id = of_trigger(&trigger);
        assert_eq!((id.len(), id == small(&id)), (32, true));
        assert_eq!(of_trigger(&trigger), id);
        assert_ne!(chosen_id(&STOP_WITH_SAVEPOINT, &stop, &key, &SystemClock), id);
        let target =
            TriggerSavepointRequest { target_directory: "x".to_owned(), ..trigger.clone() };
        assert_ne!(of_trigger(&target), id);
        let keyless = TriggerSavepointRequest { idempotency_key: String::new(), ..trigger };
        assert_ne!(of_trigger(&keyless), of_trigger(&keyless));
    }
}
