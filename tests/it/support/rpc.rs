//! Every RPC with a valid request, for the rules that hold for all of them.

use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tonic::{Request, Status};

use super::gateway::Wire;
use super::{
    Gateway, LONG, create_request, get_request, import_request, list_request, watch_request,
};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rpc {
    Import,
    Get,
    Create,
    List,
    /// Up to its first message.
    Watch,
}

impl Rpc {
    pub(crate) const ALL: [Self; 5] =
        [Self::Import, Self::Get, Self::Create, Self::List, Self::Watch];

    pub(crate) const CHANGES: [Self; 2] = [Self::Import, Self::Create];

    pub(crate) fn changes_something(self) -> bool {
        Self::CHANGES.contains(&self)
    }

    pub(crate) fn provider(self) -> &'static str {
        if self == Self::Import { "huawei-dli" } else { "alibaba-flink" }
    }

    /// The shape of `data` that holds this savepoint.
    pub(crate) fn data(self, savepoint: &str) -> String {
        if self == Self::List { format!("[{savepoint}]") } else { savepoint.to_owned() }
    }

    /// Calls with a client that has no timers of its own.
    pub(crate) async fn call(self, gateway: &Gateway) -> Result<(), Status> {
        self.call_within(None, &mut gateway.wire_client().await).await
    }

    /// Calls with this `grpc-timeout`.
    pub(crate) async fn call_within(
        self,
        timeout: Option<&str>,
        client: &mut SavepointServiceClient<Wire>,
    ) -> Result<(), Status> {
        fn request<T>(message: T, timeout: Option<&str>) -> Request<T> {
            let mut request = Request::new(message);
            if let Some(timeout) = timeout {
                request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            }
            request
        }
        match self {
            Self::Import => {
                client.import_savepoint(request(import_request(), timeout)).await.map(drop)
            }
            Self::Get => client.get_savepoint(request(get_request(), timeout)).await.map(drop),
            Self::Create => {
                client.create_savepoint(request(create_request(), timeout)).await.map(drop)
            }
            Self::List => client.list_savepoints(request(list_request(), timeout)).await.map(drop),
            Self::Watch => {
                let watch = request(watch_request(), timeout);
                let mut stream = client.watch_savepoint(watch).await?.into_inner();
                let first = tokio::time::timeout(LONG, stream.message()).await.expect("in time");
                first.map(drop)
            }
        }
    }
}
