//! TLS on both sides: the server certificate, the CAs of callers, the CAs of providers, and the
//! client certificate for them.

mod client;
mod metrics;
mod options;
mod pem;
mod reload;
mod server;
mod trust;
pub(crate) mod words;
mod x509;

pub use client::ClientIdentity;
pub(crate) use metrics::TlsMetrics;
pub(crate) use options::TlsOptions;
pub use pem::{FileProblem, When};
pub(crate) use reload::ReloadMetrics;
pub use reload::{FileSource, Loaded, Reloading};
pub use server::{ClientAuth, ServerTls, TlsFiles};
pub use trust::Trust;
pub(crate) use x509::not_after;
