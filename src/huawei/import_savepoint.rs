//! ImportSavepoint: `POST /v1.0/{project_id}/streaming/jobs/{job_id}/import-savepoint`.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0393.html> (read 2026-11-22)

use std::pin::pin;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use serde::{Deserialize, Serialize};

use super::{Huawei, Project, X_AUTH_TOKEN, sign};
use crate::call::Call;
use crate::canonical::sensitive;
use crate::credential::Credential;
use crate::error::Error;
use crate::failure::Failure;
use crate::fault::{Unproven, request_id};
use crate::json;
use crate::operation::Operation;
use crate::pb::{ImportSavepointRequest, ImportSavepointResponse};
use crate::upstream::Answer;
use crate::validate::{Violations, is_project_id, is_savepoint_path};

const OPERATION: Operation = Operation::ImportSavepoint;

/// The body, with the two documented fields and nothing else. The service wants a number for
/// the job, so this is not the proto's JSON form, which would be a string.
#[derive(Debug, Serialize)]
struct ImportSavepointWire<'a> {
    job_id: i64,
    savepoint_path: &'a str,
}

/// The answer. The documentation says that `is_success` is a boolean; the service is known to
/// send `"true"`.
#[derive(Debug, Deserialize)]
struct ImportedWire {
    #[serde(default, deserialize_with = "json::boolean")]
    is_success: Option<bool>,
    #[serde(default, deserialize_with = "json::text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    request_id: Option<String>,
}

/// What is asked of the provider for one request, whatever the number of attempts.
#[derive(Debug)]
pub(crate) struct ImportPlan<'a> {
    uri: String,
    project_id: &'a str,
    body: Bytes,
}

impl Huawei {
    /// Imports a savepoint into a job.
    ///
    /// # Errors
    /// Any row of [`Failure`]. Nothing is sent when the request breaks a rule.
    pub async fn import_savepoint(
        &self,
        request: &ImportSavepointRequest,
        call: &Call,
    ) -> Result<ImportSavepointResponse, Error> {
        let plan = match &self.project {
            Project::Lookup(lookup)
                if request.project_id.is_empty() && self.project.known().is_none() =>
            {
                validate(None, request)?;
                let project_id = call.bound(pin!(lookup.wait())).await?;
                self.plan_for(project_id, request)?
            }
            Project::None | Project::Id(_) | Project::Lookup(_) => self.plan(request)?,
        };
        self.upstream.call(OPERATION, call, || self.attempt_import(&plan, call)).await
    }

    /// Checks the request and says what is asked of the provider for it.
    pub(crate) fn plan<'a>(
        &'a self,
        request: &'a ImportSavepointRequest,
    ) -> Result<ImportPlan<'a>, Error> {
        let project_id = match request.project_id.as_str() {
            "" => self.project.known().unwrap_or_default(),
            given => given,
        };
        validate(Some(project_id), request)?;
        self.plan_for(project_id, request)
    }

    fn plan_for<'a>(
        &self,
        project_id: &'a str,
        request: &ImportSavepointRequest,
    ) -> Result<ImportPlan<'a>, Error> {
        let body = serde_json::to_vec(&ImportSavepointWire {
            job_id: request.job_id,
            savepoint_path: &request.savepoint_path,
        })
        .map_err(|_| Error::new(Failure::GatewayInternal, "the request body cannot be written"))?;
        let uri = format!(
            "{}/v1.0/{project_id}/streaming/jobs/{}/import-savepoint",
            self.upstream.endpoint().origin(),
            request.job_id,
        );
        Ok(ImportPlan { uri, project_id, body: Bytes::from(body) })
    }

    async fn attempt_import(
        &self,
        plan: &ImportPlan<'_>,
        call: &Call,
    ) -> Result<ImportSavepointResponse, Error> {
        let credential = self.credentials.current(self.upstream.clock()).await?;
        let request = self.signed(plan, &credential)?;
        let answer = self.upstream.send(OPERATION, request, call).await?;
        self.read(&answer, &credential)
    }

    pub(crate) fn signed(
        &self,
        plan: &ImportPlan<'_>,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&plan.uri)
            .header(HOST, self.upstream.endpoint().host())
            .header(CONTENT_TYPE, "application/json")
            .header("x-project-id", plan.project_id)
            .body(plan.body.clone())
            .map_err(|_| Error::new(Failure::GatewayInternal, "the request cannot be built"))?;
        match credential.auth_token() {
            // A token stands alone: with a signature beside it, the service checks both.
            Some(token) => {
                request.headers_mut().insert(X_AUTH_TOKEN, sensitive(token.expose())?);
            }
            None => sign::sign(&mut request, credential, self.upstream.clock().now())?,
        }
        // Added after signing: proxies on the way may change them.
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
        Ok(request)
    }

    pub(crate) fn read(
        &self,
        answer: &Answer,
        credential: &Credential,
    ) -> Result<ImportSavepointResponse, Error> {
        let header_id = request_id(answer.header("x-request-id"), credential);
        let wire = if answer.is_2xx() && answer.whole {
            json::read_object::<ImportedWire>(&answer.body).ok()
        } else {
            None
        };
        let success = wire.as_ref().and_then(|wire| wire.is_success);
        if let Some(ImportedWire { is_success: Some(true), message, request_id: body_id }) = wire {
            return Ok(ImportSavepointResponse {
                message: message.unwrap_or_default(),
                request_id: header_id
                    .or(request_id(body_id.as_deref(), credential))
                    .unwrap_or_default(),
            });
        }

        let unproven = Unproven {
            operation: OPERATION,
            answer,
            success,
            proof: "is_success",
            credential,
            now: self.upstream.clock().now(),
        };
        let error = unproven.error(|told| header_id.or(request_id(told, credential)));
        if error.failure() == Failure::CredentialsRejected {
            self.credentials.doubt(credential);
        }
        Err(error)
    }
}

/// Checks the fields; the project only when it need not be looked up.
fn validate(project_id: Option<&str>, request: &ImportSavepointRequest) -> Result<(), Error> {
    let mut violations = Violations::default();
    if let Some(project_id) = project_id {
        violations.check(
            "project_id",
            is_project_id(project_id),
            if project_id.is_empty() {
                "is empty and the gateway has no --huawei-project-id"
            } else {
                "must be 1 to 64 of 0-9, A-Z, a-z, _ and -"
            },
        );
    }
    violations.check("job_id", request.job_id > 0, "must be from 1 to 9223372036854775807");
    violations.check(
        "savepoint_path",
        is_savepoint_path(&request.savepoint_path),
        "must be 1 to 1024 bytes of UTF-8 without control characters",
    );
    violations.into_result()
}
