//! Hostile input of every kind: bytes that no client would send, floods, and responses that no
//! provider should give. Comments above the tests name the inputs that they cover, by these
//! numbers; [`table`] checks that none is missing.
//!
//! Fields: 1 namespace `../../x`; 2 namespace `..` or `.`; 3 `%2e%2e`, `%2F`, `a%2Fb`; 4 `a/b`, a
//! backslash; 5 `a?b#c`; 6 CR, LF, TAB or NUL in any id; 7 another host or a URL as an id; 8 empty
//! or blank fields; 9 ids of 10 KB and 1 MB; 10 confusable and invisible characters in ids; 11 path
//! parameters, `ns;x=1`; 12 a workspace that would break its header; 13 the project_id of another
//! tenant; 14 job_id at and beyond its bounds; 15 job_id beyond 2^53; 16 savepoint_path of every
//! scheme; 17 savepoint_path with quotes, a backslash, NUL.
//!
//! Messages: 18 invalid UTF-8 in a string; 19 3 MB of unknown fields; 20 5,000 nested groups; 21 a
//! varint of 12 bytes; 22 a length prefix of 0xffffffff; 23 a gzip bomb; 24 gzip garbage, flag 2,
//! flag 1 without an encoding; 25 grpc-encoding br; 26 no message or two; 27 a message that is cut
//! short; 28 another content-type or none; 29 another HTTP method; 30 no `te: trailers`; 31 a
//! grpc-timeout that cannot be read; 32 a grpc-timeout that has passed; 33 17 KB of metadata; 34
//! uppercase, CR or NUL in headers; 35 connection headers, no :method; 36 metadata with a meaning
//! for a provider; 37 `-bin` metadata that is not base64.
//!
//! Connections: 38 rapid reset; 39 a flood of CONTINUATION; 40 an HPACK bomb of 30 MB; 41 a flood
//! of empty DATA; 42 a flood of PING; 43 a flood of SETTINGS; 44 connections without a preface; 45
//! one byte now and then; 46 never reading answers; 47 1,000 streams on one connection; 48
//! HTTP/1.1; 49 TLS on the plaintext port; 50 a client certificate that is expired, wrong or
//! missing.
//!
//! Responses: 52 a redirect to another host; 53 a redirect to http; 54 an answer without an end; 55
//! a gzip bomb as an answer; 56 is_success as text, number or null; 57 200 with is_success false;
//! 58 JSON that is not an object, a BOM, a trailing comma; 59 duplicate keys; 60 createdAt in every
//! form; 61 lone surrogates, invalid UTF-8, NUL; 62 JSON nested 100,000 deep; 63 an unknown state;
//! 64 another savepoint than the one requested; 65 COMPLETED with a failure, FAILED without one; 66
//! an error code of two quotes, 200 inside of 403; 67 an error text with secrets, controls, 1 MB;
//! 68 two lengths, 600 KB of headers, 500 interim answers; 69 an import whose answer breaks off; 70
//! a provider's certificate that is not trusted; 71 DNS that points inside the network.
//!
//! The gateway itself: 51 a panic in a handler; 72 an http endpoint, an endpoint with a password;
//! 73 the HTTP library's error texts; 74 Debug of what holds secrets; 75 names from strangers in
//! metrics; 76 1,000 imports cancelled at once; 77 a clock that is wrong; 78 credential files with
//! every defect.
//!
//! Connections without an end: 79 the places of the admin port held by strangers, idle or with
//! calls; 80 no first call, or PINGs only; 81 a side that ends after its request; 82 a window of 0
//! to 5 bytes, one that grows byte by byte, one of the connection, a socket that is not read; 83
//! health watches, reflection streams and requests without an end during a drain and at a
//! connection's age.
//!
//! Memory: 84 messages that lack their last byte, on every port, in every service, in frames of
//! every size; 85 calls of headers alone, with metadata that compresses well or not; 86 these and
//! the largest answers at once, in a sidecar.
//!
//! Watches: 87 a watcher that never reads; 88 257 watches on one connection; 89 a watch that is reset
//! at any stage, or whose connection is closed; 90 polls that contradict themselves or each other; 91
//! a watch that is not one valid message; 92 a page that leaves its watch.

/// Responses of a provider that is broken.
mod answers;
/// Requests with invalid fields, or with fields that address another resource.
mod fields;
/// Peers that flood, stall or hang.
mod floods;
/// Isolation of calls: panics, metrics, limits.
mod isolation;
/// What callers can make the process hold.
mod memory;
/// Requests that are not well-formed gRPC.
mod messages;
/// Pages in browsers that may not call.
mod pages;
/// Peers that take places and say nothing, or end their side early.
mod silence;
/// Watches that are misused, and polls that contradict themselves.
mod streams;
/// The check that each input has a test.
mod table;
/// Peers that do not read, or read too slowly.
mod unread;
/// Handwritten HTTP/2 frames.
pub(crate) mod wire;
