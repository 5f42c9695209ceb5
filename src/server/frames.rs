//! What the HTTP/2 library lets a peer do without end: frames that cost the peer nothing and
//! the gateway an answer, and frames that never become whole.
//!
//! The library bounds resets, CONTINUATION, empty DATA and the size of headers. It answers
//! every PING and SETTINGS, and waits for the rest of a frame as long as it takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A length of three bytes, a type, flags and a stream id (RFC 9113, section 4.1).
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;

/// How many control frames a peer may send at once, and then for each second. An honest peer
/// sends a PING every few seconds.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 100;

/// What a peer earns with each call: measuring the bandwidth, making room for the answer and
/// leaving the call take a control frame each, some of them two.
const PER_CALL: u32 = 8;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose peer must send whole frames in time, and few that ask for nothing.
pub(super) struct Frames<S> {
    stream: S,
    /// How much of the preface is still to be handed on: it was read to know what the peer
    /// speaks, and the HTTP/2 library wants to see it, too.
    preface: &'static [u8],
    /// How long the peer may take to finish what it began.
    patience: Duration,
    /// The header of the frame that is arriving, as far as it is there.
    header: [u8; HEADER_BYTES],
    filled: usize,
    /// What is to come of the payload.
    payload: usize,
    /// Headers began and go on in another frame.
    in_headers: bool,
    unfinished: Option<Pin<Box<Sleep>>>,
    allowance: u32,
    refilled: Instant,
}

impl<S> Frames<S> {
    /// Watches a stream whose preface was read already, and hands on that one first.
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            preface: PREFACE,
            patience,
            header: [0; HEADER_BYTES],
            filled: 0,
            payload: 0,
            in_headers: false,
            unfinished: None,
            allowance: BURST,
            refilled: Instant::now(),
        }
    }

    /// Follows the frames through bytes that arrived.
    fn watch(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = &bytes[skipped..];
                self.note_progress();
                continue;
            }
            let taken = (HEADER_BYTES - self.filled).min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            self.header[self.filled..self.filled + taken].copy_from_slice(now);
            self.filled += taken;
            bytes = later;
            if self.filled == HEADER_BYTES {
                self.filled = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.begin(kind, flags)?;
                self.note_progress();
            }
        }
        Ok(())
    }

    /// A peer that finishes one frame and is within the next has all its time again.
    fn note_progress(&mut self) {
        if self.is_whole() {
            self.unfinished = None;
        }
    }

    fn begin(&mut self, kind: u8, flags: u8) -> io::Result<()> {
        match kind {
            DATA => {}
            HEADERS | CONTINUATION => {
                self.in_headers = flags & END_HEADERS == 0;
                if kind == HEADERS {
                    self.allowance = (self.allowance + PER_CALL).min(BURST);
                }
            }
            _ => {
                if self.allowance == 0 {
                    self.refill();
                }
                self.allowance = self.allowance.checked_sub(1).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "the peer floods control frames")
                })?;
            }
        }
        Ok(())
    }

    /// The clock is read only when the allowance is used up, which honest peers never do.
    fn refill(&mut self) {
        let earned = self.refilled.elapsed().as_secs_f64() * f64::from(PER_SECOND);
        if earned >= 1.0 {
            self.allowance = (earned as u32).min(BURST);
            self.refilled = Instant::now();
        }
    }

    fn is_whole(&self) -> bool {
        self.filled == 0 && self.payload == 0 && !self.in_headers
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.preface.is_empty() {
            let (now, later) = this.preface.split_at(this.preface.len().min(buf.remaining()));
            buf.put_slice(now);
            this.preface = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.watch(&buf.filled()[before..])?;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if this.is_whole() => Poll::Pending,
            Poll::Pending => {
                let patience = this.patience;
                let timer = this.unfinished.get_or_insert_with(|| Box::pin(sleep(patience)));
                ready!(timer.as_mut().poll(cx));
                let text = "the peer did not finish a frame in time";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, length as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER_BYTES + length, 0);
        bytes
    }

    /// A peer and what watches it, behind the preface.
    async fn pair() -> (DuplexStream, Frames<DuplexStream>) {
        let (peer, stream) = duplex(1024 * 1024);
        let mut frames = Frames::new(stream, PATIENCE);
        let mut preface = [0; PREFACE.len()];
        frames.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, PREFACE);
        (peer, frames)
    }

    /// What reading to the end of what was sent comes to.
    async fn read_all(sent: &[u8], chunk: usize) -> io::Result<usize> {
        let (mut peer, mut frames) = pair().await;
        peer.write_all(sent).await.unwrap();
        drop(peer);
        let (mut buffer, mut total) = (vec![0; chunk], 0);
        loop {
            match frames.read(&mut buffer).await? {
                0 => return Ok(total),
                read => total += read,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_refused_and_calls_pay_for_their_control_frames() {
        let pings = |count| frame(PING, 0, 8).repeat(count);
        let call = [frame(HEADERS, END_HEADERS, 40), frame(DATA, 0, 60), pings(3)].concat();
        for (what, sent, passes) in [
            ("a burst", pings(1000), true),
            ("more than a burst", pings(1001), false),
            ("settings", frame(4, 0, 6).repeat(1001), false),
            ("unknown frames", frame(0xbb, 0, 1).repeat(1001), false),
            ("calls", call.repeat(3000), true),
            ("data", frame(DATA, 0, 0).repeat(3000), true),
        ] {
            for chunk in [1, 10, 4096] {
                let result = read_all(&sent, chunk).await;
                assert_eq!(result.is_ok(), passes, "{what} by {chunk}: {result:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowance_comes_back_with_time() {
        let (mut peer, mut frames) = pair().await;
        let mut sink = vec![0; 17 * 1000];
        for seconds in 0..20 {
            let count = if seconds == 0 { 1000 } else { PER_SECOND as usize };
            peer.write_all(&frame(PING, 0, 8).repeat(count)).await.unwrap();
            frames.read_exact(&mut sink[..17 * count]).await.unwrap();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        peer.write_all(&frame(PING, 0, 8).repeat(101)).await.unwrap();
        frames.read_exact(&mut sink[..17 * 101]).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_must_be_finished_in_time() {
        let half = frame(DATA, 0, 60)[..30].to_vec();
        let open = frame(HEADERS, 0, 40);
        let closed = [&open[..], &frame(CONTINUATION, END_HEADERS, 4)].concat();
        for (what, sent, ends) in [
            ("nothing", vec![], false),
            ("a part of a header", vec![0, 0], true),
            ("a part of a payload", half, true),
            ("headers that go on", open, true),
            ("whole headers", closed, false),
        ] {
            let (mut peer, mut frames) = pair().await;
            peer.write_all(&sent).await.unwrap();
            let began = Instant::now();
            let mut sink = vec![0; 1024];
            let reading = async { while frames.read(&mut sink).await.is_ok() {} };
            let ended = tokio::time::timeout(10 * PATIENCE, reading).await.is_ok();
            assert_eq!(ended, ends, "{what}");
            if ends {
                assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs(), "{what}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_does_not_buy_time() {
        let (mut peer, mut frames) = pair().await;
        let dripping = tokio::spawn(async move {
            for byte in frame(DATA, 0, 60) {
                tokio::time::sleep(PATIENCE / 5).await;
                if peer.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        });
        let began = Instant::now();
        let mut sink = vec![0; 1024];
        while frames.read(&mut sink).await.is_ok() {}
        assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
        dripping.abort();
    }
}
