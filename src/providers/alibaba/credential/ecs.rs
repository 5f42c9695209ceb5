//! The RAM role of an ECS instance, from its metadata service.
//!
//! # Reference
//! The requests of `alibabacloud-credentials` 1.0.12.

use super::read_local;
use crate::clock::Clock;
use crate::credential::{Fetch, Metadata, Source, SourceClient, rejected};
use crate::options::endpoint::Endpoint;
use crate::signing::percent_encode;
use crate::text::identifier;

const PATH: &str = "/latest/meta-data/ram/security-credentials/";

pub(in crate::providers) const METADATA: &str = "http://100.100.100.200";

#[derive(Debug, Clone)]
pub struct EcsRole {
    pub endpoint: Endpoint,
    /// The role; requested from the service if none.
    pub role: Option<String>,
    /// Whether to fall back to version 1 of the service.
    pub allow_v1: bool,
}

impl Source for EcsRole {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            let token_header = "x-aliyun-ecs-metadata-token";
            let service = Metadata { endpoint: &self.endpoint, client, token_header };
            let token = service.token("/latest/api/token", self.allow_v1).await?;
            let role = match &self.role {
                Some(role) => role.clone(),
                None => {
                    let answer = service.get(PATH, token.as_ref()).await?;
                    let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
                    match identifier(text.as_bytes(), 128) {
                        Some(role) if answer.status == 200 => role.into_owned(),
                        _ => return Err(rejected(Metadata::WHO, &answer)),
                    }
                }
            };
            let path = format!("{PATH}{}", percent_encode(&role));
            let mut answer = service.get(&path, token.as_ref()).await?;
            if answer.status != 200 && token.is_some() && self.allow_v1 {
                answer = service.get(&path, None).await?;
            }
            read_local(Metadata::WHO, &answer, clock.now())
        })
    }
}
