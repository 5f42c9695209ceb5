//! A role for a Kubernetes service account (RRSA): the security token service exchanges a projected
//! token.
//!
//! # Reference
//! The requests of Alibaba's Go SDK for credentials, which keeps the token out of the URL.

use std::pin::Pin;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;

use super::CredentialsWire;
use crate::clock::Clock;
use crate::credential::{Fetch, SecretFile, Sent, Source, SourceClient, granted};
use crate::json;
use crate::options::endpoint::Endpoint;
use crate::signing::{percent_encode, utc};

const WHO: &str = "Alibaba Cloud's security token service";

/// Valid for every role: the range is 15 minutes to the role's maximum, which is at least an hour.
const DURATION_SECONDS: &str = "3600";

/// Credentials of a role for a service account.
#[derive(Debug)]
pub struct Rrsa {
    pub endpoint: Endpoint,
    pub role_arn: String,
    pub oidc_provider_arn: String,
    /// The mounted token, read for each fetch, because it is rotated.
    pub token_file: SecretFile,
    /// The session name in the provider's audit log.
    pub session_name: String,
}

#[derive(serde::Deserialize)]
struct AssumedWire {
    #[serde(default, rename = "Credentials", deserialize_with = "json::object")]
    credentials: Option<CredentialsWire>,
}

impl Source for Rrsa {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            let token = self.token_file.fetch().await?;
            let path = format!(
                "/?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&Timestamp={}",
                percent_encode(&utc(clock.now(), true)),
            );
            let form = [
                ("RoleArn", self.role_arn.as_str()),
                ("OIDCProviderArn", &self.oidc_provider_arn),
                ("OIDCToken", token.expose()),
                ("RoleSessionName", &self.session_name),
                ("DurationSeconds", DURATION_SECONDS),
            ]
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .join("&");
            let request = self.endpoint.request(Method::POST, &path);
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            let request = request.extension(Sent(token));
            let answer = client.remote.send(WHO, request.body(Bytes::from(form))).await?;
            granted(WHO, &answer, 200..=200, |wire: AssumedWire| wire.credentials)?
                .into_lease(WHO, clock.now())
        })
    }

    fn has_changed(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.token_file.has_changed())
    }

    fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
    }
}
