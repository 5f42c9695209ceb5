//! The probe: a list of the project's jobs, of one job at most.
//!
//! # Reference
//! - `ListFlinkJobs` of Huawei's Python SDK, `huaweicloudsdkdli` 3.1.219.

use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request};

use super::project::Project;
use super::rest::{JobCall, success};
use super::{HUAWEI, Huawei};
use crate::credential::Credential;
use crate::providers::Probe;
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::rpc::reason::Reason;
use crate::upstream::{NotSuccess, Probed, Proof, Reply, RestCall};

/// Not an RPC of the contract.
static LIST_JOBS: Operation = Operation {
    service: "",
    name: "ListJobs",
    provider: &HUAWEI,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "GET", url_template: "/v1.0/{project_id}/streaming/jobs" }],
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

impl Probe for Huawei {
    fn probe(&self) -> Pin<Box<dyn Future<Output = Probed> + Send + '_>> {
        Box::pin(async {
            let project_id = match &self.project {
                Project::None => {
                    let missing = "a project (--huawei-project-id)";
                    return Probed::not_tried(missing);
                }
                Project::Id(id) => id.to_string(),
                Project::Lookup(lookup) => match lookup.wait().await {
                    Ok(id) => id,
                    Err(_) => return Probed::not_tried("the project"),
                },
            };
            let path = format!("/v1.0/{project_id}/streaming/jobs?limit=1");
            let list = List(JobCall::without_body(self, path, project_id.into()));
            self.upstream.probe(&LIST_JOBS, &list, judge).await
        })
    }
}

fn judge(result: Result<(), Error>) -> Proof {
    match result {
        Ok(()) => Proof::Accepted("the project's jobs may be listed".to_owned()),
        // Only this request needs the permission. A page of a firewall has no code.
        Err(error)
            if error.reason() == Reason::PermissionDenied
                && error.provider_error().code.is_some() =>
        {
            let text = "the project's jobs may not be listed, which the gateway does not need";
            Proof::Accepted(text.to_owned())
        }
        Err(error) => Proof::Failed(error),
    }
}

struct List<'a>(JobCall<'a>);

impl RestCall for List<'_> {
    type Output = ();

    fn rest(&self) -> &'static Rest {
        &LIST_JOBS.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.0.request(Method::GET, credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<(), NotSuccess> {
        success(reply).map(drop)
    }
}
