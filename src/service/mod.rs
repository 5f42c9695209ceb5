//! The handlers and the list of all RPCs.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use tokio::runtime::Handle;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};
use tower_service::Service as _;

use crate::call::Call;
use crate::pb::savepoint_service_server::{self, SavepointService};
use crate::pb::{
    CreateSavepointRequest, CreateSavepointResponse, GetSavepointRequest, GetSavepointResponse,
    ImportSavepointRequest, ImportSavepointResponse, ListSavepointsRequest, ListSavepointsResponse,
    WatchSavepointRequest, WatchSavepointResponse,
};
use crate::providers::alibaba::{
    Alibaba, CREATE_SAVEPOINT, GET_SAVEPOINT, LIST_SAVEPOINTS, WATCH_SAVEPOINT,
};
use crate::providers::huawei::{Huawei, IMPORT_SAVEPOINT};
use crate::rpc::Error;
use crate::rpc::operation::Operation;
use crate::rpc::reason::{Outcome, Reason};
use crate::server::{MESSAGE_BYTES, Services};

/// All RPCs. Routing, metrics, health and logs read this list.
pub static OPERATIONS: &[&Operation] =
    &[&IMPORT_SAVEPOINT, &GET_SAVEPOINT, &WATCH_SAVEPOINT, &LIST_SAVEPOINTS, &CREATE_SAVEPOINT];

/// The clients of the configured providers of one worker.
#[derive(Debug, Clone, Default)]
pub struct Handlers {
    pub huawei: Option<Arc<Huawei>>,
    pub alibaba: Option<Arc<Alibaba>>,
    /// Running changes whose caller has left. A shutdown waits for them.
    pub(crate) detached: TaskTracker,
}

#[tonic::async_trait]
impl SavepointService for Handlers {
    async fn import_savepoint(
        &self,
        request: Request<ImportSavepointRequest>,
    ) -> Result<Response<ImportSavepointResponse>, Status> {
        let (request, call) = begin(request)?;
        let huawei = configured(&self.huawei, &call)?;
        let import = {
            let (huawei, call) = (Arc::clone(huawei), call.clone());
            async move { huawei.import_savepoint(&request, &call).await }
        };
        finish(DetachOnDrop::new(Box::pin(import), &call, &self.detached).await, &call)
    }

    async fn get_savepoint(
        &self,
        request: Request<GetSavepointRequest>,
    ) -> Result<Response<GetSavepointResponse>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = configured(&self.alibaba, &call)?;
        finish(alibaba.get_savepoint(&request, &call).await, &call)
    }

    type WatchSavepointStream = Messages<WatchSavepointResponse>;

    async fn watch_savepoint(
        &self,
        request: Request<WatchSavepointRequest>,
    ) -> Result<Response<Self::WatchSavepointStream>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = configured(&self.alibaba, &call)?;
        finish(alibaba.watch_savepoint(request, &call), &call).map(|response| {
            response.map(|watch| {
                let failed = move |error| Status::from(call.failed(error));
                Box::pin(watch.map(move |next| next.map_err(&failed))) as Self::WatchSavepointStream
            })
        })
    }

    async fn list_savepoints(
        &self,
        request: Request<ListSavepointsRequest>,
    ) -> Result<Response<ListSavepointsResponse>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = configured(&self.alibaba, &call)?;
        finish(alibaba.list_savepoints(&request, &call).await, &call)
    }

    async fn create_savepoint(
        &self,
        request: Request<CreateSavepointRequest>,
    ) -> Result<Response<CreateSavepointResponse>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = configured(&self.alibaba, &call)?;
        let create = {
            let (alibaba, call) = (Arc::clone(alibaba), call.clone());
            async move { alibaba.create_savepoint(&request, &call).await }
        };
        finish(DetachOnDrop::new(Box::pin(create), &call, &self.detached).await, &call)
    }
}

/// The messages of a stream.
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service that dispatches to each generated server.
macro_rules! services {
    ($($field:ident: $module:ident::$server:ident),+) => {
        #[derive(Debug, Clone)]
        pub struct Service {
            $($field: $module::$server<Handlers>,)+
        }

        impl Service {
            pub fn new(handlers: Handlers) -> Self {
                Self {
                    $($field: $module::$server::new(handlers.clone())
                        .accept_compressed(CompressionEncoding::Gzip)
                        .max_decoding_message_size(MESSAGE_BYTES),)+
                }
            }
        }

        impl Services for Service {
            fn operations(&self) -> &'static [&'static Operation] {
                OPERATIONS
            }

            async fn serve(
                &self,
                operation: &'static Operation,
                request: http::Request<Full<Bytes>>,
            ) -> http::Response<tonic::body::Body> {
                let served: Result<_, Infallible> = match operation.service {
                    $($module::SERVICE_NAME => self.$field.clone().call(request).await,)+
                    _ => Ok(Status::unimplemented("").into_http()),
                };
                match served {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        }
    };
}

services!(savepoints: savepoint_service_server::SavepointServiceServer);

/// The message of a request, and the call that the server attached to it.
fn begin<T>(request: Request<T>) -> Result<(T, Call), Status> {
    let call = request.extensions().get::<Call>().cloned();
    let call = call.ok_or_else(|| {
        Status::from(Error::new(Reason::GatewayInternal, "the request has no call attached"))
    })?;
    Ok((request.into_inner(), call))
}

/// The provider of a call, if it is configured.
fn configured<'a, P>(provider: &'a Option<Arc<P>>, call: &Call) -> Result<&'a Arc<P>, Status> {
    provider.as_ref().ok_or_else(|| {
        let name = call.operation().map_or("its provider", |operation| operation.provider.name);
        let text = format!("this gateway is not configured for {name}");
        call.failed(Error::new(Reason::NotConfigured, text)).into()
    })
}

fn finish<T>(result: Result<T, Error>, call: &Call) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| call.failed(error).into())
}

type Change<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A change that continues when dropped.
///
/// When a caller leaves, hyper drops the handler. A request that has been sent takes effect
/// nevertheless, and its outcome must be logged, so the rest of the change becomes a task. A change
/// of which nothing was sent ends with its caller.
struct DetachOnDrop<'a, T: Send + 'static> {
    /// None once it has completed, or while it is polled, so that a panicked change is not resumed.
    change: Option<Change<T>>,
    call: &'a Call,
    tasks: &'a TaskTracker,
}

impl<'a, T: Send> DetachOnDrop<'a, T> {
    fn new(change: Change<T>, call: &'a Call, tasks: &'a TaskTracker) -> Self {
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
    let trace_id = call.trace().map(|trace| tracing::field::display(trace.context.trace_id));
    match result {
        Ok(_) => tracing::info!(
            method,
            provider_request_id = ended.provider_request_id,
            trace_id,
            "the caller left; the call succeeded"
        ),
        Err(error) => tracing::warn!(
            method,
            reason = error.reason().row().name,
            outcome = ended.outcome.map(Outcome::as_str),
            provider_request_id = ended.provider_request_id,
            trace_id,
            "the caller left; the call failed"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::rpc::Deadline;

    /// An operation whose service is not listed in `services!` would fail without a reason.
    #[tokio::test]
    async fn every_operation_reaches_its_handler() {
        let service = Service::new(Handlers::default());
        for &operation in OPERATIONS {
            let deadline = Deadline::after(Duration::from_secs(1));
            let call = Call::new(Some(operation), deadline, CancellationToken::new(), None, None);
            let request = http::Request::post(format!("http://gateway.test/{operation}"))
                .header("content-type", "application/grpc")
                .extension(call.clone())
                .body(Full::from(&[0; 5][..]))
                .unwrap();
            service.serve(operation, request).await;
            assert_eq!(call.reason(), Some(Reason::NotConfigured), "{operation}");
        }
    }
}
