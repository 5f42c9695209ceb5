//! A memory of bounded size.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How much is remembered.
const MOST: usize = 1000;

/// Values by their keys. When there are too many, the one that was added first is forgotten.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    values: HashMap<K, V>,
    /// The keys, oldest first.
    keys: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), keys: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    /// The value, which is added if there is none.
    pub(super) fn get_or_add(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if !self.values.contains_key(&key) {
            if self.keys.len() >= MOST
                && let Some(oldest) = self.keys.pop_front()
            {
                self.values.remove(&oldest);
            }
            self.keys.push_back(key.clone());
        }
        self.values.entry(key).or_insert_with(new)
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&V) -> bool) {
        let before = self.values.len();
        self.values.retain(|_, value| is_kept(value));
        if self.values.len() < before {
            self.keys.retain(|key| self.values.contains_key(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = Recent::default();
        for number in 0..MOST + 2 {
            assert_eq!(*recent.get_or_add(number, || number), number);
            // The same again adds nothing.
            *recent.get_or_add(number, || 0) += 1;
        }
        assert_eq!((recent.get(&1), recent.get(&2)), (None, Some(&3)));
        recent.retain(|value| value % 2 == 0);
        assert_eq!((recent.values.len(), recent.keys.len()), (MOST / 2, MOST / 2));
        assert_eq!(recent.keys.front(), Some(&3));
    }
}
