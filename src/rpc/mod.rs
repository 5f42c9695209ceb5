//! What an RPC is made of: the operation, its deadline, the rules for its fields, and what can go
//! wrong with it.

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
