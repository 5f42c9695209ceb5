//! Configuration: value types, the environment, and the list of all problems.

pub mod address;
pub mod endpoint;
pub mod env;
pub mod problems;

pub use address::{Address, InvalidAddress};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use env::{Lookup, NotText, environment};
pub use problems::{ConfigError, Problems};
