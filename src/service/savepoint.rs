//! The handlers of `savepoint.v1.SavepointService`.

use tonic::{Request, Response, Status};

use super::{Handlers, Messages, begin, finish, watching};
use crate::pb::savepoint_service_server::SavepointService;
use crate::pb::{
    CreateSavepointRequest, CreateSavepointResponse, GetSavepointRequest, GetSavepointResponse,
    ImportSavepointRequest, ImportSavepointResponse, ListSavepointsRequest, ListSavepointsResponse,
    WatchSavepointRequest, WatchSavepointResponse,
};
use crate::providers::alibaba::{
    CREATE_SAVEPOINT, GET_SAVEPOINT, LIST_SAVEPOINTS, WATCH_SAVEPOINT,
};
use crate::providers::huawei::IMPORT_SAVEPOINT;
use crate::rpc::operation::Operation;

pub(super) const OPERATIONS: &[&Operation] =
    &[&IMPORT_SAVEPOINT, &GET_SAVEPOINT, &WATCH_SAVEPOINT, &LIST_SAVEPOINTS, &CREATE_SAVEPOINT];

#[tonic::async_trait]
impl SavepointService for Handlers {
    async fn import_savepoint(
        &self,
        request: Request<ImportSavepointRequest>,
    ) -> Result<Response<ImportSavepointResponse>, Status> {
        self.change(&self.huawei, request, |huawei, request, call| async move {
            huawei.import_savepoint(&request, &call).await
        })
        .await
    }

    async fn get_savepoint(
        &self,
        request: Request<GetSavepointRequest>,
    ) -> Result<Response<GetSavepointResponse>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = self.provider(&self.alibaba, &call)?;
        finish(alibaba.get_savepoint(&request, &call).await, &call)
    }

    type WatchSavepointStream = Messages<WatchSavepointResponse>;

    async fn watch_savepoint(
        &self,
        request: Request<WatchSavepointRequest>,
    ) -> Result<Response<Self::WatchSavepointStream>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = self.provider(&self.alibaba, &call)?;
        watching(alibaba.watch_savepoint(request, &call), call.clone())
    }

    async fn list_savepoints(
        &self,
        request: Request<ListSavepointsRequest>,
    ) -> Result<Response<ListSavepointsResponse>, Status> {
        let (request, call) = begin(request)?;
        let alibaba = self.provider(&self.alibaba, &call)?;
        finish(alibaba.list_savepoints(&request, &call).await, &call)
    }

    async fn create_savepoint(
        &self,
        request: Request<CreateSavepointRequest>,
    ) -> Result<Response<CreateSavepointResponse>, Status> {
        self.change(&self.alibaba, request, |alibaba, request, call| async move {
            alibaba.create_savepoint(&request, &call).await
        })
        .await
    }
}
