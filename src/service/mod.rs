//! The handlers and the list of all RPCs.

mod detach;
mod dli;
mod flink;
mod savepoint;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::task::TaskTracker;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};
use tower_service::Service as _;

use crate::call::Call;
use crate::pb::dli::dli_service_server;
use crate::pb::flink::flink_service_server;
use crate::pb::savepoint_service_server;
use crate::providers::alibaba::Alibaba;
use crate::providers::flink::Flink;
use crate::providers::huawei::Huawei;
use crate::rpc::Error;
use crate::rpc::operation::Operation;
use crate::rpc::reason::Reason;
use crate::server::{MESSAGE_BYTES, Services};
use detach::DetachOnDrop;

/// All RPCs. Routing, metrics, health and logs read this list.
pub static OPERATIONS: &[&Operation] = &all::<{ count(LISTS) }>(LISTS);

/// The RPCs of each service.
const LISTS: &[&[&Operation]] = &[savepoint::OPERATIONS, dli::OPERATIONS, flink::OPERATIONS];

const fn count(lists: &[&[&Operation]]) -> usize {
    let (mut count, mut list) = (0, 0);
    while list < lists.len() {
        count += lists[list].len();
        list += 1;
    }
    count
}

const fn all<const N: usize>(lists: &[&[&'static Operation]]) -> [&'static Operation; N] {
    let mut all = [lists[0][0]; N];
    let (mut at, mut list) = (0, 0);
    while list < lists.len() {
        let mut index = 0;
        while index < lists[list].len() {
            all[at] = lists[list][index];
            at += 1;
            index += 1;
        }
        list += 1;
    }
    all
}

/// The clients of the configured providers of one worker.
#[derive(Debug, Clone, Default)]
pub struct Handlers {
    pub huawei: Option<Arc<Huawei>>,
    pub alibaba: Option<Arc<Alibaba>>,
    pub flink: Option<Arc<Flink>>,
    /// Whether RPCs that start and stop jobs are served.
    pub(crate) job_control: bool,
    /// Running changes whose caller has left. A shutdown waits for them.
    pub(crate) detached: TaskTracker,
}

impl Handlers {
    /// The provider of a call.
    ///
    /// # Errors
    /// [`Reason::NotConfigured`], or [`Reason::MethodDisabled`] for a call that controls jobs.
    fn provider<'a, P>(
        &self,
        provider: &'a Option<Arc<P>>,
        call: &Call,
    ) -> Result<&'a Arc<P>, Status> {
        let error = match (call.operation(), provider) {
            (Some(operation), _) if operation.controls_jobs && !self.job_control => Error::new(
                Reason::MethodDisabled,
                "this gateway starts and stops no jobs: it was started without --enable-job-control",
            ),
            (_, Some(provider)) => return Ok(provider),
            (operation, None) => {
                let name = operation.map_or("its provider", |operation| operation.provider.name);
                let text = format!("this gateway is not configured for {name}");
                Error::new(Reason::NotConfigured, text)
            }
        };
        Err(call.failed(error).into())
    }

    /// Makes a change, which continues if the caller leaves after it was sent.
    async fn change<P, Q, R, F>(
        &self,
        provider: &Option<Arc<P>>,
        request: Request<Q>,
        change: impl FnOnce(Arc<P>, Q, Call) -> F + Send,
    ) -> Result<Response<R>, Status>
    where
        P: Send + Sync,
        Q: Send,
        R: Send + 'static,
        F: Future<Output = Result<R, Error>> + Send + 'static,
    {
        let (request, call) = begin(request)?;
        let provider = self.provider(provider, &call)?;
        let change = Box::pin(change(Arc::clone(provider), request, call.clone()));
        finish(DetachOnDrop::new(change, &call, &self.detached).await, &call)
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

services!(
    savepoints: savepoint_service_server::SavepointServiceServer,
    dli: dli_service_server::DliServiceServer,
    flinks: flink_service_server::FlinkServiceServer
);

/// The message of a request, and the call that the server attached to it.
fn begin<T>(request: Request<T>) -> Result<(T, Call), Status> {
    let call = request.extensions().get::<Call>().cloned();
    let call = call.ok_or_else(|| {
        Status::from(Error::new(Reason::GatewayInternal, "the request has no call attached"))
    })?;
    Ok((request.into_inner(), call))
}

fn finish<T>(result: Result<T, Error>, call: &Call) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| call.failed(error).into())
}

/// The response of a watch, whose failures are recorded.
fn watching<T: 'static>(
    watch: Result<impl Stream<Item = Result<T, Error>> + Send + 'static, Error>,
    call: Call,
) -> Result<Response<Messages<T>>, Status> {
    finish(watch, &call).map(|response| {
        response.map(|watch| {
            let failed = move |error| Status::from(call.failed(error));
            Box::pin(watch.map(move |next| next.map_err(&failed))) as Messages<T>
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::caller::Peer;
    use crate::rpc::Deadline;

    /// An operation whose service is not listed in `services!` would fail without a reason.
    #[tokio::test]
    async fn every_operation_reaches_its_handler() {
        let service = Service::new(Handlers::default());
        for &operation in OPERATIONS {
            let deadline = Deadline::after(Duration::from_secs(1));
            let call = Call::new(
                Some(operation),
                deadline,
                CancellationToken::new(),
                Peer::default(),
                None,
            );
            let request = http::Request::post(format!("http://gateway.test/{operation}"))
                .header("content-type", "application/grpc")
                .extension(call.clone())
                .body(Full::from(&[0; 5][..]))
                .unwrap();
            service.serve(operation, request).await;
            let want = match operation.controls_jobs {
                true => Reason::MethodDisabled,
                false => Reason::NotConfigured,
            };
            assert_eq!(call.reason(), Some(want), "{operation}");
        }
    }
}
