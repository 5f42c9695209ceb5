//! Trailers beside the status of a call that succeeds, which tonic's handlers cannot send.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

/// What a handler puts into the extensions of its response.
#[derive(Debug, Clone)]
pub struct Trailers(pub HeaderMap);

/// A service whose responses get the [`Trailers`] that their handlers asked for.
#[derive(Debug, Clone)]
pub struct WithTrailers<S>(pub S);

impl<S: NamedService> NamedService for WithTrailers<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for WithTrailers<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            let more = response.extensions_mut().remove::<Trailers>();
            Ok(match more {
                Some(Trailers(more)) => response.map(|inner| Body::new(Trailed { inner, more })),
                None => response,
            })
        })
    }
}

struct Trailed {
    inner: Body,
    more: HeaderMap,
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    trailers.extend(std::mem::take(&mut self.more));
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            })
        }))
    }
}
