//! Addresses to listen on, and the loop that accepts connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::worker::{Shared, Worker};

/// How long accepting rests when the process is out of file descriptors or memory. Trying
/// again at once would only burn the processor.
const REST: Duration = Duration::from_millis(100);

/// Where to listen: `host:port`, or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host, by name or address, and a port.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither host:port, such as 127.0.0.1:50051, nor unix:/path")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(InvalidAddress) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || bare_ipv6 || host.contains('/') || port.parse::<u16>().is_err() {
            return Err(InvalidAddress);
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Listens there; a Unix socket gets this mode, or else what the process's mask leaves.
    pub(super) async fn bind(&self, mode: Option<u32>) -> io::Result<Bound> {
        match self {
            Self::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = Self::Tcp(listener.local_addr()?.to_string());
                Ok(Bound { socket: Socket::Tcp(listener), address })
            }
            Self::Unix(path) => {
                // A process that was killed leaves its socket behind, and a new one could
                // never bind. A socket that somebody still serves is left alone.
                if UnixStream::connect(path).await.is_err()
                    && let Ok(found) = std::fs::symlink_metadata(path)
                    && std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
                {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                let bound = Bound { socket: Socket::Unix(listener), address: self.clone() };
                if let Some(mode) = mode {
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
                }
                Ok(bound)
            }
        }
    }
}

/// An address that is listened on.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that was accepted, not yet bound to the runtime that will serve it.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Bound {
    /// The address with the port that the system chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer): (TcpStream, _) = listener.accept().await?;
                // An answer is one small write that must not wait for the next.
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream.into_std()?, peer))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream.into_std()?))
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Accepts connections until the server drains, and gives each to the worker that has the
/// fewest: a caller's connections live long and are few, so their number is what to balance.
pub(super) async fn accept(bound: Bound, shared: Arc<Shared>, workers: Vec<Worker>) {
    loop {
        let accepted = tokio::select! {
            () = shared.drain.cancelled() => return,
            accepted = bound.accept() => accepted,
        };
        match accepted {
            Ok(_) if shared.connections.len() >= shared.config.max_connections => {
                shared.telemetry.metrics().connection_refused();
                tracing::debug!("connection refused: there are too many");
            }
            Ok(accepted) => {
                if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
                    worker.serve(accepted);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(error = %error, "cannot accept connections");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Whether only the connection that was being accepted is at fault.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port_or_a_socket() {
        for text in ["127.0.0.1:50051", "[::1]:0", "localhost:1", "0.0.0.0:65535"] {
            assert_eq!(text.parse(), Ok(Address::Tcp(text.to_owned())));
        }
        for (text, path) in [("unix:/run/a.sock", "/run/a.sock"), ("unix:///a", "/a")] {
            assert_eq!(text.parse(), Ok(Address::Unix(path.into())), "{text}");
        }
        for text in
            ["", ":1", "host", "host:", "host:65536", "host:x", "::1:1", "unix:", "http://h:1"]
        {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = std::env::temp_dir().join(format!("savepoint-gateway-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let address = Address::Unix(folder.join("listener.sock"));
        let Address::Unix(path) = &address else { unreachable!() };
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        assert!(path.exists());
        let bound = address.bind(Some(0o600)).await.unwrap();
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(address.bind(None).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        std::fs::write(path, "not a socket").unwrap();
        assert!(address.bind(None).await.is_err());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "not a socket");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
