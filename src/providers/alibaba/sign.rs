//! Alibaba Cloud's request signature, version 3, `ACS3-HMAC-SHA256`.
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature> (read 2026-11-22)
//! - The signer of Alibaba's Python SDK, `alibabacloud-tea-openapi` 0.4.6, which made
//!   `tests/vectors/acs3-hmac-sha256`.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;

use crate::credential::Credential;
use crate::rpc::Error;
pub use crate::signing::Stages;
use crate::signing::{
    SignedHeaders, add, canonical_query, hex_hmac_sha256, hex_sha256, sensitive, utc,
};
use crate::text::hex;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
const X_ACS_DATE: HeaderName = HeaderName::from_static("x-acs-date");
const X_ACS_SIGNATURE_NONCE: HeaderName = HeaderName::from_static("x-acs-signature-nonce");
const X_ACS_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-acs-content-sha256");
const X_ACS_ACCESSKEY_ID: HeaderName = HeaderName::from_static("x-acs-accesskey-id");
const X_ACS_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-acs-security-token");

/// Signs a request: adds `x-acs-date`, `x-acs-signature-nonce`, `x-acs-content-sha256`,
/// `Authorization`, and, if the credential has a token, `x-acs-accesskey-id` and
/// `x-acs-security-token`.
///
/// Signs every header that the request already has, including `host`, which must be exactly as
/// sent. The URI is never changed.
///
/// # Errors
/// If a header cannot be signed. The request is then unchanged.
pub fn sign(
    request: &mut Request<Bytes>,
    credential: &Credential,
    now: Timestamp,
    nonce: [u8; 16],
) -> Result<(), Error> {
    let (added, stages) = prepare(request, credential, now, nonce)?;
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
    nonce: [u8; 16],
) -> Result<Stages, Error> {
    prepare(request, credential, now, nonce).map(|(_, stages)| stages)
}

fn prepare(
    request: &Request<Bytes>,
    credential: &Credential,
    now: Timestamp,
    nonce: [u8; 16],
) -> Result<(Vec<(HeaderName, HeaderValue)>, Stages), Error> {
    let key = credential.access_key()?;
    let payload = hex_sha256(request.body());
    let mut added = Vec::with_capacity(5);
    added.push((X_ACS_DATE, sensitive(&utc(now, true))?));
    added.push((X_ACS_SIGNATURE_NONCE, sensitive(&hex(&nonce))?));
    added.push((X_ACS_CONTENT_SHA256, sensitive(&payload)?));
    if let Some(token) = key.security_token() {
        added.push((X_ACS_ACCESSKEY_ID, sensitive(key.id())?));
        added.push((X_ACS_SECURITY_TOKEN, sensitive(token.expose())?));
    }

    let signed = SignedHeaders::new(request.headers(), &added)?;
    let canonical_request = canonical_request(request, &signed, &payload);
    // Joined in one allocation.
    let string_to_sign = [ALGORITHM, "\n", &hex_sha256(canonical_request.as_bytes())].concat();
    let signature = hex_hmac_sha256(key.key(), &string_to_sign);
    let authorization = [
        ALGORITHM,
        " Credential=",
        key.id(),
        ",SignedHeaders=",
        &signed.names,
        ",Signature=",
        &signature,
    ]
    .concat();
    Ok((added, Stages { canonical_request, string_to_sign, authorization }))
}

/// # Format
/// ```text
/// GET
/// /api/v2/namespaces/{namespace}/savepoints/{savepoint_id}
///
/// host:ververica.cn-hangzhou.aliyuncs.com
/// workspace:a14bd5d90a0001
/// x-acs-action:GetSavepoint
/// x-acs-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
/// x-acs-date:2026-01-02T03:04:05Z
/// x-acs-signature-nonce:0123456789abcdef0123456789abcdef
/// x-acs-version:2022-07-18
///
/// host;workspace;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version
/// e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
/// ```
fn canonical_request(
    request: &Request<Bytes>,
    signed: &SignedHeaders<'_>,
    payload: &str,
) -> String {
    // The path as sent, encoded exactly once.
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    // Of the right size for most, so that it grows once at most.
    let mut text = String::with_capacity(1024);
    text.push_str(request.method().as_str());
    text.push('\n');
    text.push_str(path);
    text.push('\n');
    text.push_str(&canonical_query(query));
    text.push('\n');
    signed.write(payload, &mut text);
    text
}
