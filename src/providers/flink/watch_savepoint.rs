//! WatchSavepoint: GetSavepoint's REST call, repeated until the savepoint is complete or failed.

use tokio_stream::Stream;

use super::{FLINK, Flink, GET_SAVEPOINT};
use crate::call::Call;
use crate::pb::flink::flink_service_server::SERVICE_NAME;
use crate::pb::flink::{GetSavepointRequest, WatchSavepointRequest, WatchSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation};
use crate::upstream::{Observation, Seen};

pub static WATCH_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "WatchSavepoint",
    provider: &FLINK,
    kind: Kind::ServerStream,
    rest: GET_SAVEPOINT.rest,
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

impl Flink {
    /// Watches a savepoint. Invalid requests, and too many watches, fail at once.
    pub(crate) fn watch_savepoint(
        &self,
        request: WatchSavepointRequest,
        call: &Call,
    ) -> Result<impl Stream<Item = Result<WatchSavepointResponse, Error>> + use<>, Error> {
        let WatchSavepointRequest { cluster, job_id, trigger_id } = request;
        let request = GetSavepointRequest { cluster, job_id, trigger_id };
        let get = self.get_call(&request, call)?;
        let flink = self.clone();
        let ask = move |call: Call| {
            let (flink, request) = (flink.clone(), request.clone());
            async move {
                let savepoint =
                    flink.get_call(&request, &call)?.run(&WATCH_SAVEPOINT, &call).await?;
                Ok(Seen { savepoint, request_id: String::new() })
            }
        };
        let respond = |seen: Observation<'_>| WatchSavepointResponse {
            savepoint: Some(seen.savepoint.clone()),
            observe_time: Some(seen.time),
        };
        get.upstream.watch(&WATCH_SAVEPOINT, get.key(), ask, respond, call)
    }
}
