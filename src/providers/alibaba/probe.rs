//! The probe: GetSavepoint with an id that no savepoint has.

use std::pin::Pin;

use super::{Alibaba, GET_SAVEPOINT};
use crate::pb::GetSavepointRequest;
use crate::providers::Probe;
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::upstream::{Probed, Proof};

/// The ids of savepoints are random UUIDs, which are never this one.
pub(crate) const NO_SAVEPOINT: &str = "00000000-0000-0000-0000-000000000000";

/// The namespace of a new workspace. Whether it exists does not matter.
const NAMESPACE: &str = "default-namespace";

impl Probe for Alibaba {
    fn probe(&self) -> Pin<Box<dyn Future<Output = Probed> + Send + '_>> {
        Box::pin(async {
            if self.workspace("").is_empty() {
                return Probed::not_tried("a workspace (--alibaba-workspace)");
            }
            let request = GetSavepointRequest {
                workspace: String::new(),
                namespace: NAMESPACE.to_owned(),
                savepoint_id: NO_SAVEPOINT.to_owned(),
            };
            match self.get_call(&request) {
                Ok(get) => {
                    self.upstream
                        .probe(&GET_SAVEPOINT, &get, |result| match result {
                            Ok(_) => Proof::Accepted("the answer is a savepoint".to_owned()),
                            Err(error) if is_of_the_service(&error) => Proof::Accepted(
                                "no savepoint has the id of the check, as expected".to_owned(),
                            ),
                            Err(error) => Proof::Failed(error),
                        })
                        .await
                }
                Err(error) => Probed { proof: Proof::Failed(error), clock_offset: None },
            }
        })
    }
}

/// Whether the service itself said that it has no such savepoint: it answers, with a 200, only what
/// its API gateway has let through.
fn is_of_the_service(error: &Error) -> bool {
    let (reason, status) = (error.reason(), error.provider_error().http_status);
    matches!(reason, Reason::NotFound | Reason::ReportedFailure) && status == Some(200)
}
