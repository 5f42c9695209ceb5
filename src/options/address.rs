//! Addresses to listen on.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen: `host:port`, or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host, by name or address, and a port.
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither host:port, such as 127.0.0.1:50051, nor unix:/path")]
pub struct InvalidAddress;

impl Address {
    /// Whether other hosts may reach it: it is neither a Unix socket nor on loopback.
    pub(crate) fn is_open(&self) -> bool {
        let Self::Tcp(text) = self else { return false };
        let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<IpAddr>();
        address.map_or(host != "localhost", |address| !address.is_loopback())
    }

    /// Whether each of two listeners at this address gets its own port.
    pub(crate) fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(text) if text.ends_with(":0"))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_sockets_are_closed() {
        for (text, open) in [
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("localhost:1", false),
            ("unix:/a", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
            ("name:1", true),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_open(), open, "{text}");
        }
    }

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
}
