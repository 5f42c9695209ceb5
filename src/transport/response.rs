//! A response, read to its end within bounds.

use std::error::Error as StdError;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body::Body;
use http_body_util::BodyExt;

use super::WriteStarted;
use super::error::{Phase, classify, is_end_of_stream, too_large};
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// Larger bodies are refused. The documented responses are below 1 KiB.
const BODY_BYTES: usize = 1024 * 1024;

/// Larger headers are refused. Both providers send below 2 KiB.
pub(super) const HEADER_BYTES: usize = 64 * 1024;

/// A response to an HTTP request, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most 1 MiB.
    pub body: Bytes,
    /// Whether the body arrived to its end.
    pub whole: bool,
}

impl Response {
    /// Whether the HTTP status is 2xx, which alone does not prove success.
    pub(crate) fn is_2xx(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads a response whose head has arrived.
    ///
    /// # Errors
    /// When the head contradicts itself, anything is larger than the bounds, or the connection
    /// breaks within a 2xx. Any other response counts by its status, however much of its body
    /// arrived.
    pub(super) async fn read<B>(
        response: http::Response<B>,
        write_started: &WriteStarted,
    ) -> Result<Self, Error>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: StdError + 'static,
    {
        let (head, mut body) = response.into_parts();
        check_head(&head.headers)?;
        if body.size_hint().lower() > BODY_BYTES as u64 {
            return Err(too_large());
        }
        let is_2xx = head.status.is_success();
        let mut collected = Collected::default();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => collected.add(data)?,
                // Trailers.
                Ok(Err(_)) => {}
                Err(_) if !is_2xx => break,
                Err(error) if is_end_of_stream(&error) => {
                    whole = false;
                    break;
                }
                Err(error) => return Err(classify(&error, Phase::Connected, write_started)),
            }
        }
        let status = head.status.as_u16();
        Ok(Self { status, headers: head.headers, body: collected.into_bytes(), whole })
    }
}

/// A body in memory. The usual one arrives in one piece, which is then not copied.
#[derive(Default)]
struct Collected {
    first: Bytes,
    rest: BytesMut,
}

impl Collected {
    fn add(&mut self, data: Bytes) -> Result<(), Error> {
        if self.first.len() + self.rest.len() + data.len() > BODY_BYTES {
            return Err(too_large());
        }
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
            return Ok(());
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Refuses a head that is too large or contradicts itself.
fn check_head(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112, section 6.3: a sign of response splitting, to be handled as an error.
        return Err(Error::new(
            Reason::MalformedResponse,
            "the answer has both Content-Length and Transfer-Encoding",
        ));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES {
        return Err(too_large());
    }
    Ok(())
}
