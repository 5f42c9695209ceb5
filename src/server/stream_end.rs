//! Ends response streams from outside: at the deadline of their call, and when their connection
//! closes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// Marks a response whose body may never end by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streaming;

type Limit = Pin<Box<dyn Future<Output = Status> + Send>>;

/// Ends this response with the status of `limit`, once there is one.
pub(super) fn ended_by(
    response: Response<Body>,
    limit: impl Future<Output = Status> + Send + 'static,
) -> Response<Body> {
    let mut response = response
        .map(|inner| Body::new(EndedBody { inner, limit: Some(Box::pin(limit)), status: None }));
    response.extensions_mut().insert(Streaming);
    response
}

struct EndedBody {
    inner: Body,
    /// None once it is over.
    limit: Option<Limit>,
    /// The status to end with.
    status: Option<Status>,
}

impl EndedBody {
    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        // Fails only for a message that is not text, which ours never are.
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for EndedBody {
    type Data = Bytes;
    type Error = Status;

    /// At the limit, what the stream has ready is still passed on, but only one message: it may say
    /// why it ends, as health does with NOT_SERVING.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let was_over = this.status.is_some();
        if let Some(limit) = &mut this.limit
            && let Poll::Ready(status) = limit.as_mut().poll(cx)
        {
            this.limit = None;
            this.status = Some(status);
        }
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        let Some(status) = &this.status else { return frame };
        match &frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && was_over => {}
            Poll::Ready(_) => return frame,
            Poll::Pending => {}
        }
        let status = status.clone();
        Poll::Ready(Some(Ok(this.end(&status))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// Unknown: it may end early.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
