//! The parts of an RPC: operation, deadline, validation and errors.

pub(crate) mod codec;
pub mod deadline;
pub mod error;
pub mod operation;
pub mod reason;
pub mod status;
pub(crate) mod validate;

pub use deadline::{Deadline, Timeouts};
pub use error::Error;
pub use operation::{Operation, Provider};
pub use reason::{Outcome, Reason};
