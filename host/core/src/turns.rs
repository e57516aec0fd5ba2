//! A queue that takes turns: items wait by owner, and each owner gets one out before another gets a second.
//! Touches nothing; the operator's decision pool lets namespaces take turns with it.

use std::collections::{BTreeMap, VecDeque};

/// Items in the order of their owners' turns.
#[derive(Clone, Debug)]
pub struct Turns<K, T> {
    waiting: BTreeMap<K, VecDeque<T>>,
    /// Owners with items, each once; the next first.
    order: VecDeque<K>,
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Clone, T> Turns<K, T> {
    /// An item waits. Its owner's turn comes after that of all owners who wait now.
    pub fn push(&mut self, owner: K, item: T) {
        let items = self.waiting.entry(owner).or_insert_with_key(|owner| {
            self.order.push_back(owner.clone());
            VecDeque::new()
        });
        items.push_back(item);
    }

    /// The next item: the oldest of the owner whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let owner = self.order.pop_front()?;
        let items = self.waiting.get_mut(&owner)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.waiting.remove(&owner);
        } else {
            self.order.push_back(owner);
        }
        item
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quiet_owner_does_not_wait_for_all_of_a_noisy_one() {
        let mut turns = Turns::default();
        for number in 0..100 {
            turns.push("noisy", number);
        }
        assert_eq!(turns.pop(), Some(0));
        turns.push("quiet", 1000);
        assert_eq!((turns.pop(), turns.pop(), turns.pop()), (Some(1), Some(1000), Some(2)));
    }

    proptest! {
        /// Everybody's first come out before anybody's second, and so on; of one owner the oldest first.
        #[test]
        fn items_come_out_in_rounds(owners in prop::collection::vec(0_u8..6, 0..200)) {
            let (mut turns, mut counts) = (Turns::default(), [0_usize; 6]);
            for owner in &owners {
                let round = counts[usize::from(*owner)];
                counts[usize::from(*owner)] += 1;
                turns.push(*owner, (round, *owner));
            }
            prop_assert_eq!((turns.len(), turns.is_empty()), (owners.len(), owners.is_empty()));
            let out: Vec<(usize, u8)> = std::iter::from_fn(|| turns.pop()).collect();
            prop_assert_eq!(out.len(), owners.len());
            prop_assert!(out.is_sorted_by_key(|(round, _)| *round), "{out:?}");
            prop_assert!(turns.is_empty());
        }
    }
}
