//! Changes whose caller has left.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::call::Call;
use crate::rpc::Error;
use crate::rpc::reason::Outcome;

type Change<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A change that continues when dropped.
///
/// When a caller leaves, hyper drops the handler. A request that has been sent takes effect
/// nevertheless, and its outcome must be logged, so the rest of the change becomes a task. A change
/// of which nothing was sent ends with its caller.
pub(super) struct DetachOnDrop<'a, T: Send + 'static> {
    /// None once it has completed, or while it is polled, so that a panicked change is not resumed.
    change: Option<Change<T>>,
    call: &'a Call,
    tasks: &'a TaskTracker,
}

impl<'a, T: Send> DetachOnDrop<'a, T> {
    pub(super) fn new(change: Change<T>, call: &'a Call, tasks: &'a TaskTracker) -> Self {
        Self { change: Some(change), call, tasks }
    }
}

impl<T: Send> Future for DetachOnDrop<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut change) = self.change.take() else { return Poll::Pending };
        let polled = change.as_mut().poll(cx);
        if polled.is_pending() {
            self.change = Some(change);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for DetachOnDrop<'_, T> {
    fn drop(&mut self) {
        let Some(change) = self.change.take() else { return };
        // Without a runtime the process is exiting.
        if self.call.write_started().get()
            && let Ok(runtime) = Handle::try_current()
        {
            self.tasks.spawn_on(log_the_outcome(change, self.call.clone()), &runtime);
        }
    }
}

async fn log_the_outcome<T>(change: Change<T>, call: Call) {
    let result = change.await.map_err(|error| call.failed(error));
    let ended = call.ended();
    let method = call.operation().map(|operation| operation.name);
    let target = call.target();
    let project_id = target.and_then(|target| target.project_id.as_deref());
    let job_id = target.and_then(|target| target.job_id.as_deref());
    let cluster = target.and_then(|target| target.cluster.as_deref());
    let deployment_id = target.and_then(|target| target.deployment_id.as_deref());
    let trace_id = call.trace().map(|trace| tracing::field::display(trace.context.trace_id));
    match result {
        Ok(_) => tracing::info!(
            method,
            project_id,
            job_id,
            deployment_id,
            cluster,
            provider_request_id = ended.provider_request_id,
            trace_id,
            "the caller left; the call succeeded"
        ),
        Err(error) => tracing::warn!(
            method,
            project_id,
            job_id,
            deployment_id,
            cluster,
            error = error.own_text(),
            reason = error.reason().row().name,
            outcome = ended.outcome.map(Outcome::as_str),
            provider_request_id = ended.provider_request_id,
            trace_id,
            "the caller left; the call failed"
        ),
    }
}
