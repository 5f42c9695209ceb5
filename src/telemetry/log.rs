//! Log lines, written without waiting for the reader.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::log_queue::{LogQueue, WAITS};

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

/// A log that buffers lines and writes them from its own thread. A slow or closed reader delays no
/// call; lines are dropped and counted instead.
#[derive(Clone)]
pub struct LogSink {
    queue: Arc<LogQueue>,
    pub(crate) format: LogFormat,
    pub(crate) level: LevelFilter,
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
        let queue = Arc::<LogQueue>::default();
        let _: JoinHandle<()> = std::thread::Builder::new().name("log".into()).spawn({
            let queue = Arc::clone(&queue);
            move || queue.write_to(writer, WAITS)
        })?;
        Ok(Self { queue, format, level })
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Writes a complete line with its line feed.
    pub fn write(&self, line: &[u8]) {
        self.queue.add(line);
    }

    /// Waits until all lines are written, but at most this long.
    pub fn flush(&self, timeout: Duration) {
        self.queue.flush(timeout);
    }

    /// The same, before the process ends: later lines are lost.
    pub fn end(&self, timeout: Duration) {
        self.queue.end(timeout);
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
    use std::sync::Mutex;

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
}
