use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// An address of this machine that refuses connections for as long as this value is kept.
///
/// The port is bound and nobody listens. A port that was closed again could be given to a server of another
/// test, which would answer.
pub(crate) struct RefusingAddress {
    address: SocketAddr,
    _bound: TcpSocket,
}

impl RefusingAddress {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self { address: socket.local_addr().unwrap(), _bound: socket }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{self}")
    }
}

impl std::fmt::Display for RefusingAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(formatter)
    }
}
