//! GetSavepoint: `GET /api/v2/namespaces/{namespace}/savepoints/{savepointId}`.
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-getsavepoint> (read 2026-11-22)

use bytes::Bytes;
use http::{Method, Request};

use super::savepoint::SavepointWire;
use super::{ALIBABA, Alibaba, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::json::Object;
use crate::pb::savepoint_service_server::SERVICE_NAME;
use crate::pb::{GetSavepointRequest, GetSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::signing::percent_encode;
use crate::upstream::{NotSuccess, Reply, RestCall};

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
    controls_jobs: false,
};

impl Alibaba {
    pub(crate) async fn get_savepoint(
        &self,
        request: &GetSavepointRequest,
        call: &Call,
    ) -> Result<GetSavepointResponse, Error> {
        let rest = self.get_call(request)?;
        self.judge(rest.workspace, &request.namespace, call)?;
        self.upstream.call(&GET_SAVEPOINT, &rest, call).await
    }

    /// Validates the request, and builds the REST call.
    pub(crate) fn get_call<'a>(
        &'a self,
        request: &'a GetSavepointRequest,
    ) -> Result<Get<'a>, Error> {
        let workspace = self.workspace(&request.workspace);
        let mut violations = rest::check_workspace(workspace);
        rest::check_segment(&mut violations, "namespace", &request.namespace);
        rest::check_segment(&mut violations, "savepoint_id", &request.savepoint_id);
        violations.into_result()?;
        let savepoints = rest::savepoints_path(&request.namespace);
        let path = [&savepoints, "/", &percent_encode(&request.savepoint_id)].concat();
        Ok(Get { alibaba: self, path, workspace })
    }
}

#[derive(Debug)]
pub(crate) struct Get<'a> {
    alibaba: &'a Alibaba,
    path: String,
    workspace: &'a str,
}

impl RestCall for Get<'_> {
    type Output = GetSavepointResponse;

    fn rest(&self) -> &'static Rest {
        &GET_SAVEPOINT.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.alibaba.request((Method::GET, &self.path), self.workspace, "GetSavepoint", credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<GetSavepointResponse, NotSuccess> {
        let answer = rest::answer::<Object<SavepointWire<'_>>>(reply, |data| !data.0.is_empty())?;
        Ok(GetSavepointResponse {
            savepoint: Some(answer.data.0.read(reply)),
            request_id: answer.request_id,
        })
    }
}
