//! Each caller's share of a limit, so that one that calls without end does not keep out the rest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::caller::Caller;

/// How much of a limit each caller holds. Callers that hold nothing take no memory.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    held: Mutex<HashMap<Caller, usize>>,
}

impl Shares {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// Takes this much for a caller, until it is dropped; none if that is more than its share.
    pub(crate) fn take(self: &Arc<Self>, caller: &Caller, amount: usize) -> Option<Share> {
        let mut held = self.lock();
        let before = held.get(caller).copied().unwrap_or_default();
        let after = before.checked_add(amount).filter(|after| *after <= self.most)?;
        held.insert(caller.clone(), after);
        Some(Share { shares: Arc::clone(self), caller: caller.clone(), amount })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Caller, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    caller: Caller,
    amount: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.shares.lock().entry(self.caller.clone()) {
            match held.get().saturating_sub(self.amount) {
                0 => drop(held.remove()),
                left => *held.get_mut() = left,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_share_and_gives_it_back() {
        let shares = Shares::new(3);
        let (one, other) = (Caller::user(1), Caller::user(2));
        let held = [1, 2].map(|amount| shares.take(&one, amount).unwrap());
        assert!(shares.take(&one, 1).is_none());
        let of_other = shares.take(&other, 3).unwrap();
        assert!(shares.take(&other, usize::MAX).is_none());
        drop(held);
        let again = shares.take(&one, 3).unwrap();
        drop((again, of_other));
        assert!(shares.lock().is_empty());
    }
}
