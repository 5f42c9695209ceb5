//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::Peer;
use crate::options::Address;

/// Listens on an address. A Unix socket gets this mode, else the umask applies.
pub(crate) async fn bind(address: &Address, mode: Option<u32>) -> io::Result<Bound> {
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = Address::Tcp(listener.local_addr()?.to_string());
            Ok(Bound { socket: Socket::Tcp(listener), address })
        }
        Address::Unix(path) => {
            // A killed process leaves its socket behind, which would block the next bind. A socket
            // that is still in use is kept.
            if UnixStream::connect(path).await.is_err()
                && let Ok(found) = std::fs::symlink_metadata(path)
                && std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
            {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            let bound = Bound { socket: Socket::Unix(listener), address: address.clone() };
            if let Some(mode) = mode {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
            }
            Ok(bound)
        }
    }
}

#[derive(Debug)]
pub(crate) struct Bound {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection, not yet registered with a runtime.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// The connection on the present runtime, and its peer.
    pub(crate) fn into_stream(self) -> io::Result<(Either<TcpStream, UnixStream>, Peer)> {
        Ok(match self {
            Self::Tcp(stream, peer) => (Either::Left(TcpStream::from_std(stream)?), Some(peer)),
            Self::Unix(stream) => (Either::Right(UnixStream::from_std(stream)?), None),
        })
    }
}

impl Bound {
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer): (TcpStream, _) = listener.accept().await?;
                // A response is one small write, which must not be delayed.
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
            // It may already be gone.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether an error of [`Bound::accept`] concerns one connection, not the listener.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
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

    #[tokio::test]
    async fn only_an_unused_socket_is_replaced() {
        let folder = std::env::temp_dir().join(format!("savepoint-gateway-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let address = Address::Unix(folder.join("listener.sock"));
        let Address::Unix(path) = &address else { unreachable!() };
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        assert!(path.exists());
        let bound = bind(&address, Some(0o600)).await.unwrap();
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(bind(&address, None).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        std::fs::write(path, "not a socket").unwrap();
        assert!(bind(&address, None).await.is_err());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "not a socket");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
