//! OTLP over HTTP, the only use of reqwest. Calls to providers need what it does not show: what a
//! proxy answers, and whether any byte of a request was sent (`docs/adr/0007`).

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Limited};

use super::ExportConfig;
use crate::tls::Trust;

/// A collector answers with a few bytes.
const ANSWER_BYTES: usize = 64 * 1024;

pub(super) struct HttpCollector {
    client: reqwest::Client,
    url: String,
    headers: HeaderMap,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// The seconds that the collector asks to wait.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Bytes,
}

impl HttpCollector {
    /// # Errors
    /// If TLS cannot be initialized.
    pub(super) fn new(config: &ExportConfig, trust: &Trust) -> reqwest::Result<Self> {
        let mut headers = config.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if config.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.http_1().as_ref().clone())
            .user_agent(crate::USER_AGENT)
            .http1_only()
            // The headers may hold a key of the collector's operator.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(config.timeout)
            .pool_max_idle_per_host(1)
            .build()?;
        Ok(Self { client, url: config.endpoint.to_string(), headers })
    }

    /// Sends a batch. Returns `None` when no complete answer arrives.
    pub(super) async fn send(&self, batch: Vec<u8>) -> Option<Answer> {
        let request = self.client.post(&self.url).headers(self.headers.clone()).body(batch);
        let answer = request.send().await.ok()?;
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|text| text.to_str().ok()?.parse().ok());
        let status = answer.status().as_u16();
        let body = Limited::new(reqwest::Body::from(answer), ANSWER_BYTES);
        let body = body.collect().await.ok()?.to_bytes();
        Some(Answer { status, retry_after, body })
    }
}
