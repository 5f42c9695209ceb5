//! CreateSavepoint: `POST /api/v2/namespaces/{namespace}/savepoints`.
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-createsavepoint> (read 2026-11-26)

use bytes::Bytes;
use http::Request;
use serde::Serialize;

use super::savepoint::SavepointWire;
use super::{ALIBABA, Alibaba, rest};
use crate::call::{Call, Target};
use crate::credential::Credential;
use crate::json::Object;
use crate::pb::savepoint_service_server::SERVICE_NAME;
use crate::pb::{CreateSavepointRequest, CreateSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, Reply, RestCall, json_body};

/// The RPC. It is not idempotent, because there is no idempotency key.
pub static CREATE_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "CreateSavepoint",
    provider: &ALIBABA,
    kind: Kind::Unary,
    rest: &[Rest {
        http_method: "POST",
        url_template: "/api/v2/namespaces/{namespace}/savepoints",
    }],
    is_idempotent: false,
    changes_something: true,
    controls_jobs: false,
};

/// Maximum length of a description. The provider documents none.
const DESCRIPTION_BYTES: usize = 1024;

/// The body. What a request leaves out is not sent, so that the provider decides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateSavepointWire<'a> {
    deployment_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    native_format: Option<bool>,
}

impl Alibaba {
    pub(crate) async fn create_savepoint(
        &self,
        request: &CreateSavepointRequest,
        call: &Call,
    ) -> Result<CreateSavepointResponse, Error> {
        let create = self.create_call(request)?;
        call.note_target(Target {
            workspace: Some(create.workspace.to_owned()),
            namespace: Some(request.namespace.clone()),
            deployment_id: Some(request.deployment_id.clone()),
            ..Target::default()
        });
        self.judge(create.workspace, &request.namespace, call)?;
        self.upstream.call(&CREATE_SAVEPOINT, &create, call).await
    }

    /// Validates the request, and builds the REST call.
    pub(crate) fn create_call<'a>(
        &'a self,
        request: &'a CreateSavepointRequest,
    ) -> Result<Create<'a>, Error> {
        let workspace = self.workspace(&request.workspace);
        let mut violations = rest::check_workspace(workspace);
        rest::check_segment(&mut violations, "namespace", &request.namespace);
        rest::check_segment(&mut violations, "deployment_id", &request.deployment_id);
        violations.check(
            "description",
            request.description.len() <= DESCRIPTION_BYTES,
            "must be at most 1024 bytes of UTF-8",
        );
        violations.into_result()?;
        let body = json_body(&CreateSavepointWire {
            deployment_id: &request.deployment_id,
            description: &request.description,
            native_format: request.native_format,
        })?;
        let path = rest::savepoints_path(&request.namespace);
        Ok(Create { alibaba: self, path, workspace, body })
    }
}

#[derive(Debug)]
pub(crate) struct Create<'a> {
    alibaba: &'a Alibaba,
    path: String,
    workspace: &'a str,
    body: Bytes,
}

impl RestCall for Create<'_> {
    type Output = CreateSavepointResponse;

    fn rest(&self) -> &'static Rest {
        &CREATE_SAVEPOINT.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        let body = self.body.clone();
        self.alibaba.post(&self.path, body, self.workspace, "CreateSavepoint", credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<CreateSavepointResponse, NotSuccess> {
        let answer = rest::answer::<Object<SavepointWire<'_>>>(reply, |data| !data.0.is_empty())?;
        Ok(CreateSavepointResponse {
            savepoint: Some(answer.data.0.read(reply)),
            request_id: answer.request_id,
        })
    }
}
