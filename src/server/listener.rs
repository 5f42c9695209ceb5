//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::unix_socket::{self, SocketFile};
use crate::caller::{Caller, Peer};
use crate::options::Address;

/// Listens on an address. A Unix socket gets this mode, else the umask applies.
pub(crate) async fn bind(address: &Address, mode: Option<u32>) -> io::Result<Bound> {
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = Address::Tcp(listener.local_addr()?.to_string());
            Ok(Bound { _file: None, socket: Socket::Tcp(listener), address })
        }
        Address::Unix(path) => {
            let (listener, file) = unix_socket::listen(path, mode).await?;
            let socket = Socket::Unix(listener);
            Ok(Bound { _file: Some(file), socket, address: address.clone() })
        }
    }
}

#[derive(Debug)]
pub(crate) struct Bound {
    /// Dropped before the socket, which keeps the number of its inode from being used again.
    _file: Option<SocketFile>,
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
    /// The address of the peer; none for Unix sockets.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }

    /// The connection on the present runtime, and its peer.
    pub(crate) fn into_stream(self) -> io::Result<(Either<TcpStream, UnixStream>, Peer)> {
        Ok(match self {
            Self::Tcp(stream, peer) => {
                let peer = Peer { address: Some(peer), caller: Caller::default() };
                (Either::Left(TcpStream::from_std(stream)?), peer)
            }
            Self::Unix(stream) => {
                let stream = UnixStream::from_std(stream)?;
                let caller = Caller::user(stream.peer_cred()?.uid());
                (Either::Right(stream), Peer { address: None, caller })
            }
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
