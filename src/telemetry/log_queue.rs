//! The queue of log lines, and the thread that writes them. Every line is either written or counted
//! as lost.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum size of the queue for a slow reader. Further lines are dropped and counted.
pub(super) const CAPACITY: usize = 4 * 1024 * 1024;

/// How long lines are collected before they are written together.
const GATHER: Duration = Duration::from_millis(5);

/// The log is told about writing that was delayed for this long, or lost lines.
const NOTABLE: Duration = Duration::from_secs(1);

/// How long the thread waits after an error, doubled with each further one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// After errors that pass, such as a full disk or a full pipe that does not block.
    pub(super) transient: [Duration; 2],
    /// After the reader has gone.
    pub(super) gone: [Duration; 2],
}

pub(super) const WAITS: Waits = Waits {
    transient: [Duration::from_millis(5), Duration::from_secs(1)],
    gone: [Duration::from_secs(1), Duration::from_secs(60)],
};

#[derive(Default)]
pub(super) struct LogQueue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// The number of lines that the thread is writing.
    writing: u64,
    dropped: u64,
    /// Lines are dropped: there is no reader, or the process ends.
    closed: bool,
    ended: bool,
}

impl LogQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Adds a line, which ends with its line feed.
    pub(super) fn add(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.closed || state.bytes.len() + line.len() > CAPACITY {
            state.dropped += 1;
            return;
        }
        // The thread sleeps only if the queue is empty: waking it is a system call, which a busy
        // gateway makes once for many lines.
        let was_empty = state.bytes.is_empty();
        state.bytes.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits until all lines are written or lost, but at most this long.
    pub(super) fn flush(&self, timeout: Duration) {
        let is_busy = |state: &mut State| !state.bytes.is_empty() || state.writing > 0;
        let _ = self.emptied.wait_timeout_while(self.lock(), timeout, is_busy);
    }

    /// The same, and counts what is not written by then, and all later lines, as lost.
    pub(super) fn end(&self, timeout: Duration) {
        self.flush(timeout);
        let mut state = self.lock();
        (state.closed, state.ended) = (true, true);
        state.dropped += state.writing + count(&state.bytes);
        (state.bytes, state.writing) = (Vec::new(), 0);
    }

    /// Writes lines as they come, until the process ends.
    pub(super) fn write_to(&self, writer: impl Write, waits: Waits) {
        let mut output = Output { writer, in_line: false, wait: waits.transient };
        let mut lines = Vec::new();
        let (mut told, mut trouble) = (0, None);
        let mut gone = waits.gone[0];
        loop {
            self.take(&mut lines);
            let result = output.write(&lines, &mut trouble);
            let mut state = self.lock();
            if state.ended {
                return;
            }
            state.writing = 0;
            match result {
                Ok(()) => {
                    let lost = state.dropped - told;
                    told = state.dropped;
                    drop(state);
                    gone = waits.gone[0];
                    tell(lost, trouble.take());
                }
                Err(rest) => {
                    state.dropped += count(&lines[rest..]) + count(&state.bytes);
                    state.bytes = Vec::new();
                    state.closed = true;
                    self.emptied.notify_all();
                    drop(state);
                    std::thread::sleep(gone);
                    gone = (gone * 2).min(waits.gone[1]);
                    let mut state = self.lock();
                    state.closed = state.ended;
                }
            }
            lines.clear();
            // Frees the memory of a burst.
            lines.shrink_to(64 * 1024);
        }
    }

    /// Waits for lines, and takes all.
    fn take(&self, lines: &mut Vec<u8>) {
        let state = self.lock();
        if state.bytes.is_empty() {
            self.emptied.notify_all();
        }
        drop(self.filled.wait_while(state, |state| state.bytes.is_empty()));
        std::thread::sleep(GATHER);
        let mut state = self.lock();
        std::mem::swap(&mut state.bytes, lines);
        state.writing = count(lines);
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.lock().bytes.capacity()
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// Why the log could not be written, and since when.
type Trouble = (io::Error, Instant);

fn tell(lost: u64, trouble: Option<Trouble>) {
    match trouble {
        Some((error, since)) if lost > 0 || since.elapsed() >= NOTABLE => {
            let seconds = since.elapsed().as_secs();
            tracing::warn!(lost, error = %error, seconds, "the log can be written again");
        }
        None if lost > 0 => {
            tracing::warn!(lost, "log lines were lost: their reader was too slow");
        }
        _ => {}
    }
}

struct Output<W> {
    writer: W,
    /// The last byte that was written does not end a line.
    in_line: bool,
    wait: [Duration; 2],
}

impl<W: Write> Output<W> {
    /// Writes the lines. Waits for errors to pass, except if there is no reader; then returns the
    /// position of the first line that is not written.
    fn write(&mut self, lines: &[u8], trouble: &mut Option<Trouble>) -> Result<(), usize> {
        if self.in_line {
            // After a reader has gone within a line.
            self.write_whole(b"\n", trouble).map_err(|_| 0_usize)?;
        }
        self.write_whole(lines, trouble)
    }

    fn write_whole(&mut self, bytes: &[u8], trouble: &mut Option<Trouble>) -> Result<(), usize> {
        let [first, longest] = self.wait;
        let (mut written, mut wait) = (0, first);
        while written < bytes.len() {
            let error = match self.writer.write(&bytes[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(more) => {
                    written += more;
                    self.in_line = bytes[written - 1] != b'\n';
                    wait = first;
                    continue;
                }
                Err(error) => error,
            };
            let kind = error.kind();
            if kind == io::ErrorKind::Interrupted {
                continue;
            }
            trouble.get_or_insert_with(|| (error, Instant::now()));
            if is_gone(kind) {
                return Err(written);
            }
            std::thread::sleep(wait);
            wait = (wait * 2).min(longest);
        }
        Ok(())
    }
}

/// Whether nobody reads any more. A named pipe may get another reader later.
fn is_gone(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, mpsc};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Waits = Waits { transient: [Duration::ZERO; 2], gone: [Duration::ZERO; 2] };

    /// Follows a script, one entry for each write: how many bytes it takes, or why it takes none.
    /// After its end it takes everything.
    #[derive(Clone, Default)]
    struct Scripted {
        script: Arc<Mutex<VecDeque<Result<usize, io::Error>>>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Scripted {
        fn new(script: impl IntoIterator<Item = Result<usize, io::Error>>) -> Self {
            let script = Arc::new(Mutex::new(script.into_iter().collect()));
            Self { script, ..Self::default() }
        }

        fn text(&self) -> String {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let next = self.script.lock().unwrap().pop_front();
            let taken = next.unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.written.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(writer: impl Write + Send + 'static) -> Arc<LogQueue> {
        let queue = Arc::new(LogQueue::default());
        let writing = Arc::clone(&queue);
        std::thread::spawn(move || writing.write_to(writer, SHORT));
        queue
    }

    fn error(number: i32) -> Result<usize, io::Error> {
        Err(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn errors_that_pass_are_waited_out_and_lose_nothing() {
        for number in [
            libc::EAGAIN,
            libc::EINTR,
            libc::ENOSPC,
            libc::EDQUOT,
            libc::EIO,
            libc::EFBIG,
            libc::ENOMEM,
            libc::ESTALE,
        ] {
            let before = |taken| [error(number), Ok(taken), error(number), error(number)];
            let writer = Scripted::new([before(3), before(0), before(9)].into_iter().flatten());
            let queue = start(writer.clone());
            queue.add(b"first line\n");
            queue.flush(LONG);
            queue.add(b"second line\n");
            queue.add(b"third line\n");
            queue.flush(LONG);
            assert_eq!(writer.text(), "first line\nsecond line\nthird line\n", "{number}");
            assert_eq!(queue.dropped(), 0);
        }
    }

    #[test]
    fn lines_without_a_reader_are_counted_and_later_ones_reach_the_next_reader() {
        for number in [libc::EPIPE, libc::ECONNRESET, libc::ENOTCONN] {
            let writer = Scripted::new([Ok(2), error(number), error(number)]);
            let queue = start(writer.clone());
            let mut sent = 0;
            while !writer.text().ends_with("line\n") {
                queue.add(b"line\n");
                sent += 1;
                queue.flush(LONG);
            }
            let text = writer.text();
            let rest = text.strip_prefix("li\n").expect("the next line begins anew");
            assert!(rest.split_inclusive('\n').all(|line| line == "line\n"), "{text}");
            assert_eq!(queue.dropped() + count(rest.as_bytes()), sent, "{number}: {text}");
        }
    }

    /// A pipe whose reader blocks until it is released.
    struct Blocked(mpsc::Receiver<()>);

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_not_written_at_the_end_is_counted() {
        let (_unblock, blocked) = mpsc::channel();
        let queue = start(Blocked(blocked));
        for _ in 0..3 {
            queue.add(b"line\n");
        }
        queue.end(Duration::from_millis(1));
        assert_eq!(queue.dropped(), 3);
        queue.add(b"line\n");
        assert_eq!(queue.dropped(), 4);
    }

    #[test]
    fn lost_lines_and_the_return_of_the_reader_are_told() {
        let told = Scripted::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer({
                let told = told.clone();
                move || told.clone()
            })
            .finish();
        let queue = Arc::new(LogQueue::default());
        let writing = Arc::clone(&queue);
        let writer = Scripted::new([error(libc::EPIPE), error(libc::ENOSPC)]);
        std::thread::spawn({
            let writer = writer.clone();
            || {
                tracing::subscriber::with_default(subscriber, move || {
                    writing.write_to(writer, SHORT);
                });
            }
        });
        queue.add(b"lost\n");
        queue.flush(LONG);
        while writer.text().is_empty() {
            queue.add(b"line\n");
            queue.flush(LONG);
        }
        while !told.text().contains("the log can be written again") {
            std::thread::yield_now();
        }
        let lost = format!("lost={}", queue.dropped());
        assert!(told.text().contains(&lost), "{}", told.text());
        assert!(told.text().contains("roken pipe"), "{}", told.text());
        assert_eq!(told.text().lines().count(), 1, "{}", told.text());
    }

    #[test]
    fn a_blocked_reader_costs_only_lines_and_bounded_memory() {
        let (_unblock, blocked) = mpsc::channel();
        let queue = start(Blocked(blocked));
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..3 * CAPACITY / line.len() {
            queue.add(&line);
        }
        assert!(queue.dropped() > 0);
        assert!(queue.memory() <= 2 * CAPACITY);
    }
}
