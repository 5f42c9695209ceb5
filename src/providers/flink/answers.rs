//! Requests that no cluster receives and responses that none sent, for benchmarks and fuzz targets.

use std::time::Duration;

use bytes::Bytes;
use http::Request;

use super::get_job::{Checkpoints, Details};
use super::rest::Begin;
use super::{Cluster, Flink, GET_JOB, GET_SAVEPOINT, TRIGGER_SAVEPOINT};
use crate::call::Call;
use crate::credential::Credential;
use crate::pb::Savepoint;
use crate::pb::flink::{CompletedSavepoint, GetSavepointRequest, Job, RestoredState};
use crate::rpc::{Deadline, Error};
use crate::transport::Response;
use crate::upstream::Upstream;

/// The id of the job and of what a call began.
pub const ID: &str = "fae2ea4e711c8a93bba26029a6f845cd";

impl Flink {
    /// One cluster, at an endpoint that is never called.
    pub(crate) fn of(upstream: Upstream) -> Self {
        Self { clusters: [Cluster { name: String::new(), upstream }].into() }
    }

    /// The request that asks for a savepoint.
    pub(crate) fn request(
        &self,
        request: &GetSavepointRequest,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let call = Call::internal(&GET_SAVEPOINT, Deadline::after(Duration::from_secs(1)));
        let get = self.get_call(request, &call)?;
        get.upstream.request(&get, credential)
    }

    pub(crate) fn read_savepoint(
        &self,
        response: &Response,
        credential: &Credential,
    ) -> Result<Savepoint, Error> {
        let request = GetSavepointRequest {
            job_id: ID.to_owned(),
            trigger_id: ID.to_owned(),
            ..GetSavepointRequest::default()
        };
        let call = Call::internal(&GET_SAVEPOINT, Deadline::after(Duration::from_secs(1)));
        let get = self.get_call(&request, &call)?;
        get.upstream.read(&GET_SAVEPOINT, &get, response, credential)
    }

    pub(crate) fn read_job(
        &self,
        response: &Response,
        credential: &Credential,
    ) -> Result<Job, Error> {
        let upstream = &self.known_cluster("")?.upstream;
        let details = Details { upstream, path: String::new(), job_id: ID };
        upstream.read(&GET_JOB, &details, response, credential)
    }

    pub(crate) fn read_checkpoints(
        &self,
        response: &Response,
        credential: &Credential,
    ) -> Result<(Option<RestoredState>, Option<CompletedSavepoint>), Error> {
        let upstream = &self.known_cluster("")?.upstream;
        let checkpoints = Checkpoints { upstream, path: String::new() };
        upstream.read(&GET_JOB, &checkpoints, response, credential)
    }

    pub(crate) fn read_begun(
        &self,
        response: &Response,
        credential: &Credential,
    ) -> Result<(), Error> {
        let upstream = &self.known_cluster("")?.upstream;
        let rest = &TRIGGER_SAVEPOINT.rest[0];
        let (path, body) = (String::new(), Bytes::new());
        let begin = Begin { rest, upstream, path, body, id: ID };
        upstream.read(&TRIGGER_SAVEPOINT, &begin, response, credential)
    }
}
