//! The single message of a unary call: the result does not depend on chunk sizes, and is the same
//! as that of a simple parser.
#![no_main]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use savepoint_gateway::rpc::reason::Reason;
use savepoint_gateway::test_util::single_message;

/// Small, so that the fuzzer can exceed it.
const MOST: usize = 64;

struct Pieces(Vec<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

fn read(message: &[u8], piece: usize) -> Result<Bytes, Reason> {
    let pieces = message.chunks(piece).rev().map(Bytes::copy_from_slice).collect();
    let mut reading = std::pin::pin!(single_message(Pieces(pieces), MOST));
    let mut context = Context::from_waker(std::task::Waker::noop());
    match reading.as_mut().poll(&mut context) {
        Poll::Ready(result) => result.map_err(|error| error.reason()),
        Poll::Pending => panic!("it waits for what is there"),
    }
}

fn expected(message: &[u8]) -> Result<(), Reason> {
    let [_, a, b, c, d, rest @ ..] = message else {
        let empty = message.is_empty();
        return Err(if empty { Reason::MessageCount } else { Reason::MalformedMessage });
    };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if length > MOST {
        Err(Reason::MessageTooLarge)
    } else {
        match rest.len().cmp(&length) {
            std::cmp::Ordering::Less => Err(Reason::MalformedMessage),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Reason::MessageCount),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [piece, message @ ..] = data else { return };
    let want = expected(message).map(|()| Bytes::copy_from_slice(message));
    for piece in [usize::from(*piece).max(1), 1, usize::MAX] {
        assert_eq!(read(message, piece), want, "in pieces of {piece}");
    }
});
