//! One budget for the memory that callers make the process hold.
//!
//! Without it the number of connections times the number of streams times the size of a message
//! decides, which is far more than any process has.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use crate::caller::Caller;
use crate::policy::{self, Shares};
use crate::rpc::Error;
use crate::rpc::reason::{Outcome, Reason};
use crate::telemetry::Gauge;

/// What a call holds besides its metadata and its message: the state of its HTTP/2 stream, its
/// task with the futures of all layers, its record, and the request that was read from its message.
const CALL_BYTES: usize = 8 * 1024;

/// What a refused call holds until its status is written.
const REFUSAL_BYTES: usize = 4 * 1024;

/// The part of the budget that refusals may take in addition to it. Beyond that, streams are reset.
const REFUSALS_SHARE: usize = 8;

/// What a field takes in the header map, at most, besides its text.
const FIELD_BYTES: usize = 256;

/// A budget in bytes, which calls share.
#[derive(Debug, Clone)]
pub(crate) struct RequestMemory {
    budget: Arc<Budget>,
    /// Who holds it; none before that is known.
    caller: Option<Caller>,
}

#[derive(Debug)]
struct Budget {
    most: usize,
    /// The metric is the account.
    held: Gauge,
    /// What each caller holds, if that is limited.
    of_caller: Option<Arc<Shares>>,
}

/// Neither the call nor its refusal has room.
#[derive(Debug, thiserror::Error)]
#[error("the memory for calls is used up")]
pub(super) struct Exhausted;

/// What became of a call that arrived.
#[derive(Debug)]
pub(super) enum Admission {
    Admitted(Share),
    /// There is room for the status only.
    Refused(Share),
}

impl RequestMemory {
    /// A budget of `most` bytes, which is shown by this metric.
    pub(crate) fn new(most: usize, held: Gauge, of_caller: Option<Arc<Shares>>) -> Self {
        Self { budget: Arc::new(Budget { most, held, of_caller }), caller: None }
    }

    /// The same budget, for the calls of this caller.
    pub(super) fn of(&self, caller: &Caller) -> Self {
        Self { budget: Arc::clone(&self.budget), caller: Some(caller.clone()) }
    }

    /// For tests and benchmarks.
    #[cfg(any(test, feature = "internals"))]
    pub(super) fn unlimited() -> Self {
        Self::new(usize::MAX, Gauge::default(), None)
    }

    /// The share of a call with these headers.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Admission, Exhausted> {
        if let Ok(share) = self.take(CALL_BYTES + size_of_headers(headers)) {
            return Ok(Admission::Admitted(share));
        }
        let with_refusals = self.budget.most.saturating_add(self.budget.most / REFUSALS_SHARE);
        let share = self.share(REFUSAL_BYTES, with_refusals).ok_or(Exhausted)?;
        Ok(Admission::Refused(share))
    }

    /// A further share of a call.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] if there is no room.
    pub(super) fn take(&self, bytes: usize) -> Result<Share, Error> {
        let of_caller = match (&self.budget.of_caller, &self.caller) {
            (Some(shares), Some(caller)) => {
                Some(shares.take(caller, bytes).ok_or_else(overloaded)?)
            }
            _ => None,
        };
        let mut share = self.share(bytes, self.budget.most).ok_or_else(overloaded)?;
        share.of_caller = of_caller;
        Ok(share)
    }

    fn share(&self, bytes: usize, most: usize) -> Option<Share> {
        let signed = i64::try_from(bytes).ok()?;
        // Taken at once, so that two calls cannot both see the same room.
        let share = Share { memory: self.clone(), bytes: signed, of_caller: None };
        let before = self.budget.held.inc_by(signed);
        let fits = usize::try_from(before).is_ok_and(|before| before.saturating_add(bytes) <= most);
        fits.then_some(share)
    }
}

pub(super) fn overloaded() -> Error {
    let text = "the gateway holds as much of its callers' requests as it may; try again later";
    Error::new(Reason::Overloaded, text).with_outcome(Outcome::NotApplied)
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: RequestMemory,
    bytes: i64,
    of_caller: Option<policy::Share>,
}

impl Share {
    /// These bytes, which have this share of the budget for as long as they exist.
    pub(super) fn hold(self, bytes: Vec<u8>) -> Bytes {
        struct Held(Vec<u8>, #[expect(dead_code, reason = "to be dropped")] Share);

        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        Bytes::from_owner(Held(bytes, self))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.budget.held.dec_by(self.bytes);
    }
}

/// Many short fields take more memory than their text, and cost a caller one byte each.
fn size_of_headers(headers: &HeaderMap) -> usize {
    let text: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    text + headers.len() * FIELD_BYTES
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn memory(most: usize) -> RequestMemory {
        RequestMemory::new(most, Gauge::default(), None)
    }

    #[test]
    fn calls_share_one_budget_and_give_back_what_they_took() {
        let memory = memory(10 * CALL_BYTES);
        let none = HeaderMap::new();
        let mut held = Vec::new();
        let mut refused = Vec::new();
        loop {
            match memory.admit(&none) {
                Ok(Admission::Admitted(share)) => held.push(share),
                Ok(Admission::Refused(share)) => refused.push(share),
                Err(Exhausted) => break,
            }
        }
        assert_eq!(held.len(), 10);
        assert_eq!(refused.len(), 10 * CALL_BYTES / REFUSALS_SHARE / REFUSAL_BYTES);
        assert_eq!(memory.take(1).unwrap_err().reason(), Reason::Overloaded);
        drop(refused);
        held.pop();
        let rest = memory.take(CALL_BYTES).unwrap();
        assert!(memory.take(1).is_err());
        drop((held, rest));
        assert_eq!(memory.budget.held.get(), 0);
        drop(memory.take(10 * CALL_BYTES).unwrap());
    }

    #[test]
    fn short_fields_count_as_what_they_take() {
        let mut headers = HeaderMap::new();
        for _ in 0..500 {
            headers.append("a", HeaderValue::from_static(""));
        }
        assert!(size_of_headers(&headers) >= 500 * FIELD_BYTES, "{}", size_of_headers(&headers));
    }
}
