//! The handlers of `savepoint.v1.SavepointService`.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::alibaba::Alibaba;
use crate::call::Call;
use crate::error::Error;
use crate::failure::{Failure, Outcome};
use crate::huawei::Huawei;
use crate::operation::Operation;
use crate::pb::savepoint_service_server::SavepointService;
use crate::pb::{
    GetSavepointRequest, GetSavepointResponse, ImportSavepointRequest, ImportSavepointResponse,
};

/// The providers that this gateway is configured for, as one worker calls them.
#[derive(Debug, Clone)]
pub struct Service {
    huawei: Option<Arc<Huawei>>,
    alibaba: Option<Arc<Alibaba>>,
    /// Imports that run on although their caller left.
    imports: TaskTracker,
}

impl Service {
    /// A service of these providers. `imports` counts the imports under way, so that a
    /// shutdown can wait for those whose caller left.
    pub fn new(huawei: Option<Huawei>, alibaba: Option<Alibaba>, imports: TaskTracker) -> Self {
        Self { huawei: huawei.map(Arc::new), alibaba: alibaba.map(Arc::new), imports }
    }
}

#[tonic::async_trait]
impl SavepointService for Service {
    async fn import_savepoint(
        &self,
        request: Request<ImportSavepointRequest>,
    ) -> Result<Response<ImportSavepointResponse>, Status> {
        const OPERATION: Operation = Operation::ImportSavepoint;
        let call = call_of(&request)?;
        let Some(huawei) = self.huawei.clone() else {
            return Err(fail(&call, not_configured(OPERATION), OPERATION));
        };
        let request = request.into_inner();
        // A task of its own: when the caller leaves, hyper drops this handler, but a request
        // that is on its way changes the job all the same, and its outcome must be seen.
        let task = self.imports.spawn({
            let call = call.clone();
            async move { import_to_the_end(&huawei, &request, &call).await }
        });
        let leaving = call.caller_gone().clone().drop_guard();
        let result = task.await;
        leaving.disarm();
        match result {
            Ok(Some(Ok(response))) => {
                call.note_success(&response.request_id);
                Ok(Response::new(response))
            }
            Ok(Some(Err(error))) => Err(fail(&call, error, OPERATION)),
            Ok(None) => Err(fail(&call, Error::new(Failure::Cancelled, "cancelled"), OPERATION)),
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            Err(_) => {
                let error = Error::new(Failure::Draining, "the gateway is shutting down");
                Err(fail(&call, error, OPERATION))
            }
        }
    }

    async fn get_savepoint(
        &self,
        request: Request<GetSavepointRequest>,
    ) -> Result<Response<GetSavepointResponse>, Status> {
        const OPERATION: Operation = Operation::GetSavepoint;
        let call = call_of(&request)?;
        let Some(alibaba) = &self.alibaba else {
            return Err(fail(&call, not_configured(OPERATION), OPERATION));
        };
        match alibaba.get_savepoint(request.get_ref(), &call).await {
            Ok(response) => {
                call.note_success(&response.request_id);
                Ok(Response::new(response))
            }
            Err(error) => Err(fail(&call, error, OPERATION)),
        }
    }
}

/// Runs an import. When its caller leaves before a byte was sent it ends without a result;
/// after that it runs on to its answer, within its deadline, and the outcome is logged.
async fn import_to_the_end(
    huawei: &Huawei,
    request: &ImportSavepointRequest,
    call: &Call,
) -> Option<Result<ImportSavepointResponse, Error>> {
    let mut import = std::pin::pin!(huawei.import_savepoint(request, call));
    tokio::select! {
        biased;
        result = &mut import => return Some(result),
        () = call.caller_gone().cancelled() => {}
    }
    if !call.sent().get() {
        return None;
    }
    let result = import.await;
    match &result {
        Ok(response) => tracing::info!(
            method = Operation::ImportSavepoint.name(),
            provider_request_id = response.request_id,
            trace_id = trace_id(call),
            "the caller left; the import succeeded"
        ),
        Err(error) => {
            tracing::warn!(
                method = Operation::ImportSavepoint.name(),
                reason = error.failure().row().reason,
                outcome = error.outcome().map(Outcome::as_str),
                provider_request_id = error.fault().request_id,
                trace_id = trace_id(call),
                "the caller left; the import failed"
            );
        }
    }
    Some(result)
}

fn trace_id(call: &Call) -> Option<impl tracing::Value> {
    call.trace().map(|trace| tracing::field::display(trace.trace_id()))
}

/// The call that the server put into the request.
fn call_of<T>(request: &Request<T>) -> Result<Call, Status> {
    request.extensions().get::<Call>().cloned().ok_or_else(|| {
        Error::new(Failure::GatewayInternal, "the request came in without its call").into()
    })
}

fn not_configured(operation: Operation) -> Error {
    Error::new(
        Failure::NotConfigured,
        format!("this gateway is not configured for {}", operation.provider()),
    )
}

fn fail(call: &Call, error: Error, operation: Operation) -> Status {
    let error = error.with_operation(operation);
    call.note_failure(&error);
    error.into()
}
