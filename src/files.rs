//! Reads files that other programs change while the gateway runs: credentials, certificates,
//! tokens.
//!
//! The same rules apply to all: only regular files, opened without blocking, of bounded size, read
//! on a blocking thread, within a time limit. A change is used once two reads agree on it.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Poll interval. Content is compared, because mounted secrets change by swapping a symbolic link
/// next to the file, and network file systems do not notify.
pub(crate) const POLL: Duration = Duration::from_secs(2);

/// How long a change must be stable before it is used, so that half-written files are not.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// Time limit for one read. A hung file system must not block the task that reads.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Reads a regular file of at most `max` bytes. An error has neither its path nor its content.
pub(crate) fn read(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Opening some devices has effects.
    if !std::fs::metadata(path)?.is_file() {
        return Err(FileError::NotAFile);
    }
    // It may be another file by now, and opening a FIFO without a writer would block.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(FileError::NotAFile);
    }
    if found.len() > max {
        return Err(FileError::TooLarge(max));
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0) + 1));
    // It may grow while being read.
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(FileError::TooLarge(max)) } else { Ok(bytes) }
}

/// Reads a file before there are tasks, with the time limit that [`Reader`] has.
pub(crate) fn read_at_start(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let path = path.to_owned();
    at_start(LIMIT, move || read(&path, max)).unwrap_or(Err(FileError::Hung))
}

/// Runs what may hang in a hung file system on its own thread; none after this time.
pub(crate) fn at_start<T: Send + 'static>(
    limit: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, result) = mpsc::channel();
    let thread = std::thread::Builder::new().name("files".into());
    thread.spawn(move || sender.send(run())).ok()?;
    result.recv_timeout(limit).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    #[error("does not exist")]
    NotFound,
    #[error("cannot be read: permission denied")]
    Denied,
    /// It is a directory, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    #[error("cannot be read: the file system does not respond")]
    Hung,
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("cannot be read: {0}")]
    Other(io::ErrorKind),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others have no text of their own")]
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Denied,
            kind => Self::Other(kind),
        }
    }
}

/// Runs reads on blocking threads, one at a time, so that a hung file system occupies only one
/// thread.
#[derive(Debug)]
pub(crate) struct Reader<T>(Mutex<Option<JoinHandle<T>>>);

impl<T> Default for Reader<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Send + 'static> Reader<T> {
    /// The result of `read`, or of the previous read if it has not returned yet.
    pub(crate) async fn read(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, &'static str> {
        let mut pending = self.0.lock().await;
        let reading = pending.get_or_insert_with(|| tokio::task::spawn_blocking(read));
        let Ok(result) = tokio::time::timeout(LIMIT, reading).await else {
            return Err("the file system does not respond");
        };
        *pending = None;
        result.map_err(|error| match error.is_panic() {
            true => "reading panicked, which is a defect",
            false => "the gateway is shutting down",
        })
    }

    /// Reads until two results, `settle` apart, agree.
    pub(crate) async fn settled(
        &self,
        settle: Duration,
        read: impl Fn() -> T + Clone + Send + 'static,
    ) -> Result<T, &'static str>
    where
        T: PartialEq,
    {
        let mut found = self.read(read.clone()).await?;
        loop {
            tokio::time::sleep(settle).await;
            let again = self.read(read.clone()).await?;
            if found == again {
                return Ok(again);
            }
            found = again;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_size_limit_are_read() {
        let folder = tempfile();
        let path = folder.join("file");
        std::fs::write(&path, [b'x'; 10]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("zero")).unwrap();
        let socket = std::os::unix::net::UnixDatagram::bind(folder.join("socket")).unwrap();
        std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap();
        assert!(made.success());
        for name in ["file", "link"] {
            assert_eq!(read(&folder.join(name), 10).unwrap().len(), 10);
            assert_eq!(read_at_start(&folder.join(name), 10).unwrap().len(), 10);
        }
        assert!(matches!(read(&folder.join("loop"), 10), Err(FileError::Other(_))));
        for (name, max, want) in [
            ("file", 9, FileError::TooLarge(9)),
            ("fifo", 10, FileError::NotAFile),
            ("zero", 10, FileError::NotAFile),
            (".", 10, FileError::NotAFile),
            ("socket", 10, FileError::NotAFile),
            ("../../dev/null", 10, FileError::NotAFile),
            ("file/below", 10, FileError::Other(io::ErrorKind::NotADirectory)),
            ("nowhere", 10, FileError::NotFound),
            // Files in /proc report a length of 0.
            ("../../proc/self/status", 10, FileError::TooLarge(10)),
        ] {
            let path = match name.strip_prefix("../../") {
                Some(rest) => Path::new("/").join(rest),
                None => folder.join(name),
            };
            assert_eq!(read(&path, max).unwrap_err(), want, "{name}");
            assert_eq!(read_at_start(&path, max).unwrap_err(), want, "{name}");
        }
        drop(socket);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_system_that_hangs_at_the_start_is_not_waited_for() {
        let (_release, hanging) = mpsc::channel::<()>();
        assert_eq!(at_start(Duration::from_millis(1), move || hanging.recv()), None);
    }

    fn tempfile() -> std::path::PathBuf {
        let folder =
            std::env::temp_dir().join(format!("savepoint-gateway-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_file_system_occupies_one_thread_and_is_reported() {
        let reader = Reader::default();
        let (release, hanging) = std::sync::mpsc::channel::<()>();
        // Paused time does not advance while a blocking thread runs.
        let late = async || tokio::time::advance(LIMIT * 2).await;
        let (first, ()) = tokio::join!(reader.read(move || hanging.recv().is_ok()), late());
        assert!(first.unwrap_err().contains("does not respond"));
        for _ in 0..3 {
            let (next, ()) = tokio::join!(reader.read(|| panic!("a second thread")), late());
            next.unwrap_err();
        }
        release.send(()).unwrap();
        assert_eq!(reader.read(|| panic!("a second thread")).await, Ok(true));
        assert_eq!(reader.read(|| false).await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_used_once_two_reads_agree() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let reads = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reads);
        let read = move || [1, 2, 3, 4, 4][count.fetch_add(1, Ordering::Relaxed)];
        assert_eq!(Reader::default().settled(SETTLE, read).await, Ok(4));
        assert_eq!(reads.load(Ordering::Relaxed), 5);
    }
}
