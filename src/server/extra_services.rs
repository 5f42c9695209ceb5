//! Additional services for the gRPC port.

use tonic::service::Routes;

use super::grpc_frame::MESSAGE_BYTES;

/// Additional services for the gRPC port, with the same handling of non-gRPC requests, single
/// messages, metadata, panics and call records.
///
/// The gateway has none. They are for test suites that call a service of their own.
#[derive(Debug, Clone)]
pub struct ExtraServices {
    pub routes: Routes,
    /// The methods whose callers send a stream, as `/package.Service/Method`.
    pub streamed: Vec<&'static str>,
    /// The maximum message size, in bytes, of methods whose callers send no stream.
    pub message_bytes: usize,
    /// Whether a non-gRPC request is read to its end before it is refused. The gateway refuses at
    /// once; some suites need the request to stay open after its headers.
    pub reads_refused: bool,
}

impl Default for ExtraServices {
    fn default() -> Self {
        Self {
            routes: Routes::default(),
            streamed: Vec::new(),
            message_bytes: MESSAGE_BYTES,
            reads_refused: false,
        }
    }
}
