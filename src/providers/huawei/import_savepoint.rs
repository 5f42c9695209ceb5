//! ImportSavepoint: `POST /v1.0/{project_id}/streaming/jobs/{job_id}/import-savepoint`.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0393.html> (read 2026-11-22)

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Request};
use serde::Serialize;

use super::rest::JobCall;
use super::{HUAWEI, Huawei, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::pb::savepoint_service_server::SERVICE_NAME;
use crate::pb::{ImportSavepointRequest, ImportSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, Reply, RestCall};

/// The RPC. It is not idempotent, and the result of a lost response cannot be queried.
pub static IMPORT_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "ImportSavepoint",
    provider: &HUAWEI,
    kind: Kind::Unary,
    rest: &[Rest {
        http_method: "POST",
        url_template: "/v1.0/{project_id}/streaming/jobs/{job_id}/import-savepoint",
    }],
    is_idempotent: false,
    changes_something: true,
    controls_jobs: false,
};

/// The body with the two documented fields. The service expects the job id as a number, unlike the
/// proto's JSON form.
#[derive(Debug, Serialize)]
struct ImportSavepointWire<'a> {
    job_id: i64,
    savepoint_path: &'a str,
}

impl Huawei {
    pub(crate) async fn import_savepoint(
        &self,
        request: &ImportSavepointRequest,
        call: &Call,
    ) -> Result<ImportSavepointResponse, Error> {
        let project_id = self.project(&request.project_id);
        check(project_id.as_deref(), request)?;
        let project_id = self.lookup(project_id, call).await?;
        call.note_target(rest::target(&project_id, request.job_id));
        rest::judge(&project_id, call)?;
        let import = Import::new(self, project_id, request)?;
        self.upstream.call(&IMPORT_SAVEPOINT, &import, call).await
    }

    /// Validates a request that needs no lookup, and builds the REST call.
    #[cfg(feature = "internals")]
    pub(crate) fn import_call<'a>(
        &'a self,
        request: &'a ImportSavepointRequest,
    ) -> Result<Import<'a>, Error> {
        let project_id = self.project(&request.project_id).unwrap_or_default();
        check(Some(&project_id), request)?;
        Import::new(self, project_id, request)
    }
}

#[derive(Debug)]
pub(crate) struct Import<'a>(JobCall<'a>);

impl<'a> Import<'a> {
    fn new(
        huawei: &'a Huawei,
        project_id: Cow<'a, str>,
        request: &ImportSavepointRequest,
    ) -> Result<Self, Error> {
        let path = format!("/v1.0/{project_id}/streaming/jobs/{}/import-savepoint", request.job_id);
        let body =
            ImportSavepointWire { job_id: request.job_id, savepoint_path: &request.savepoint_path };
        JobCall::new(huawei, path, project_id, &body).map(Self)
    }
}

impl RestCall for Import<'_> {
    type Output = ImportSavepointResponse;

    fn rest(&self) -> &'static Rest {
        &IMPORT_SAVEPOINT.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.0.request(Method::POST, credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<ImportSavepointResponse, NotSuccess> {
        let (message, request_id) = rest::success(reply)?;
        Ok(ImportSavepointResponse { message, request_id })
    }
}

fn check(project_id: Option<&str>, request: &ImportSavepointRequest) -> Result<(), Error> {
    let mut violations = rest::check_job(project_id, request.job_id);
    rest::check_savepoint_path(&mut violations, &request.savepoint_path);
    violations.into_result()
}
