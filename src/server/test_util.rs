//! Parts of the server for fuzz targets and benchmarks. Like [`crate::test_util`] it needs the
//! feature `internals`.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use tonic::body::Body;

use super::h2_guard::H2Guard;
use super::media_type::MediaType;
use super::request_memory::RequestMemory;
use crate::rpc::Error;

/// Reads the single message of a unary call.
pub async fn single_message<B>(body: B, most: usize) -> Result<Bytes, Error>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let memory = RequestMemory::unlimited();
    super::grpc_frame::read_single_message(body, most, &memory).await
}

/// Decodes a request body of gRPC-Web in base64 that arrives in pieces of this size.
pub fn decoded_text(text: &[u8], piece: usize) -> Option<Vec<u8>> {
    let pieces = text.chunks(piece).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    let pieces: Vec<Result<_, tonic::Status>> = pieces.collect();
    let body = Body::new(StreamBody::new(futures_util::stream::iter(pieces)));
    let decoded = super::grpc_web_text::Decoded::new(body).collect().now_or_never()?;
    Some(decoded.ok()?.to_bytes().to_vec())
}

/// A parameter of a media type, if the type is this one.
pub fn media_type_parameter(text: &str, essence: &str, parameter: &str) -> Option<Option<String>> {
    let media_type = MediaType::parse(text).filter(|found| found.is(essence))?;
    Some(media_type.parameter(parameter).map(Into::into))
}

/// Sends these bytes through the guard, in pieces of this size. Returns the bytes it let through,
/// starting with the preface, or why the connection ended.
pub async fn guarded_frames(sent: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let (mut peer, stream) = tokio::io::duplex(sent.len().max(1));
    peer.write_all(sent).await?;
    drop(peer);
    let mut frames = H2Guard::new(stream, Duration::from_secs(10), Duration::ZERO);
    let (mut passed, mut buffer) = (Vec::new(), vec![0; piece.max(1)]);
    loop {
        match frames.read(&mut buffer).await? {
            0 => return Ok(passed),
            read => passed.extend_from_slice(&buffer[..read]),
        }
    }
}
