//! Request bodies of gRPC-Web in base64.
//!
//! Each piece that a client encodes ends with padding of its own, so padding may stand anywhere.
//!
//! # Reference
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md#protocol-differences-vs-grpc-over-http2>

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use super::grpc_frame::Undecodable;

/// So many characters hold a whole number of bytes.
const GROUP: usize = 4;

pub(super) struct Decoded {
    inner: Body,
    /// The characters of a group that has not arrived whole.
    begun: Vec<u8>,
}

impl Decoded {
    pub(super) fn new(inner: Body) -> Self {
        Self { inner, begun: Vec::with_capacity(GROUP) }
    }

    /// Decodes all whole groups.
    fn decode(&mut self, mut text: &[u8]) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::with_capacity(text.len() / GROUP * 3 + 3);
        if !self.begun.is_empty() {
            let (missing, rest) = text.split_at(text.len().min(GROUP - self.begun.len()));
            self.begun.extend(missing);
            if self.begun.len() < GROUP {
                return Ok(bytes);
            }
            decode_groups(&std::mem::take(&mut self.begun), &mut bytes)?;
            text = rest;
        }
        let (groups, rest) = text.split_at(text.len() / GROUP * GROUP);
        self.begun.extend(rest);
        decode_groups(groups, &mut bytes)?;
        Ok(bytes)
    }
}

/// Decodes pieces, each of which ends with the group that has padding.
fn decode_groups(mut text: &[u8], bytes: &mut Vec<u8>) -> Result<(), Status> {
    while !text.is_empty() {
        let padding = text.iter().position(|c| *c == b'=').unwrap_or(text.len() - 1);
        let (piece, rest) = text.split_at((padding / GROUP + 1) * GROUP);
        BASE64_STANDARD.decode_vec(piece, bytes).map_err(|_| malformed("is not base64"))?;
        text = rest;
    }
    Ok(())
}

fn malformed(why: &'static str) -> Status {
    let mut status = Status::internal(why);
    status.set_source(Arc::new(Undecodable(why)));
    status
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                None if this.begun.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(malformed("ends within a group of base64")))),
                Some(frame) => frame?,
            };
            match frame.into_data() {
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                Ok(text) => {
                    let bytes = this.decode(&text)?;
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio_stream::iter;

    use super::*;

    async fn decode(text: &str, chunk: usize) -> Option<Vec<u8>> {
        let frames: Vec<Result<_, Status>> = text
            .as_bytes()
            .chunks(chunk)
            .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = Decoded::new(Body::new(StreamBody::new(iter(frames))));
        Some(body.collect().await.ok()?.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn pieces_with_padding_are_decoded_however_they_are_cut() {
        for (text, want) in [
            ("", Some("")),
            ("YWJj", Some("abc")),
            ("YQ==", Some("a")),
            ("YQ==YmM=ZGVm", Some("abcdef")),
            ("YWJjZGVmZw==aA==aWprbA==", Some("abcdefghijkl")),
            ("!!!!", None),
            ("YWJjZ", None),
            ("YQ", None),
            ("YQ=", None),
            ("=YQ=", None),
            ("Y===", None),
            ("====", None),
            ("YQ==Y=Jj", None),
            ("YWJj\n", None),
            ("YW Jj", None),
            // Another alphabet.
            ("_-_-", None),
        ] {
            for chunk in [1, 2, 3, 4, 5, 7, 100] {
                let found = decode(text, chunk).await;
                assert_eq!(found.as_deref(), want.map(str::as_bytes), "{text:?} by {chunk}");
            }
        }
    }
}
