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

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;

    use super::*;
    use crate::server::rescue::code_of;

    type Frames = Vec<Result<Frame<Bytes>, Status>>;

    fn message() -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(Bytes::from_static(b"message")))
    }

    fn trailers() -> Result<Frame<Bytes>, Status> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        Ok(Frame::trailers(trailers))
    }

    /// The number of messages of a stream whose limit has come, and its code.
    async fn rest(
        frames: impl tokio_stream::Stream<Item = Frames> + Send + 'static,
    ) -> (u32, Code) {
        let frames = futures_util::StreamExt::flat_map(frames, tokio_stream::iter);
        let response = Response::new(Body::new(StreamBody::new(frames)));
        let response = ended_by(response, async { Status::unavailable("closed") });
        assert!(response.extensions().get::<Streaming>().is_some());
        let (mut body, mut messages) = (response.into_body(), 0);
        loop {
            match body.frame().await.unwrap().unwrap().into_trailers() {
                Ok(trailers) => {
                    assert!(body.frame().await.is_none());
                    return (messages, code_of(&trailers).unwrap());
                }
                Err(_) => messages += 1,
            }
        }
    }

    #[tokio::test]
    async fn at_its_limit_a_stream_has_one_message_more_at_most() {
        let silent = tokio_stream::pending();
        assert_eq!(rest(silent).await, (0, Code::Unavailable));
        let last_words = tokio_stream::once(vec![message()]);
        let last_words = futures_util::StreamExt::chain(last_words, tokio_stream::pending());
        assert_eq!(rest(last_words).await, (1, Code::Unavailable));
        let endless = futures_util::stream::repeat_with(|| vec![message(), message()]);
        assert_eq!(rest(endless).await, (1, Code::Unavailable));
        let complete = tokio_stream::once(vec![message(), trailers()]);
        assert_eq!(rest(complete).await, (1, Code::Ok));
    }
}
