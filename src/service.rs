//! The handlers of `savepoint.v1.SavepointService`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
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
        let import = {
            let call = call.clone();
            async move { huawei.import_savepoint(&request, &call).await }
        };
        match RunsOn::new(Box::pin(import), &call, &self.imports).await {
            Ok(response) => {
                call.note_success(&response.request_id);
                Ok(Response::new(response))
            }
            Err(error) => Err(fail(&call, error, OPERATION)),
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

type Import = Pin<Box<dyn Future<Output = Result<ImportSavepointResponse, Error>> + Send>>;

/// An import that runs on to its answer although it is dropped.
///
/// When a caller leaves, hyper drops the handler. A request that is on its way changes the job
/// all the same, and its outcome must be seen: what is left of the import becomes a task. An
/// import of which no byte was sent ends with its caller.
struct RunsOn<'a> {
    /// None when it is over, or being polled: what panicked must not run on.
    import: Option<Import>,
    call: &'a Call,
    tasks: &'a TaskTracker,
}

impl<'a> RunsOn<'a> {
    fn new(import: Import, call: &'a Call, tasks: &'a TaskTracker) -> Self {
        Self { import: Some(import), call, tasks }
    }
}

impl Future for RunsOn<'_> {
    type Output = Result<ImportSavepointResponse, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut import) = self.import.take() else { return Poll::Pending };
        let polled = import.as_mut().poll(cx);
        if polled.is_pending() {
            self.import = Some(import);
        }
        polled
    }
}

impl Drop for RunsOn<'_> {
    fn drop(&mut self) {
        let Some(import) = self.import.take() else { return };
        // Without a runtime the process is at its end, and nothing can run on.
        if self.call.sent().get()
            && let Ok(runtime) = Handle::try_current()
        {
            self.tasks.spawn_on(see_the_outcome(import, self.call.clone()), &runtime);
        }
    }
}

async fn see_the_outcome(import: Import, call: Call) {
    match import.await {
        Ok(response) => tracing::info!(
            method = Operation::ImportSavepoint.name(),
            provider_request_id = response.request_id,
            trace_id = trace_id(&call),
            "the caller left; the import succeeded"
        ),
        Err(error) => {
            tracing::warn!(
                method = Operation::ImportSavepoint.name(),
                reason = error.failure().row().reason,
                outcome = error.outcome().map(Outcome::as_str),
                provider_request_id = error.fault().request_id,
                trace_id = trace_id(&call),
                "the caller left; the import failed"
            );
        }
    }
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
