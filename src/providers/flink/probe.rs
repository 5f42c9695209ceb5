//! The probe: `GET /overview`, which every version has.
//!
//! # Reference
//! - <https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/> (read 2026-11-26)

use std::pin::Pin;

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;

use super::{Cluster, FLINK};
use crate::credential::Credential;
use crate::providers::Probe;
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, Probed, Proof, ProviderText, Reply, RestCall};

/// Not an RPC of the contract.
static OVERVIEW: Operation = Operation {
    service: "",
    name: "Overview",
    provider: &FLINK,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "GET", url_template: "/overview" }],
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

impl Probe for Cluster {
    fn probe(&self) -> Pin<Box<dyn Future<Output = Probed> + Send + '_>> {
        Box::pin(async {
            let judge = |result: Result<String, Error>| match result {
                Ok(version) => Proof::Accepted(format!("the cluster runs Flink {version}")),
                Err(error) => Proof::Failed(error),
            };
            self.upstream.probe(&OVERVIEW, &Overview(self), judge).await
        })
    }
}

struct Overview<'a>(&'a Cluster);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OverviewWire<'a> {
    #[serde(borrow, rename = "flink-version")]
    version: ProviderText<'a>,
}

impl RestCall for Overview<'_> {
    type Output = String;

    fn rest(&self) -> &'static Rest {
        &OVERVIEW.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.0.upstream.flink_request((Method::GET, "/overview"), Bytes::new(), credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<String, NotSuccess> {
        match reply.json() {
            Some(OverviewWire { version }) if !version.is_empty() => {
                Ok(reply.show_at_most(&version, 64))
            }
            _ => Err(NotSuccess { expected: "flink-version" }),
        }
    }
}
