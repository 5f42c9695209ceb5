//! The messages of a caller that sends a stream, within the bound of single messages.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

use super::grpc_frame::{PREFIX_BYTES, broken, expected};
use super::request_memory::{RequestMemory, Share};
use crate::call::Call;
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// What a stream can hold besides what each call does: what has arrived while its service waits
/// for the caller to read, with the buffers that these frames are parts of.
const STREAM_BYTES: usize = 64 * 1024;

/// A request body of any number of messages, which ends with an error at a message that is too
/// large, before the service reserves memory for it.
pub(super) struct MessageStream<B> {
    body: B,
    most: usize,
    /// The prefix of the current message, as far as it has arrived.
    prefix: Vec<u8>,
    /// How much of the current message is missing.
    missing: usize,
    /// Why the stream ends, after the messages before that.
    failure: Option<Error>,
    call: Call,
    _share: Share,
}

impl<B> MessageStream<B> {
    /// # Errors
    /// [`Reason::Overloaded`] if there is no memory for a stream of such messages.
    pub(super) fn new(
        body: B,
        most: usize,
        memory: &RequestMemory,
        call: Call,
    ) -> Result<Self, Error> {
        let share = memory.take(STREAM_BYTES + most)?;
        Ok(Self { body, most, prefix: Vec::new(), missing: 0, failure: None, call, _share: share })
    }

    /// The error comes with how many of the bytes belong to messages before it.
    fn follow(&mut self, data: &[u8]) -> Result<(), (usize, Error)> {
        let (mut bytes, mut good) = (data, 0);
        while !bytes.is_empty() {
            if self.missing == 0 && self.prefix.is_empty() {
                good = data.len() - bytes.len();
            }
            if self.missing == 0 {
                let taken = bytes.len().min(PREFIX_BYTES - self.prefix.len());
                self.prefix.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                let Some(length) = expected(&self.prefix) else { return Ok(()) };
                self.missing = length - PREFIX_BYTES;
                self.prefix.clear();
                if self.missing > self.most {
                    let text =
                        format!("a message has {} bytes; the limit is {}", self.missing, self.most);
                    return Err((good, Error::new(Reason::MessageTooLarge, text)));
                }
            }
            let taken = bytes.len().min(self.missing);
            self.missing -= taken;
            bytes = &bytes[taken..];
        }
        Ok(())
    }
}

impl<B> Body for MessageStream<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn StdError + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let result = match this.failure.take() {
            Some(error) => Err(error),
            None => match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => Err(broken(&*error.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Err(trailers) => Ok(trailers),
                    Ok(data) => match this.follow(&data) {
                        Ok(()) => Ok(Frame::data(data)),
                        Err((0, error)) => Err(error),
                        Err((good, error)) => {
                            this.failure = Some(error);
                            Ok(Frame::data(data.slice(..good)))
                        }
                    },
                },
            },
        };
        Poll::Ready(Some(result.map_err(|error| this.call.failed(error).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.body.is_end_stream()
    }
}
