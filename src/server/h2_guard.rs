//! Limits that h2 does not enforce: control-frame floods and frames that never complete.
//!
//! h2 limits resets, CONTINUATION, empty DATA and header size. But it answers every PING and
//! SETTINGS, and waits for the rest of a frame without a time limit. When the peer ends its side, h2
//! drops all calls, also those that it has not handed out yet; so it learns of that end only once
//! they are answered, or a moment later.
//!
//! Written bytes are parsed, too, because the guard can insert a GOAWAY of its own only between two
//! frames. Without GOAWAY a flooding peer would only see a closed connection, and gRPC clients
//! would reconnect at once with the same keep-alive interval.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Three bytes of length, then type, flags and stream id (RFC 9113, section 4.1).
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// How many control frames a peer may send at once, and per second after that. A well-behaved peer
/// sends a PING every few seconds.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 100;

/// Additional control frames for each call: bandwidth probes, WINDOW_UPDATE and resets.
const PER_CALL: u32 = 8;

/// The connection preface (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read before other tasks get their turn, among them the calls that were read: what
/// h2 has read and no call has taken is not in any budget.
const TURN_BYTES: usize = 8 * 1024;

/// A connection that limits control frames and the time to complete a frame.
pub(super) struct H2Guard<S> {
    stream: S,
    /// The rest of the preface to replay: it was read to detect the protocol, and h2 expects it.
    preface: &'static [u8],
    /// Time limit for completing a frame.
    patience: Duration,
    /// How long the end of the peer's side may be kept back for the answers to its calls.
    linger: Duration,
    incoming: FrameParser,
    outgoing: FrameParser,
    /// The last stream that the peer opened.
    last_stream: [u8; 4],
    /// Number of streams that the peer opened and that were not answered yet.
    unanswered: usize,
    half_closed: Option<HalfClosed>,
    unfinished: Option<Pin<Box<Sleep>>>,
    allowance: u32,
    refilled: Instant,
    /// How much was read in this turn.
    turn: usize,
}

/// The peer has ended its side, and waits for answers.
struct HalfClosed {
    limit: Pin<Box<Sleep>>,
    reader: Waker,
}

/// Parses the headers of frames that arrive in pieces.
#[derive(Default)]
struct FrameParser {
    /// The header of the current frame, as far as it has arrived.
    header: [u8; HEADER_BYTES],
    filled: usize,
    payload: usize,
    /// A header block continues in the next frame.
    in_headers: bool,
}

impl FrameParser {
    /// Consumes some of the bytes, which are not empty. Returns a header once it is complete.
    fn step(&mut self, bytes: &mut &[u8]) -> Option<[u8; HEADER_BYTES]> {
        if self.payload > 0 {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            *bytes = &bytes[skipped..];
            return None;
        }
        let taken = (HEADER_BYTES - self.filled).min(bytes.len());
        let (now, later) = bytes.split_at(taken);
        self.header[self.filled..self.filled + taken].copy_from_slice(now);
        self.filled += taken;
        *bytes = later;
        if self.filled < HEADER_BYTES {
            return None;
        }
        self.filled = 0;
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
        if kind == HEADERS || kind == CONTINUATION {
            self.in_headers = flags & END_HEADERS == 0;
        }
        Some(self.header)
    }

    fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.payload == 0 && !self.in_headers
    }
}

impl<S> H2Guard<S> {
    /// Guards a stream whose preface has been read, and replays the preface first.
    pub(super) fn new(stream: S, patience: Duration, linger: Duration) -> Self {
        Self {
            stream,
            preface: PREFACE,
            patience,
            linger,
            incoming: FrameParser::default(),
            outgoing: FrameParser::default(),
            last_stream: [0; 4],
            unanswered: 0,
            half_closed: None,
            unfinished: None,
            allowance: BURST,
            refilled: Instant::now(),
            turn: 0,
        }
    }

    /// Parses received bytes. The error is the type of the flooding frames.
    fn watch(&mut self, mut bytes: &[u8]) -> Result<(), u8> {
        while !bytes.is_empty() {
            if let Some(header) = self.incoming.step(&mut bytes) {
                self.begin(header)?;
            }
            // Completing a frame restarts the time limit.
            if self.incoming.is_between_frames() {
                self.unfinished = None;
            }
        }
        Ok(())
    }

    fn begin(&mut self, header: [u8; HEADER_BYTES]) -> Result<(), u8> {
        let [_, _, _, kind, _, stream @ ..] = header;
        match kind {
            DATA | CONTINUATION => {}
            HEADERS => {
                // Else they are trailers.
                if stream > self.last_stream {
                    self.last_stream = stream;
                    self.unanswered += 1;
                }
                self.allowance = (self.allowance + PER_CALL).min(BURST);
            }
            _ => {
                if kind == RST_STREAM {
                    self.answered();
                }
                if self.allowance == 0 {
                    self.refill();
                }
                self.allowance = self.allowance.checked_sub(1).ok_or(kind)?;
            }
        }
        Ok(())
    }

    /// Parses written bytes.
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Some([_, _, _, kind, flags, ..]) = self.outgoing.step(&mut bytes)
                && (kind == RST_STREAM || matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0)
            {
                self.answered();
            }
        }
    }

    /// A stream that is reset by both sides counts twice. Then the end of the peer is not kept back.
    fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.unanswered == 0
            && let Some(half_closed) = &self.half_closed
        {
            half_closed.reader.wake_by_ref();
        }
    }

    /// Keeps back the end of the peer's side while it may wait for answers.
    fn end_of_peer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unanswered == 0 || !self.incoming.is_between_frames() {
            return Poll::Ready(());
        }
        let linger = self.linger;
        let half_closed = self.half_closed.get_or_insert_with(|| HalfClosed {
            limit: Box::pin(sleep(linger)),
            reader: cx.waker().clone(),
        });
        half_closed.reader.clone_from(cx.waker());
        half_closed.limit.as_mut().poll(cx)
    }

    /// The clock is read only once the allowance is used up, which well-behaved peers never do.
    fn refill(&mut self) {
        let earned = self.refilled.elapsed().as_secs_f64() * f64::from(PER_SECOND);
        if earned >= 1.0 {
            self.allowance = (earned as u32).min(BURST);
            self.refilled = Instant::now();
        }
    }
}

impl<S: AsyncWrite + Unpin> H2Guard<S> {
    /// Sends the GOAWAY that makes gRPC clients lengthen their keep-alive interval, if the socket
    /// has room for it.
    ///
    /// # Reference
    /// <https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md>
    fn send_enhance_your_calm(&mut self, cx: &mut Context<'_>, kind: u8) {
        if !self.outgoing.is_between_frames() {
            return;
        }
        let text: &[u8] = if kind == PING { b"too_many_pings" } else { b"too_many_control_frames" };
        let length = 8 + text.len() as u8;
        let goaway = [
            &[0, 0, length, GOAWAY, 0, 0, 0, 0, 0],
            &self.last_stream[..],
            &ENHANCE_YOUR_CALM.to_be_bytes(),
            text,
        ]
        .concat();
        if let Poll::Ready(Ok(_)) = Pin::new(&mut self.stream).poll_write(cx, &goaway) {
            // Best effort: nothing waits for the flush.
            let _flushed = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for H2Guard<S> {
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
        if this.half_closed.is_some() {
            return this.end_of_peer(cx).map(Ok);
        }
        if this.turn >= TURN_BYTES {
            this.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.turn = if polled.is_ready() { this.turn + buf.filled().len() - before } else { 0 };
        match polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before && buf.remaining() > 0 => {
                this.end_of_peer(cx).map(Ok)
            }
            Poll::Ready(Ok(())) => {
                Poll::Ready(this.watch(&buf.filled()[before..]).map_err(|kind| {
                    this.send_enhance_your_calm(cx, kind);
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the peer sends too many control frames",
                    )
                }))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if this.incoming.is_between_frames() => Poll::Pending,
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

impl<S: AsyncWrite + Unpin> AsyncWrite for H2Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.follow(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let of_this = left.min(buf.len());
            self.follow(&buf[..of_this]);
            left -= of_this;
        }
        Poll::Ready(Ok(written))
    }

    /// False until the preface has been replayed. When h2 starts, it reads this once to choose the
    /// payload size that gets its own write: 256 bytes with vectored writes, else 1 KiB. Below
    /// that, responses to many calls leave in one write. Later it reads it again for each large
    /// write.
    fn is_write_vectored(&self) -> bool {
        self.preface.is_empty() && self.stream.is_write_vectored()
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
    const LINGER: Duration = Duration::from_secs(1);

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, length as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER_BYTES + length, 0);
        bytes
    }

    /// A peer and its guard, past the preface.
    async fn pair() -> (DuplexStream, H2Guard<DuplexStream>) {
        let (peer, stream) = duplex(1024 * 1024);
        let mut frames = H2Guard::new(stream, PATIENCE, LINGER);
        let mut preface = [0; PREFACE.len()];
        frames.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, PREFACE);
        (peer, frames)
    }

    /// Sends these bytes in chunks, and returns how many the guard lets through.
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
    async fn floods_are_refused_and_calls_extend_the_allowance() {
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
    async fn a_flood_gets_enhance_your_calm_but_not_inside_a_frame() {
        let goaway = |text: &str| {
            let length = 8 + text.len() as u8;
            let head = [0, 0, length, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xb];
            [&head[..], text.as_bytes()].concat()
        };
        let (data, open) = (frame(DATA, 0, 60), frame(HEADERS, 0, 20));
        let closed = [&open[..], &frame(CONTINUATION, END_HEADERS, 4)].concat();
        for (what, written, kind, text) in [
            ("no frame before", &[][..], PING, "too_many_pings"),
            ("after a frame", &data, 4, "too_many_control_frames"),
            ("inside a header", &data[..5], PING, ""),
            ("inside a payload", &data[..40], PING, ""),
            ("between headers", &open, PING, ""),
            ("after headers", &closed, PING, "too_many_pings"),
        ] {
            let (mut peer, mut frames) = pair().await;
            for piece in written.chunks(7) {
                let (a, b) = piece.split_at(piece.len() / 2);
                let both = [io::IoSlice::new(a), io::IoSlice::new(b)];
                assert_eq!(frames.write_vectored(&both).await.unwrap(), piece.len(), "{what}");
            }
            let call = frame(HEADERS, END_HEADERS, 9);
            let flood = [call, frame(kind, 0, 8).repeat(BURST as usize + 1)].concat();
            peer.write_all(&flood).await.unwrap();
            let mut sink = vec![0; flood.len()];
            frames.read_exact(&mut sink).await.unwrap_err();
            drop(frames);
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).await.unwrap();
            let farewell = if text.is_empty() { Vec::new() } else { goaway(text) };
            assert_eq!(heard, [written, &farewell].concat(), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowance_is_refilled_over_time() {
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
    async fn a_started_frame_must_complete_in_time() {
        let half = frame(DATA, 0, 60)[..30].to_vec();
        let open = frame(HEADERS, 0, 40);
        let closed = [&open[..], &frame(CONTINUATION, END_HEADERS, 4)].concat();
        for (what, sent, ends) in [
            ("nothing", vec![], false),
            ("a part of a header", vec![0, 0], true),
            ("a part of a payload", half, true),
            ("headers with a continuation", open, true),
            ("complete headers", closed, false),
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

    /// Hostile input 45.
    #[tokio::test(start_paused = true)]
    async fn single_bytes_do_not_extend_the_time_limit() {
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

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_peer_is_kept_back_until_its_calls_are_answered() {
        let stream = |kind, flags, id| {
            let mut bytes = frame(kind, flags, 4);
            bytes[8] = id;
            bytes
        };
        let call = |id| stream(HEADERS, END_HEADERS | END_STREAM, id);
        let answer = |id| [stream(HEADERS, END_HEADERS, id), stream(DATA, END_STREAM, id)].concat();
        for (what, sent, written, waits) in [
            ("no call", frame(PING, 0, 8), vec![], false),
            ("an answered call", call(1), answer(1), false),
            ("a call", call(1), vec![], true),
            ("one of two calls", [call(1), call(3)].concat(), answer(3), true),
            ("a call that was refused", call(1), stream(RST_STREAM, 0, 1), false),
            (
                "a call that was cancelled",
                [call(1), stream(RST_STREAM, 0, 1)].concat(),
                vec![],
                false,
            ),
            ("a call with trailers", [stream(HEADERS, 4, 1), call(1)].concat(), answer(1), false),
            ("a part of a frame", [call(1), vec![0, 0]].concat(), vec![], false),
        ] {
            let (mut peer, mut frames) = pair().await;
            peer.write_all(&sent).await.unwrap();
            peer.shutdown().await.unwrap();
            frames.read_exact(&mut vec![0; sent.len()]).await.unwrap();
            frames.write_all(&written).await.unwrap();
            let began = Instant::now();
            assert_eq!(frames.read(&mut [0]).await.unwrap(), 0, "{what}");
            let want = if waits { LINGER } else { Duration::ZERO };
            assert_eq!(began.elapsed().as_secs(), want.as_secs(), "{what}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_peer_follows_the_last_answer_at_once() {
        let (mut peer, frames) = pair().await;
        peer.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 4)).await.unwrap();
        peer.shutdown().await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(frames);
        reader.read_exact(&mut [0; HEADER_BYTES + 4]).await.unwrap();
        let began = Instant::now();
        let reading = tokio::spawn(async move { reader.read(&mut [0]).await.unwrap() });
        tokio::time::sleep(LINGER / 2).await;
        writer.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 4)).await.unwrap();
        assert_eq!(reading.await.unwrap(), 0);
        assert!(began.elapsed() < LINGER, "{:?}", began.elapsed());
    }
}
