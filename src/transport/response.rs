//! Responses, read completely within size limits.

use std::error::Error as StdError;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt;

use super::WriteStarted;
use super::error::{Phase, classify, is_end_of_stream, too_large};
use super::large_bodies::{BODY_BYTES, Place, SMALL_BYTES};
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// Maximum header size, with 32 bytes for each header, as HTTP/2 counts them. Both providers send
/// less than 2 KiB.
pub(super) const HEADER_BYTES: usize = 64 * 1024;
const HEADER_OVERHEAD: usize = 32;

/// Maximum number of headers: as many as fit.
pub(super) const HEADERS: usize = HEADER_BYTES / HEADER_OVERHEAD;

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, at most 1 MiB.
    pub body: Bytes,
    /// Whether the body is complete. What is not proves nothing.
    pub whole: bool,
}

impl Response {
    /// Whether the HTTP status is 2xx, which alone does not prove success.
    pub(crate) fn is_2xx(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The value of a header; none if it is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body of a response. A large one waits for its place.
    ///
    /// # Errors
    /// If the headers contradict each other, a size limit is exceeded, or the connection breaks
    /// within a 2xx. Other responses are classified by their status, even if truncated.
    pub(super) async fn read<B>(
        response: http::Response<B>,
        write_started: &WriteStarted,
        place: &mut Place<'_>,
    ) -> Result<Self, Error>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: StdError + 'static,
    {
        let (head, mut body) = response.into_parts();
        check_head(&head.headers)?;
        let (least, most) = (body.size_hint().lower(), body.size_hint().upper());
        if least > BODY_BYTES as u64 {
            return Err(too_large());
        }
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(BODY_BYTES);
        let is_2xx = head.status.is_success();
        let mut collected = Collected { most: most.min(BODY_BYTES), ..Collected::default() };
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => collected.add(data, place).await?,
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) if !is_2xx || is_end_of_stream(&error) => {
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

/// A body in memory. Usually it arrives in one chunk, which is not copied.
#[derive(Default)]
struct Collected {
    first: Bytes,
    rest: BytesMut,
    /// How long it can become.
    most: usize,
}

impl Collected {
    async fn add(&mut self, data: Bytes, place: &mut Place<'_>) -> Result<(), Error> {
        let length = self.first.len() + self.rest.len() + data.len();
        if length > BODY_BYTES {
            return Err(too_large());
        }
        if length > SMALL_BYTES {
            place.take(self.most.max(length)).await;
        }
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
            return Ok(());
        }
        if self.rest.is_empty() {
            // Once and for all: growing would need twice the memory while it is copied.
            let room = if length > SMALL_BYTES { self.most } else { self.most.min(SMALL_BYTES) };
            self.rest.reserve(room.max(length));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        } else if length > self.rest.capacity() {
            self.rest.reserve(self.most.max(length) - self.rest.len());
        }
        self.rest.extend_from_slice(&data);
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Rejects headers that are too large or contradict each other.
fn check_head(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112, section 6.3: to be handled as an error, because it may be response splitting.
        return Err(Error::new(
            Reason::MalformedResponse,
            "the response has both Content-Length and Transfer-Encoding",
        ));
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_OVERHEAD
    };
    let bytes: usize = headers.iter().map(size).sum();
    if bytes > HEADER_BYTES {
        return Err(too_large());
    }
    Ok(())
}
