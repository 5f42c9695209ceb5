//! ListSavepoints: `GET /api/v2/namespaces/{namespace}/savepoints`.
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-listsavepoints> (read 2026-11-26)

use bytes::Bytes;
use http::{Method, Request};

use super::page_token::{MAX_PAGE_SIZE, PageToken};
use super::savepoint::SavepointWire;
use super::{ALIBABA, Alibaba, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::json::{Integer, Objects};
use crate::pb::savepoint_service_server::SERVICE_NAME;
use crate::pb::{ListSavepointsRequest, ListSavepointsResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, Reply, RestCall};

pub static LIST_SAVEPOINTS: Operation = Operation {
    service: SERVICE_NAME,
    name: "ListSavepoints",
    provider: &ALIBABA,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "GET", url_template: "/api/v2/namespaces/{namespace}/savepoints" }],
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

const DEFAULT_PAGE_SIZE: u8 = 50;

impl Alibaba {
    pub(crate) async fn list_savepoints(
        &self,
        request: &ListSavepointsRequest,
        call: &Call,
    ) -> Result<ListSavepointsResponse, Error> {
        let rest = self.list_call(request)?;
        self.judge(rest.workspace, &request.namespace, call)?;
        self.upstream.call(&LIST_SAVEPOINTS, &rest, call).await
    }

    /// Validates the request, and builds the REST call.
    pub(crate) fn list_call<'a>(
        &'a self,
        request: &'a ListSavepointsRequest,
    ) -> Result<List<'a>, Error> {
        let workspace = self.workspace(&request.workspace);
        let mut violations = rest::check_workspace(workspace);
        rest::check_segment(&mut violations, "namespace", &request.namespace);
        let filters = [("deployment_id", &request.deployment_id), ("job_id", &request.job_id)];
        for (field, value) in filters.into_iter().filter(|(_, value)| !value.is_empty()) {
            rest::check_segment(&mut violations, field, value);
        }
        let asked_size = u8::try_from(request.page_size).ok().filter(|size| *size <= MAX_PAGE_SIZE);
        violations.check("page_size", asked_size.is_some(), "must be from 0 to 100");

        let listed = [workspace, &request.namespace, &request.deployment_id, &request.job_id];
        let asked_size = asked_size.filter(|size| *size > 0);
        let token = match &*request.page_token {
            "" => Some(PageToken::first(asked_size.unwrap_or(DEFAULT_PAGE_SIZE), listed)),
            text => PageToken::parse(text, listed)
                .filter(|token| asked_size.is_none_or(|size| size == token.page_size)),
        };
        violations.check(
            "page_token",
            token.is_some(),
            "is not the next_page_token of a request with the same other fields",
        );
        violations.into_result()?;
        // Without a violation there is a token.
        let token = token.unwrap_or_else(|| PageToken::first(DEFAULT_PAGE_SIZE, listed));

        let (index, size) = (token.page_index.to_string(), token.page_size.to_string());
        // Valid ids need no encoding. The names are in the order in which they are signed.
        let query: Vec<_> = [
            ("deploymentId", &request.deployment_id),
            ("jobId", &request.job_id),
            ("pageIndex", &index),
            ("pageSize", &size),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
        let path = format!("{}?{}", rest::savepoints_path(&request.namespace), query.join("&"));
        Ok(List { alibaba: self, path, workspace, token })
    }
}

#[derive(Debug)]
pub(crate) struct List<'a> {
    alibaba: &'a Alibaba,
    path: String,
    workspace: &'a str,
    token: PageToken,
}

impl RestCall for List<'_> {
    type Output = ListSavepointsResponse;

    fn rest(&self) -> &'static Rest {
        &LIST_SAVEPOINTS.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.alibaba.request(
            (Method::GET, &self.path),
            self.workspace,
            "ListSavepoints",
            credential,
        )
    }

    fn response(&self, reply: &Reply<'_>) -> Result<ListSavepointsResponse, NotSuccess> {
        let is_list = |data: &Objects<SavepointWire<'_>>| {
            data.0.iter().all(|savepoint| !savepoint.is_empty())
        };
        let answer = rest::answer::<Objects<SavepointWire<'_>>>(reply, is_list)?;
        let total = match answer.total_size {
            Integer::Value(total) => Some(total.max(0)),
            Integer::Absent | Integer::Unusable => None,
        };
        let listed = i64::from(self.token.page_index) * i64::from(self.token.page_size);
        let is_full = answer.data.0.len() >= usize::from(self.token.page_size);
        // An empty page is the last one whatever the total says, or a list would never end.
        let has_next = !answer.data.0.is_empty() && total.map_or(is_full, |total| listed < total);
        Ok(ListSavepointsResponse {
            savepoints: answer.data.0.into_iter().map(|wire| wire.read(reply)).collect(),
            next_page_token: has_next.then(|| self.token.next()).flatten().unwrap_or_default(),
            total_size: total.map_or(0, |total| i32::try_from(total).unwrap_or(i32::MAX)),
            request_id: answer.request_id,
        })
    }
}
