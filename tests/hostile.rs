//! Hostile input of every kind: bytes that no client would send, floods, and answers that no
//! provider should give. [`table`] lists all of them and where each is proved.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

// Not every helper is of use here.
#[allow(dead_code, unused_imports)]
#[path = "support/mod.rs"]
mod support;

/// Answers of a provider that is broken, or is none.
#[path = "hostile/answers.rs"]
mod answers;
/// Requests whose fields try to reach something else.
#[path = "hostile/fields.rs"]
mod fields;
/// Peers that flood, stall or hang.
#[path = "hostile/floods.rs"]
mod floods;
/// Requests that are no well-formed gRPC.
#[path = "hostile/messages.rs"]
mod messages;
/// What the process as a whole keeps to.
#[path = "hostile/process.rs"]
mod process;
/// Every row of the table, once.
#[path = "hostile/table.rs"]
mod table;
/// HTTP/2 by hand.
#[path = "hostile/wire.rs"]
mod wire;
