//! Log lines, written without waiting for the reader.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// Plain text for people, with colours on a terminal.
    Text {
        /// Whether to use colours.
        colour: bool,
    },
}

/// Maximum size of the buffer for a slow reader. Further lines are dropped and counted.
const CAPACITY: usize = 4 * 1024 * 1024;

/// How long lines are collected before they are written together.
const GATHER: Duration = Duration::from_millis(5);

/// A log that buffers lines and writes them from its own thread. A slow or closed reader delays no
/// call; lines are dropped and counted instead.
#[derive(Clone)]
pub struct LogSink {
    shared: Arc<Shared>,
    pub(crate) format: LogFormat,
    pub(crate) level: LevelFilter,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    dropped: u64,
    writing: bool,
    closed: bool,
}

impl LogSink {
    /// A log that writes to this writer.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new(
        writer: impl Write + Send + 'static,
        format: LogFormat,
        level: LevelFilter,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let _: JoinHandle<()> = std::thread::Builder::new().name("log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write_to(writer)
        })?;
        Ok(Self { shared, format, level })
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Writes complete lines, each with its line feed.
    pub fn write(&self, lines: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.closed {
            return;
        }
        if queue.bytes.len() + lines.len() > CAPACITY {
            queue.dropped += 1;
            return;
        }
        // The writer thread sleeps only if the queue is empty: waking it is a system call, which a
        // busy gateway makes once for many lines.
        let was_empty = queue.bytes.is_empty();
        queue.bytes.extend_from_slice(lines);
        drop(queue);
        if was_empty {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until all lines are written, but at most this long.
    pub fn flush(&self, timeout: Duration) {
        let is_busy =
            |queue: &mut Queue| (!queue.bytes.is_empty() || queue.writing) && !queue.closed;
        let _ = self.shared.emptied.wait_timeout_while(self.shared.lock(), timeout, is_busy);
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSink")
            .field("format", &self.format)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut writer: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut queue = self.lock();
            queue.writing = false;
            if queue.bytes.is_empty() {
                self.emptied.notify_all();
            }
            drop(self.filled.wait_while(queue, |queue| queue.bytes.is_empty()));
            std::thread::sleep(GATHER);
            let mut queue = self.lock();
            std::mem::swap(&mut queue.bytes, &mut lines);
            queue.writing = true;
            drop(queue);
            let written = writer.write_all(&lines).and_then(|()| writer.flush());
            lines.clear();
            // Frees the memory of a burst.
            lines.shrink_to(64 * 1024);
            if written.is_err() {
                // The pipe is closed for good.
                let mut queue = self.lock();
                queue.closed = true;
                queue.writing = false;
                queue.bytes = Vec::new();
                self.emptied.notify_all();
                return;
            }
        }
    }
}

/// One `tracing` event, collected and then written as one line.
#[derive(Debug)]
pub struct Event<'a> {
    sink: &'a LogSink,
    bytes: Vec<u8>,
}

impl Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        self.sink.write(&self.bytes);
    }
}

impl<'a> MakeWriter<'a> for LogSink {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Event { sink: self, bytes: Vec::with_capacity(256) }
    }
}

/// Sends the `tracing` events of the process to this log. Events of other crates are logged only
/// from WARN on, because below that some show what is sent over the network.
///
/// # Errors
/// If a subscriber is already installed.
pub fn install(sink: &LogSink) -> Result<(), TryInitError> {
    let filter = Targets::new()
        .with_target("savepoint_gateway", sink.level)
        .with_default(sink.level.min(LevelFilter::WARN));
    let layer = tracing_subscriber::fmt::layer().with_writer(sink.clone());
    let registry = tracing_subscriber::registry().with(filter);
    match sink.format {
        LogFormat::Json => {
            let layer =
                layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(layer.with_ansi(false)).try_init()
        }
        LogFormat::Text { colour } => {
            registry.with(layer.with_ansi(colour).with_target(false)).try_init()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
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
    fn lines_arrive_complete_and_in_order() {
        let buffer = Buffer::default();
        let sink = LogSink::new(buffer.clone(), LogFormat::Json, LevelFilter::INFO).unwrap();
        let want: String = (0..1000).map(|i| format!("line {i}\n")).collect();
        for line in want.split_inclusive('\n') {
            sink.write(line.as_bytes());
        }
        sink.flush(LONG);
        assert_eq!(String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap(), want);
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn a_blocked_reader_costs_only_lines_and_bounded_memory() {
        let (_unblock, blocked) = mpsc::channel();
        let sink = LogSink::new(Blocked(blocked), LogFormat::Json, LevelFilter::INFO).unwrap();
        let line = [b'x'; 1024];
        for _ in 0..3 * CAPACITY / line.len() {
            sink.write(&line);
        }
        assert!(sink.dropped() > 0);
        assert!(sink.shared.lock().bytes.capacity() <= 2 * CAPACITY);
        sink.flush(Duration::from_millis(1));
    }

    #[test]
    fn a_closed_pipe_ends_only_the_log() {
        let (unblock, blocked) = mpsc::channel();
        drop(unblock);
        let sink = LogSink::new(Blocked(blocked), LogFormat::Json, LevelFilter::INFO).unwrap();
        sink.write(b"lost\n");
        sink.flush(LONG);
        sink.write(b"lost, too\n");
        assert!(sink.shared.lock().closed);
    }
}
