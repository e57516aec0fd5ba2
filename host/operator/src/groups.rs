//! Entries by a key that several have in common: a map of maps that holds no empty ones. Touches nothing.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Members by key. `V` is what each member has besides its name; nothing by default.
#[derive(Debug)]
pub(crate) struct Groups<K, M, V = ()>(HashMap<K, BTreeMap<M, V>>);

impl<K, M, V> Default for Groups<K, M, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, M: Ord, V> Groups<K, M, V> {
    /// Puts a member under a key. What it had there before.
    pub(crate) fn insert(&mut self, key: K, member: M, value: V) -> Option<V> {
        self.0.entry(key).or_default().insert(member, value)
    }

    /// Takes a member away.
    pub(crate) fn remove<Q, N>(&mut self, key: &Q, member: &N) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        M: Borrow<N>,
        N: Ord + ?Sized,
    {
        let group = self.0.get_mut(key)?;
        let removed = group.remove(member);
        if group.is_empty() {
            self.0.remove(key);
        }
        removed
    }

    /// A member.
    pub(crate) fn get<Q, N>(&self, key: &Q, member: &N) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        M: Borrow<N>,
        N: Ord + ?Sized,
    {
        self.0.get(key)?.get(member)
    }

    /// The members under a key, in order.
    pub(crate) fn of<Q>(&self, key: &Q) -> impl Iterator<Item = (&M, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(key).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_with_its_last_member() {
        let mut groups: Groups<String, &str, u8> = Groups::default();
        assert_eq!((groups.insert("a".to_owned(), "x", 1), groups.insert("a".to_owned(), "x", 2)), (None, Some(1)));
        groups.insert("a".to_owned(), "b", 3);
        assert_eq!(groups.of("a").map(|(member, value)| (*member, *value)).collect::<Vec<_>>(), [("b", 3), ("x", 2)]);
        assert_eq!((groups.get("a", "x"), groups.get("b", "x")), (Some(&2), None));
        assert_eq!((groups.remove("a", "x"), groups.remove("a", "x"), groups.remove("a", "b")), (Some(2), None, Some(3)));
        assert!(groups.0.is_empty());
    }
}
