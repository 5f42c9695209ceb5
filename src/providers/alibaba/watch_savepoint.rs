//! WatchSavepoint: GetSavepoint's REST call, repeated until the savepoint is complete or failed.

use tokio_stream::Stream;

use super::{ALIBABA, Alibaba, GET_SAVEPOINT};
use crate::call::Call;
use crate::pb::savepoint_service_server::SERVICE_NAME;
use crate::pb::{GetSavepointRequest, WatchSavepointRequest, WatchSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation};
use crate::upstream::{Observation, Seen};

pub static WATCH_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "WatchSavepoint",
    provider: &ALIBABA,
    kind: Kind::ServerStream,
    rest: GET_SAVEPOINT.rest,
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

impl Alibaba {
    /// Watches a savepoint. Invalid requests, and too many watches, fail at once.
    pub(crate) fn watch_savepoint(
        &self,
        request: WatchSavepointRequest,
        call: &Call,
    ) -> Result<impl Stream<Item = Result<WatchSavepointResponse, Error>> + use<>, Error> {
        let WatchSavepointRequest { workspace, namespace, savepoint_id } = request;
        let workspace = self.workspace(&workspace).to_owned();
        let get = GetSavepointRequest { workspace, namespace, savepoint_id };
        self.get_call(&get)?;
        self.judge(&get.workspace, &get.namespace, call)?;
        // Valid values contain no line end.
        let key = [&*get.workspace, &get.namespace, &get.savepoint_id].join("\n");
        let alibaba = self.clone();
        let ask = move |call: Call| {
            let (alibaba, get) = (alibaba.clone(), get.clone());
            async move {
                let got = alibaba.get_call(&get)?;
                let got = alibaba.upstream.call(&WATCH_SAVEPOINT, &got, &call).await?;
                Ok(Seen {
                    savepoint: got.savepoint.unwrap_or_default(),
                    request_id: got.request_id,
                })
            }
        };
        let respond = |seen: Observation<'_>| WatchSavepointResponse {
            savepoint: Some(seen.savepoint.clone()),
            request_id: seen.request_id.to_owned(),
            observe_time: Some(seen.time),
        };
        self.upstream.watch(&WATCH_SAVEPOINT, key, ask, respond, call)
    }
}
