//! The file of a listening Unix socket: made without a moment in which others can use it, kept from
//! other gateways by a lock, and removed only by the gateway that made it.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// As std and tokio choose it; the kernel lowers it to its own maximum.
const BACKLOG: u32 = 1024;

/// Removes the file of its socket when dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    file: OwnFile,
    /// Released after the file is removed.
    _lock: Lock,
}

/// Listens on this path. The socket gets this mode, else the umask applies.
pub(super) async fn listen(
    path: &Path,
    mode: Option<u32>,
) -> io::Result<(UnixListener, SocketFile)> {
    let lock = Lock::acquire(path)?;
    remove_stale(path).await?;
    let socket = UnixSocket::new_stream()?;
    if let Some(mode) = mode {
        // Linux makes the file with the mode of the unbound socket, so that it never has more than
        // this. Elsewhere this fails, and nobody can connect before `listen` all the same.
        let _ = fchmod(&socket, Mode::from_raw_mode(mode as rustix::fs::RawMode));
    }
    socket.bind(path)?;
    let file = OwnFile::new(path, &std::fs::symlink_metadata(path)?);
    let file = SocketFile { file, _lock: lock };
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok((socket.listen(BACKLOG)?, file))
}

/// Removes the socket of a process that was killed, which would block the next bind. Everything
/// else at this path is kept.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(in_use("the file at this path is not a socket, and is kept"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(in_use("another process listens on this path")),
        // Only this says that no process has the socket. A full backlog (EAGAIN), a socket of
        // another type (EPROTOTYPE) and one of another user (EACCES) are in use.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            OwnFile::new(path, &found).remove();
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(in_use(&format!(
            "the socket at this path may be in use, and is kept: {error}; remove it if it is not"
        ))),
    }
}

fn in_use(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, why)
}

/// A file that is removed only if it is still the same one.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnFile {
    fn new(path: &Path, found: &Metadata) -> Self {
        Self { path: path.to_owned(), device: found.dev(), inode: found.ino() }
    }

    fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode))
    }

    fn remove(&self) {
        if self.is_in_place() {
            // It may already be gone.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.file.remove();
    }
}

/// A lock on `PATH.lock`, because between `bind` and `listen` a socket looks like that of a killed
/// process. It ends with the process; the file may stay behind and does no harm.
#[derive(Debug)]
struct Lock {
    file: OwnFile,
    _open: File,
}

impl Lock {
    fn acquire(socket: &Path) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let because = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot lock {}: {error}", path.display()))
        };
        loop {
            let open = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                // Another user may have put a link or a FIFO there.
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)
                .map_err(because)?;
            match flock(&open, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let lock = path.display();
                    return Err(in_use(&format!(
                        "another gateway uses this path: it locks {lock}"
                    )));
                }
                Err(error) => return Err(because(error.into())),
            }
            let file = OwnFile::new(&path, &open.metadata().map_err(because)?);
            // The previous owner may have removed it after it was opened here.
            if file.is_in_place() {
                return Ok(Self { file, _open: open });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked.
        self.file.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener as StdListener};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("savepoint-gateway-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("g.sock")
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).unwrap();
            let name = |entry: io::Result<std::fs::DirEntry>| {
                entry.unwrap().file_name().into_string().unwrap()
            };
            let mut names: Vec<_> = entries.map(name).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn inode(path: &Path) -> u64 {
        std::fs::symlink_metadata(path).unwrap().ino()
    }

    async fn refused(path: &Path) -> String {
        let error = listen(path, None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        error.to_string()
    }

    #[tokio::test]
    async fn the_socket_of_a_killed_process_is_replaced_and_nothing_stays_behind() {
        let folder = Folder::new("stale");
        let path = folder.socket();
        drop(StdListener::bind(&path).unwrap());
        std::fs::write(folder.0.join("g.sock.lock"), "").unwrap();
        let bound = listen(&path, None).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
        drop(bound);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }

    #[tokio::test]
    async fn a_socket_that_another_program_uses_is_kept() {
        let folder = Folder::new("used");
        let path = folder.socket();
        let keeps = async |what: &str| {
            let before = inode(&path);
            let why = refused(&path).await;
            assert_eq!(inode(&path), before, "{what}: {why}");
            assert_eq!(folder.names(), ["g.sock"], "{what}");
            std::fs::remove_file(&path).unwrap();
        };
        let listening = StdListener::bind(&path).unwrap();
        keeps("a listener").await;
        drop(listening);

        let datagrams = UnixDatagram::bind(&path).unwrap();
        keeps("a datagram socket").await;
        drop(datagrams);

        let packets = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            None,
        )
        .unwrap();
        let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
        rustix::net::bind(&packets, &address).unwrap();
        rustix::net::listen(&packets, 1).unwrap();
        keeps("a socket of packets").await;

        let full = UnixSocket::new_stream().unwrap();
        full.bind(&path).unwrap();
        let full = full.listen(0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        keeps("a full backlog").await;
        drop(full);

        std::fs::write(&path, "not a socket").unwrap();
        keeps("a file").await;
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        keeps("a dangling link").await;
    }

    #[tokio::test]
    async fn a_gateway_that_starts_keeps_others_out_before_it_listens() {
        let folder = Folder::new("lock");
        let path = folder.socket();
        let lock = Lock::acquire(&path).unwrap();
        // As between `bind` and `listen`: connecting is refused.
        drop(StdListener::bind(&path).unwrap());
        let before = inode(&path);
        assert!(refused(&path).await.contains("g.sock.lock"));
        assert_eq!(inode(&path), before);
        drop(lock);
        let first = listen(&path, None).await.unwrap();
        refused(&path).await;
        // By another name of the folder, too.
        refused(&folder.0.join(".").join("g.sock")).await;
        drop(first);
        listen(&path, None).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_starts_at_the_same_instant_one_listens() {
        let folder = Folder::new("instant");
        let path = folder.socket();
        for _ in 0..50 {
            drop(StdListener::bind(&path).unwrap());
            let starts: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    tokio::spawn(async move { listen(&path, None).await })
                })
                .collect();
            let mut listening = Vec::new();
            for start in starts {
                listening.extend(start.await.unwrap().ok());
            }
            assert_eq!(listening.len(), 1);
            UnixStream::connect(&path).await.unwrap();
            drop(listening);
            assert!(folder.names().is_empty(), "{:?}", folder.names());
        }
    }

    #[tokio::test]
    async fn the_end_of_a_gateway_removes_only_its_own_files() {
        let folder = Folder::new("successor");
        let path = folder.socket();
        let first = listen(&path, None).await.unwrap();
        // An operator makes room for a successor.
        std::fs::remove_file(&path).unwrap();
        refused(&path).await;
        std::fs::remove_file(folder.0.join("g.sock.lock")).unwrap();
        let second = listen(&path, None).await.unwrap();
        drop(first);
        UnixStream::connect(&path).await.unwrap();
        refused(&path).await;
        drop(second);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_before_anyone_can_connect() {
        let folder = Folder::new("mode");
        let path = folder.socket();
        for mode in [0o600, 0o660, 0o777, 0o200] {
            let bound = listen(&path, Some(mode)).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, mode);
            drop(bound);
        }
        // Made with no more than it will have.
        let socket = UnixSocket::new_stream().unwrap();
        if cfg!(target_os = "linux") {
            fchmod(&socket, Mode::from_raw_mode(0o600)).unwrap();
            socket.bind(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_had_is_told_with_its_path() {
        let folder = Folder::new("unlockable");
        let path = folder.socket();
        let lock = folder.0.join("g.sock.lock");
        let target = folder.0.join("target");
        std::os::unix::fs::symlink(&target, &lock).unwrap();
        let error = listen(&path, None).await.unwrap_err().to_string();
        assert!(error.contains("g.sock.lock"), "{error}");
        assert!(!target.exists());
        std::fs::remove_file(&lock).unwrap();
        std::fs::create_dir(&lock).unwrap();
        let error = listen(&path, None).await.unwrap_err().to_string();
        assert!(error.contains("g.sock.lock"), "{error}");
        std::fs::remove_dir(&lock).unwrap();
        let nowhere = folder.0.join("nowhere").join("g.sock");
        assert!(listen(&nowhere, None).await.unwrap_err().to_string().contains("nowhere"));
        // Longer than a socket address can be; the lock does not stay.
        listen(&folder.0.join("x".repeat(120)), None).await.unwrap_err();
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}
