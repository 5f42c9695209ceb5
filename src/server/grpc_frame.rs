//! Reads the single message of a unary call, as strictly as gRPC requires.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;

use super::request_memory::{RequestMemory, Share};
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// Maximum message size: the largest valid request has less than 2 KiB. There is room for fields
/// of later versions.
pub const MESSAGE_BYTES: usize = 12 * 1024;

/// Each message is preceded by a one-byte flag and a four-byte length.
///
/// # Reference
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>
pub(super) const PREFIX_BYTES: usize = 5;

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
/// - [`Reason::Overloaded`] if there is no memory to wait for the rest of it;
/// - [`Reason::Cancelled`] if the stream breaks.
pub(super) async fn read_single_message<B>(
    mut body: B,
    most: usize,
    memory: &RequestMemory,
) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Unpin,
{
    let mut message =
        Message { most, memory, first: Bytes::new(), copy: BytesMut::new(), share: None };
    loop {
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => match message.keep() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        });
        let Some(frame) = frame.await? else { break };
        let frame = frame.map_err(|error| broken(&*error.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        message.push(data)?;
        check(message.bytes(), most)?;
    }
    let message = message.finish();
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
pub(super) fn broken(error: &(dyn StdError + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(undecodable) = error.downcast_ref::<Undecodable>() {
            return Error::new(Reason::MalformedMessage, undecodable.to_string());
        }
        cause = error.source();
    }
    Error::new(Reason::Cancelled, "the request stream broke")
}

/// A message as far as it has arrived.
struct Message<'a> {
    most: usize,
    memory: &'a RequestMemory,
    /// Usually all of it, as it came in.
    first: Bytes,
    /// What has to wait for more is copied: what came in can be a small part of a large buffer of
    /// the connection, and would keep all of it.
    copy: BytesMut,
    share: Option<Share>,
}

impl Message<'_> {
    fn bytes(&self) -> &[u8] {
        if self.copy.is_empty() { &self.first } else { &self.copy }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Error> {
        if self.bytes().is_empty() {
            self.first = data;
            return Ok(());
        }
        self.keep()?;
        self.extend(&data)
    }

    fn keep(&mut self) -> Result<(), Error> {
        let first = std::mem::take(&mut self.first);
        if first.is_empty() { Ok(()) } else { self.extend(&first) }
    }

    fn extend(&mut self, data: &[u8]) -> Result<(), Error> {
        let length = self.copy.len() + data.len();
        if length > self.copy.capacity() {
            let mut prefix = [0; PREFIX_BYTES];
            let so_far = self.copy.iter().chain(data);
            let filled = prefix.iter_mut().zip(so_far).map(|(to, from)| *to = *from).count();
            // All that may still come, so that it is never moved again.
            let whole = expected(&prefix[..filled]).unwrap_or(PREFIX_BYTES);
            let capacity = whole.min(PREFIX_BYTES + self.most).max(length);
            self.share = Some(self.memory.take(capacity)?);
            let mut grown = BytesMut::with_capacity(capacity);
            grown.extend_from_slice(&self.copy);
            self.copy = grown;
        }
        self.copy.extend_from_slice(data);
        Ok(())
    }

    fn finish(self) -> Bytes {
        if self.copy.is_empty() { self.first } else { self.copy.freeze() }
    }
}

/// The length of prefix and message, once the prefix has arrived.
pub(super) fn expected(bytes: &[u8]) -> Option<usize> {
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
    use tokio_stream::{StreamExt as _, iter};

    use super::*;
    use crate::telemetry::Gauge;

    async fn read_chunks(bytes: &[u8], chunk: usize) -> Result<Bytes, Reason> {
        let frames: Vec<Result<_, std::convert::Infallible>> = bytes
            .chunks(chunk)
            .map(|chunk| Ok(http_body::Frame::data(Bytes::copy_from_slice(chunk))))
            .collect();
        let body = StreamBody::new(iter(frames));
        let memory = RequestMemory::unlimited();
        read_single_message(body, MESSAGE_BYTES, &memory).await.map_err(|error| error.reason())
    }

    fn announced(length: u32, sent: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, sent));
        bytes
    }

    #[tokio::test]
    async fn exactly_one_message_is_read_from_chunks_of_any_size() {
        let two = [announced(2, 2), announced(0, 0)].concat();
        for (bytes, want) in [
            (announced(3, 3), Ok(())),
            (announced(0, 0), Ok(())),
            (announced(12_288, 12_288), Ok(())),
            (vec![], Err(Reason::MessageCount)),
            (two, Err(Reason::MessageCount)),
            (announced(3, 4), Err(Reason::MessageCount)),
            (announced(3, 2), Err(Reason::MalformedMessage)),
            (vec![0, 0, 0], Err(Reason::MalformedMessage)),
            (announced(12_289, 0), Err(Reason::MessageTooLarge)),
            (announced(u32::MAX, 10), Err(Reason::MessageTooLarge)),
        ] {
            for chunk in [1, 5, 100_000] {
                let got = read_chunks(&bytes, chunk).await;
                let want = want.map(|()| Bytes::from(bytes.clone()));
                assert_eq!(got, want, "{} bytes by {chunk}", bytes.len());
            }
        }
    }

    /// A body of these pieces, after which nothing comes.
    fn unfinished(pieces: Vec<Bytes>) -> impl Body<Data = Bytes, Error = String> + Unpin {
        let frames = pieces.into_iter().map(|piece| Ok::<_, String>(http_body::Frame::data(piece)));
        StreamBody::new(iter(frames).chain(tokio_stream::pending()))
    }

    #[tokio::test]
    async fn an_unfinished_message_has_its_share_and_keeps_no_buffer_of_the_connection() {
        let held = Gauge::default();
        let memory = RequestMemory::new(2 * MESSAGE_BYTES, held.clone(), None);
        let buffer = Bytes::from(announced(12_288, 60_000));
        for ends in [&[100][..], &[3, 8], &[5, 6, 7], &[12_292]] {
            let starts = [0].iter().chain(ends);
            let pieces = starts.zip(ends).map(|(start, end)| buffer.slice(*start..*end)).collect();
            let body = unfinished(pieces);
            let mut reading = Box::pin(read_single_message(body, MESSAGE_BYTES, &memory));
            assert!(futures_util::poll!(&mut reading).is_pending());
            assert_eq!(held.get(), (PREFIX_BYTES + MESSAGE_BYTES) as i64);
            // Nobody else has a part of it.
            assert!(buffer.is_unique());
            let second = unfinished(vec![Bytes::copy_from_slice(&buffer[..100])]);
            let refused = read_single_message(second, MESSAGE_BYTES, &memory).await.unwrap_err();
            assert_eq!(refused.reason(), Reason::Overloaded);
            drop(reading);
            assert_eq!(held.get(), 0);
        }
    }
}
