//! Hostile input of every kind: bytes that no client would send, floods, and responses that no
//! provider should give. [`table`] lists all of them and where each is proved.

/// Responses of a provider that is broken.
mod answers;
/// Requests whose fields try to reach something else.
mod fields;
/// Peers that flood, stall or hang.
mod floods;
/// What stays its own: panics, metrics, limits.
mod isolation;
/// Requests that are not well-formed gRPC.
mod messages;
/// Every row of the table, once.
mod table;
/// HTTP/2 by hand.
mod wire;
