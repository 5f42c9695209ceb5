//! Whether a request has started to be sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Whether any byte of a request may have been sent.
#[derive(Debug, Clone, Default)]
pub struct WriteStarted(Arc<AtomicBool>);

impl WriteStarted {
    /// Sets it when the request is being written.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether any of the request may have been sent.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request body that sets the flag when its first byte is requested. By then the connection is
/// established and the head is being written; nothing can have been sent before. For a body without bytes
/// the flag is set by the one who sends it.
pub(super) struct ObservedBody {
    bytes: Option<Bytes>,
    write_started: WriteStarted,
}

impl ObservedBody {
    pub(super) fn new(bytes: Bytes, write_started: &WriteStarted) -> Self {
        Self { bytes: Some(bytes), write_started: write_started.clone() }
    }

    /// Whether there is no byte to observe.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.write_started.set();
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
