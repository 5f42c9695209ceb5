//! What fuzz targets and benchmarks reach of the server's inside.
//!
//! Like [`crate::inside`], it is in no release.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::Frames;
use crate::error::Error;

/// Reads the one message of a unary call.
pub async fn unary<B>(body: B, most: usize) -> Result<Bytes, Error>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    super::unary::read(body, most).await
}

/// Watches the frames in these bytes, which arrive in pieces of this size; how many bytes
/// were let through, the preface before them, or why the connection ended.
pub async fn frames(sent: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let (mut peer, stream) = tokio::io::duplex(sent.len().max(1));
    peer.write_all(sent).await?;
    drop(peer);
    let mut frames = Frames::new(stream, Duration::from_secs(10));
    let (mut passed, mut buffer) = (Vec::new(), vec![0; piece.max(1)]);
    loop {
        match frames.read(&mut buffer).await? {
            0 => return Ok(passed),
            read => passed.extend_from_slice(&buffer[..read]),
        }
    }
}
