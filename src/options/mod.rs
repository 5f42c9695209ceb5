//! What is configured: values with a form of their own, the environment, and the collection of all
//! mistakes.

pub mod address;
pub mod endpoint;
pub mod env;
pub mod problems;

pub use address::{Address, InvalidAddress};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use env::{Lookup, NotText, environment};
pub use problems::{ConfigError, Problems};
