//! Addresses to listen on.

use std::fmt;
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
