//! Messages as JSON, as gRPC clients print them.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::pb;

/// Longer lines are hard to read on a terminal.
const LINE: usize = 160;

/// The messages of the contract.
pub(super) struct Messages(DescriptorPool);

impl Messages {
    pub(super) fn new() -> Result<Self, prost_reflect::DescriptorError> {
        DescriptorPool::decode(pb::DESCRIPTOR).map(Self)
    }

    /// A message of `savepoint.v1` as JSON: on one line if it fits, else indented.
    pub(super) fn json(&self, name: &str, message: &impl Message) -> String {
        // Every message of the contract can be converted.
        let message = self.dynamic(name, message);
        let line = message.as_ref().and_then(|message| serde_json::to_string(message).ok());
        match line {
            Some(line) if line.len() <= LINE => line,
            _ => serde_json::to_string_pretty(&message).unwrap_or_default(),
        }
    }

    fn dynamic(&self, name: &str, message: &impl Message) -> Option<DynamicMessage> {
        let descriptor = self.0.get_message_by_name(&format!("savepoint.v1.{name}"))?;
        DynamicMessage::decode(descriptor, &*message.encode_to_vec()).ok()
    }
}
