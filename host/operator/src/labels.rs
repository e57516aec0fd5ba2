//! Labels and annotations as the index holds them. Touches nothing.

use std::collections::BTreeMap;

/// Pairs of text, sorted by key: a twentieth of what a small `BTreeMap` takes, and there are several for
/// each pod and workload of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value.as_ref())
    }

    /// All pairs, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of an object whose keys are wanted.
    #[must_use]
    pub fn some(of: Option<&BTreeMap<String, String>>, wanted: impl Fn(&str) -> bool) -> Self {
        let pairs = of.into_iter().flatten().filter(|(key, _)| wanted(key));
        Self(pairs.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
    }
}

impl From<Option<&BTreeMap<String, String>>> for Labels {
    fn from(all: Option<&BTreeMap<String, String>>) -> Self {
        Self::some(all, |_| true)
    }
}
