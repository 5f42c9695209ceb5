//! Asks a proxy for a tunnel to a host.
//!
//! hyper-util's own tunnel accepts only 200, and does not tell another status.
//!
//! # Reference
//! <https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6>

use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Maximum size of the proxy's response, and maximum number of its headers.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 100;

/// Nothing of a request has been sent when there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("the proxy cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the proxy answered with HTTP {0}")]
    Refused(u16),
    #[error("the proxy's response is not one")]
    Malformed,
    #[error("the connection to the proxy broke")]
    Broken(#[source] std::io::Error),
}

/// Opens a tunnel on a connection to the proxy. The caller limits the time.
pub(super) async fn open<S: Read + Write + Unpin>(
    stream: S,
    target: &Uri,
    auth: Option<&HeaderValue>,
) -> Result<S, TunnelError> {
    let host = target.host().unwrap_or_default();
    let port = target.port_u16().unwrap_or(443);
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    let auth = auth.and_then(|auth| auth.to_str().ok());
    if let Some(auth) = auth {
        request.push_str(&format!("Proxy-Authorization: {auth}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TokioIo::new(stream);
    stream.write_all(request.as_bytes()).await.map_err(TunnelError::Broken)?;
    match status(&mut stream).await? {
        200..=299 => Ok(stream.into_inner()),
        status => Err(TunnelError::Refused(status)),
    }
}

/// Reads the status of the final response.
async fn status(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<u16, TunnelError> {
    let mut head = Vec::with_capacity(512);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&head).map_err(|_| TunnelError::Malformed)? {
            httparse::Status::Complete(end) => match response.code.unwrap_or_default() {
                100 | 102..=199 => {
                    head.drain(..end);
                    continue;
                }
                // The provider speaks second in TLS: what follows here is not from it.
                200..=299 if end < head.len() => return Err(TunnelError::Malformed),
                status => return Ok(status),
            },
            httparse::Status::Partial if head.len() >= HEAD_BYTES => {
                return Err(TunnelError::Malformed);
            }
            httparse::Status::Partial => {}
        }
        if stream.read_buf(&mut head).await.map_err(TunnelError::Broken)? == 0 {
            return Err(TunnelError::Malformed);
        }
    }
}
