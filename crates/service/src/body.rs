use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};

/// A request's body, which fails when it is not complete by the time `late` resolves.
pub(crate) fn timely(body: Incoming, late: impl Future<Output = ()> + Send + 'static) -> Body {
    Body::new(Timely {
        body,
        late: Box::pin(late),
    })
}

struct Timely {
    body: Incoming,
    late: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Timely {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() && self.late.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(
                Err("the request's body did not arrive in time".into()),
            ));
        }
        frame.map_err(BoxError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
