//! Services that are served in addition to the contract's.

use tonic::service::Routes;

use super::grpc_frame::MESSAGE_BYTES;

/// More services for the gRPC port, over the same connections and by the same rules: requests that
/// are not gRPC, the one message of a unary call, metadata, panics, the record of a call.
///
/// The gateway itself has none. Suites that test a server through a service of their own do.
#[derive(Debug, Clone)]
pub struct ExtraServices {
    /// The services.
    pub routes: Routes,
    /// The methods whose callers send a stream, as `/package.Service/Method`.
    pub streamed: Vec<&'static str>,
    /// The largest message, in bytes, that is read in a call of a method that is not streamed.
    pub message_bytes: usize,
    /// Whether a request that is not gRPC is read to its end before it is refused. The gateway
    /// refuses at once; suites that continue a request after its headers need it to be open still.
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
