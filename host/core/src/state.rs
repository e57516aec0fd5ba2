//! What a policy remembers between two decisions on an object, and what becomes of it when another module
//! takes over. Touches nothing.
//!
//! The host keeps the bytes of the last proposal together with who wrote them and in which version. The
//! next module is handed them when it is of the same rule and says that it can read that version; if not,
//! it begins with none, and the decision says so. Bytes stay until another proposal replaces them: a module
//! that is rolled back before it proposed anything has cost no memory.

use crate::ids::Digest;
use crate::scaling::{Outcome, PolicyStamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which state a module writes and can read, as its `describe` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateVersions {
    version: u32,
    reads: Vec<u32>,
}

impl StateVersions {
    /// A module that writes `version` and can read `reads` as well. Version 0 is that of a module which
    /// tells none.
    #[must_use]
    pub fn new(version: u32, mut reads: Vec<u32>) -> Self {
        reads.retain(|read| *read != version);
        reads.sort_unstable();
        reads.dedup();
        Self { version, reads }
    }

    /// The version that it writes; 0: it tells none.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The versions besides its own that it can read, ascending.
    #[must_use]
    pub fn reads(&self) -> &[u32] {
        &self.reads
    }

    /// Whether it can read what another module of the same rule wrote. Nobody vouches for version 0 but
    /// a module that names it.
    #[must_use]
    pub fn can_read(&self, version: u32) -> bool {
        (version == self.version && version != 0) || self.reads.contains(&version)
    }
}

/// Whether one module is handed what another one wrote in a version of its own: the same bytes, or a module
/// of the same object and rule that can read that version.
#[must_use]
pub fn reads((reader, versions): (&PolicyStamp, &StateVersions), (writer, version): (&PolicyStamp, u32)) -> bool {
    let same_rule = || writer.name == reader.name && versions.can_read(version);
    writer.object == reader.object && (writer.digest == reader.digest || same_rule())
}

/// For people: `version 2, reads 0, 1`.
impl fmt::Display for StateVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        let reads: Vec<String> = self.reads.iter().map(ToString::to_string).collect();
        if reads.is_empty() { Ok(()) } else { write!(f, ", reads {}", reads.join(", ")) }
    }
}

/// A state that was not handed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedState {
    /// Version that it has.
    pub version: u32,
    /// Bytes that it has.
    pub bytes: u32,
    /// Name and version of the rule that wrote it, for example `calm 0.1.0`.
    pub writer: String,
    /// Digest of the module that wrote it.
    pub digest: Digest,
}

impl DroppedState {
    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("the policy began without the state ({} bytes, version {}) that {} left, which it can't read", self.bytes, self.version, self.writer)
    }
}

/// The state of one object as the host keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptState {
    bytes: Vec<u8>,
    /// Who wrote them, in which version; none before the first proposal.
    writer: Option<(PolicyStamp, u32)>,
}

impl KeptState {
    /// The bytes for a module, or what it is not handed; neither when nothing is kept.
    #[must_use]
    pub fn hand_to(&self, stamp: &PolicyStamp, versions: &StateVersions) -> (&[u8], Option<DroppedState>) {
        let Some((writer, version)) = self.writer.as_ref().filter(|_| !self.bytes.is_empty()) else { return (&[], None) };
        if reads((stamp, versions), (writer, *version)) {
            return (&self.bytes, None);
        }
        let dropped = DroppedState {
            version: *version,
            bytes: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            writer: format!("{} {}", writer.name, writer.version),
            digest: writer.digest,
        };
        (&[], Some(dropped))
    }

    /// Whether this module wrote it.
    #[must_use]
    pub fn is_of(&self, stamp: &PolicyStamp) -> bool {
        self.writer.as_ref().is_some_and(|(writer, _)| writer.digest == stamp.digest && writer.object == stamp.object)
    }

    /// Keeps what a module returned. Whatever is no proposal leaves things as they are.
    pub fn keep(&mut self, stamp: &PolicyStamp, versions: &StateVersions, outcome: &Outcome) {
        let Outcome::Proposal(proposal) = outcome else { return };
        self.bytes.clone_from(&proposal.state);
        if self.writer.as_ref().is_none_or(|(writer, version)| writer != stamp || *version != versions.version) {
            self.writer = Some((stamp.clone(), versions.version));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ObjectRef;
    use crate::scaling::{Proposal, Rationale, Refusal};
    use rstest::rstest;

    fn stamp(object: &str, name: &str, module: &str) -> PolicyStamp {
        PolicyStamp { object: ObjectRef::new("logs", object), digest: Digest::of(module.as_bytes()), name: name.into(), version: module.into() }
    }

    fn proposes(state: &[u8]) -> Outcome {
        Outcome::Proposal(Proposal { replicas: 1, rationale: Rationale::default(), state: state.to_vec() })
    }

    /// What module 1 of the rule `calm` wrote for `logs/policy`.
    fn kept(version: u32) -> KeptState {
        let mut kept = KeptState::default();
        kept.keep(&stamp("policy", "calm", "1"), &StateVersions::new(version, vec![]), &proposes(&[7, 8]));
        kept
    }

    #[rstest]
    #[case::the_same_module(0, ("policy", "calm", "1"), (0, &[][..]), true)]
    #[case::the_same_module_that_tells_versions(3, ("policy", "calm", "1"), (3, &[][..]), true)]
    #[case::a_new_module_of_the_same_version(1, ("policy", "calm", "2"), (1, &[][..]), true)]
    #[case::a_new_version_that_reads_the_old_one(1, ("policy", "calm", "2"), (2, &[1][..]), true)]
    #[case::a_new_version_that_does_not(1, ("policy", "calm", "2"), (2, &[][..]), false)]
    #[case::back_to_an_old_version(2, ("policy", "calm", "2"), (1, &[][..]), false)]
    #[case::modules_that_tell_nothing(0, ("policy", "calm", "2"), (0, &[][..]), false)]
    #[case::from_one_that_tells_nothing_by_name(0, ("policy", "calm", "2"), (1, &[0][..]), true)]
    #[case::to_one_that_tells_nothing(1, ("policy", "calm", "2"), (0, &[][..]), false)]
    #[case::another_rule(1, ("policy", "brisk", "2"), (1, &[][..]), false)]
    #[case::another_object(1, ("other", "calm", "1"), (1, &[][..]), false)]
    fn a_state_is_handed_to_who_can_read_it(
        #[case] written: u32,
        #[case] (object, name, module): (&str, &str, &str),
        #[case] (version, reads): (u32, &[u32]),
        #[case] handed: bool,
    ) {
        let kept = kept(written);
        let (bytes, dropped) = kept.hand_to(&stamp(object, name, module), &StateVersions::new(version, reads.to_vec()));
        assert_eq!((bytes, dropped.is_none()), if handed { (&[7, 8][..], true) } else { (&[][..], false) });
    }

    #[test]
    fn what_is_not_handed_on_says_whose_it_is() {
        let kept = kept(1);
        let (_, dropped) = kept.hand_to(&stamp("policy", "calm", "2"), &StateVersions::new(2, vec![]));
        assert_eq!(dropped.unwrap().sentence(), "the policy began without the state (2 bytes, version 1) that calm 1 left, which it can't read");
    }

    #[test]
    fn a_state_lasts_until_a_proposal_replaces_it() {
        let (mut kept, new, versions) = (kept(1), stamp("policy", "calm", "2"), StateVersions::new(2, vec![]));
        kept.keep(&new, &versions, &Outcome::Refusal(Refusal { code: "No".into(), sentence: String::new() }));
        assert_eq!(kept, self::kept(1), "who is rolled back now has cost nothing");
        kept.keep(&new, &versions, &proposes(&[]));
        for stamp in [new, stamp("policy", "calm", "1")] {
            assert_eq!(kept.hand_to(&stamp, &versions), (&[][..], None), "nothing is kept, and nothing is lost");
        }
    }

    #[test]
    fn versions_are_told_in_order_and_once() {
        let versions = StateVersions::new(3, vec![2, 0, 3, 2]);
        assert_eq!((versions.reads(), versions.to_string().as_str()), (&[0, 2][..], "version 3, reads 0, 2"));
        assert_eq!(StateVersions::new(1, vec![]).to_string(), "version 1");
    }
}
