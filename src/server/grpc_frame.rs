//! Reads the single message of a unary call, as strictly as gRPC requires.

use std::error::Error as StdError;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// Maximum message size: the largest valid request has less than 2 KiB.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// Each message is preceded by a one-byte flag and a four-byte length.
///
/// # Reference
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
const PREFIX_BYTES: usize = 5;

/// The body that a caller sent does not have the encoding that it announced.
#[derive(Debug, thiserror::Error)]
#[error("the request body {0}")]
pub(super) struct Undecodable(pub(super) &'static str);

/// Reads a request body that must be exactly one gRPC message of at most `most` bytes, without its
/// prefix. The result includes the prefix, which tonic parses again.
///
/// # Errors
/// - [`Reason::MessageTooLarge`] as soon as the prefix announces too much, before buffering;
/// - [`Reason::MessageCount`] for no message, or more than one;
/// - [`Reason::MalformedMessage`] for a truncated message, or a body that is [`Undecodable`];
/// - [`Reason::Cancelled`] if the stream breaks.
pub(super) async fn read_single_message<B>(mut body: B, most: usize) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&*error.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() && rest.is_empty() {
            // Usually the only frame, which is then not copied.
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
        check(if rest.is_empty() { &first } else { &rest }, most)?;
    }
    let message = if rest.is_empty() { first } else { rest.freeze() };
    match expected(&message) {
        None if message.is_empty() => Err(Error::new(
            Reason::MessageCount,
            "the call has no message; exactly one is expected",
        )),
        Some(length) if message.len() == length => Ok(message),
        _ => Err(Error::new(Reason::MalformedMessage, "the message is truncated")),
    }
}

/// Why a request body ended early.
fn broken(error: &(dyn StdError + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(undecodable) = error.downcast_ref::<Undecodable>() {
            return Error::new(Reason::MalformedMessage, undecodable.to_string());
        }
        cause = error.source();
    }
    Error::new(Reason::Cancelled, "the request stream broke")
}

/// The length of prefix and message, once the prefix has arrived.
fn expected(bytes: &[u8]) -> Option<usize> {
    let mut length = bytes.get(1..PREFIX_BYTES)?;
    Some(PREFIX_BYTES + length.get_u32() as usize)
}

fn check(bytes: &[u8], most: usize) -> Result<(), Error> {
    let Some(length) = expected(bytes) else { return Ok(()) };
    if length > PREFIX_BYTES + most {
        return Err(Error::new(
            Reason::MessageTooLarge,
            format!("the message has {} bytes; the limit is {most}", length - PREFIX_BYTES),
        ));
    }
    if bytes.len() > length {
        return Err(Error::new(
            Reason::MessageCount,
            "the call has more than one message; exactly one is expected",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tokio_stream::iter;

    use super::*;

    async fn read_chunks(bytes: &[u8], chunk: usize) -> Result<Bytes, Reason> {
        let frames: Vec<Result<_, std::convert::Infallible>> = bytes
            .chunks(chunk)
            .map(|chunk| Ok(http_body::Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(iter(frames));
        read_single_message(body, MESSAGE_BYTES).await.map_err(|error| error.reason())
    }

    #[tokio::test]
    async fn exactly_one_message_is_read_from_chunks_of_any_size() {
        let announced = |length: u32, sent: usize| {
            let mut bytes = vec![0];
            bytes.extend(length.to_be_bytes());
            bytes.extend(std::iter::repeat_n(7, sent));
            bytes
        };
        let two = [announced(2, 2), announced(0, 0)].concat();
        for (bytes, want) in [
            (announced(3, 3), Ok(())),
            (announced(0, 0), Ok(())),
            (announced(65536, 65536), Ok(())),
            (vec![], Err(Reason::MessageCount)),
            (two, Err(Reason::MessageCount)),
            (announced(3, 4), Err(Reason::MessageCount)),
            (announced(3, 2), Err(Reason::MalformedMessage)),
            (vec![0, 0, 0], Err(Reason::MalformedMessage)),
            (announced(65537, 0), Err(Reason::MessageTooLarge)),
            (announced(u32::MAX, 10), Err(Reason::MessageTooLarge)),
        ] {
            for chunk in [1, 5, 100_000] {
                let got = read_chunks(&bytes, chunk).await;
                let want = want.map(|()| Bytes::from(bytes.clone()));
                assert_eq!(got, want, "{} bytes by {chunk}", bytes.len());
            }
        }
    }
}
