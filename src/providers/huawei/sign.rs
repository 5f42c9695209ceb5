//! Huawei Cloud's request signature, `SDK-HMAC-SHA256`.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm.html> (read 2026-11-22)
//! - The signer of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219, which made
//!   `tests/vectors/sdk-hmac-sha256`.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;

use crate::credential::Credential;
use crate::rpc::Error;
pub use crate::signing::Stages;
use crate::signing::{
    SignedHeaders, add, canonical_query, hex_hmac_sha256, hex_sha256, percent_decode,
    percent_encode, sensitive, utc,
};

const ALGORITHM: &str = "SDK-HMAC-SHA256";
const X_SDK_DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const X_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-security-token");
const X_SDK_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-sdk-content-sha256");
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Signs a request: adds `X-Sdk-Date`, `X-Security-Token` where the credential has one, and
/// `Authorization`.
///
/// Signs every header that the request already has, including `Host`, which must be exactly as
/// sent. The URI is never changed.
///
/// # Errors
/// If a header cannot be signed. The request is then unchanged.
pub fn sign(
    request: &mut Request<Bytes>,
    credential: &Credential,
    now: Timestamp,
) -> Result<(), Error> {
    let (added, stages) = prepare(request, credential, now)?;
    add(request, added, &stages)
}

/// The stages of the signature that [`sign`] would add.
///
/// # Errors
/// As [`sign`].
pub fn stages(
    request: &Request<Bytes>,
    credential: &Credential,
    now: Timestamp,
) -> Result<Stages, Error> {
    prepare(request, credential, now).map(|(_, stages)| stages)
}

fn prepare(
    request: &Request<Bytes>,
    credential: &Credential,
    now: Timestamp,
) -> Result<(Vec<(HeaderName, HeaderValue)>, Stages), Error> {
    let key = credential.access_key()?;
    let date = utc(now, false);
    let mut added = Vec::with_capacity(3);
    added.push((X_SDK_DATE, sensitive(&date)?));
    if let Some(token) = key.security_token() {
        added.push((X_SECURITY_TOKEN, sensitive(token.expose())?));
    }
    let payload = match request.headers().get(CONTENT_TYPE) {
        Some(kind) if !is_hashed(kind) => {
            added.push((X_SDK_CONTENT_SHA256, HeaderValue::from_static(UNSIGNED_PAYLOAD)));
            // An empty body is hashed, too, as in the SDK.
            match request.body().is_empty() {
                true => hex_sha256(b""),
                false => UNSIGNED_PAYLOAD.to_owned(),
            }
        }
        _ => hex_sha256(request.body()),
    };

    let signed = SignedHeaders::new(request.headers(), &added)?;
    let canonical_request = canonical_request(request, &signed, &payload);
    // Joined in one allocation.
    let hash = hex_sha256(canonical_request.as_bytes());
    let string_to_sign = [ALGORITHM, "\n", &date, "\n", &hash].concat();
    let signature = hex_hmac_sha256(key.key(), &string_to_sign);
    let authorization = [
        ALGORITHM,
        " Access=",
        key.id(),
        ", SignedHeaders=",
        &signed.names,
        ", Signature=",
        &signature,
    ]
    .concat();
    Ok((added, Stages { canonical_request, string_to_sign, authorization }))
}

/// The body is signed only for these types.
fn is_hashed(kind: &HeaderValue) -> bool {
    let kind = kind.as_bytes();
    kind.starts_with(b"application/json") || kind.starts_with(b"application/bson")
}

/// # Format
/// ```text
/// POST
/// /v1.0/{project_id}/streaming/jobs/{job_id}/import-savepoint/
///
/// content-type:application/json
/// host:dli.cn-north-4.myhuaweicloud.com
/// x-project-id:0605767b3300d5762fb7c0186d9e1779
/// x-sdk-date:20260115T083000Z
///
/// content-type;host;x-project-id;x-sdk-date
/// 2d82a8a6b0b0c146aa260c12c15c8eea886873038c2d66203da0ec67e1f75eb3
/// ```
fn canonical_request(
    request: &Request<Bytes>,
    signed: &SignedHeaders<'_>,
    payload: &str,
) -> String {
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    // Of the right size for most, so that it grows once at most.
    let mut text = String::with_capacity(1024);
    text.push_str(request.method().as_str());
    text.push('\n');
    // The whole path is decoded before it is split: an encoded slash counts as a slash. Only the
    // canonical form ends with a slash, not the request.
    for (i, segment) in percent_decode(path).split('/').enumerate() {
        if i > 0 {
            text.push('/');
        }
        text.push_str(&percent_encode(segment));
    }
    if !text.ends_with('/') {
        text.push('/');
    }
    text.push('\n');
    text.push_str(&canonical_query(query));
    text.push('\n');
    signed.write(payload, &mut text);
    text
}
