//! What policies remember of one object: the one that decides, and the one beside it in a trial. Touches
//! nothing. The rule of who reads what is [`weir_core::state`].

use parking_lot::Mutex;
use std::sync::Arc;
use weir_core::decision::Decision;
use weir_core::scaling::{Outcome, PolicyStamp};
use weir_core::state::{DroppedState, KeptState, StateVersions};

/// States of one object.
#[derive(Debug, Default)]
pub(super) struct States {
    live: KeptState,
    /// What the module remembers that is asked beside the one that decides.
    beside: Arc<Mutex<KeptState>>,
}

impl States {
    /// The state for the module that decides, or what it is not handed. Where the module before left nothing
    /// that it can read, it goes on from what itself remembered while it was asked beside.
    pub(super) fn hand_to(&mut self, stamp: &PolicyStamp, versions: &StateVersions) -> (Vec<u8>, Option<DroppedState>) {
        let (state, dropped) = self.live.hand_to(stamp, versions);
        if !state.is_empty() || self.live.is_of(stamp) {
            return (state.to_vec(), None);
        }
        let mut beside = self.beside.lock();
        if !beside.is_of(stamp) {
            return (Vec::new(), dropped);
        }
        std::mem::swap(&mut self.live, &mut beside);
        (self.live.hand_to(stamp, versions).0.to_vec(), None)
    }

    /// The state for the module that is asked beside: its own, or what it could read if it took over now.
    pub(super) fn hand_beside(&self, stamp: &PolicyStamp, versions: &StateVersions) -> Vec<u8> {
        let beside = self.beside.lock();
        let kept = if beside.is_of(stamp) { &beside } else { &self.live };
        kept.hand_to(stamp, versions).0.to_vec()
    }

    /// Where the module beside keeps what it answers, also when it does so after the next decision.
    pub(super) fn keeper_beside(&self, stamp: PolicyStamp, versions: StateVersions) -> impl FnOnce(&Outcome) + Send + use<> {
        let beside = self.beside.clone();
        move |outcome| beside.lock().keep(&stamp, &versions, outcome)
    }

    /// Keeps what a decision leaves to the next one.
    pub(super) fn follow(&mut self, decision: &Decision, versions: &StateVersions) {
        if let (Some(stamp), Some(invocation)) = (&decision.policy, &decision.invocation) {
            self.live.keep(stamp, versions, &invocation.outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::ids::{Digest, ObjectRef};
    use weir_core::scaling::{Proposal, Rationale};

    fn module(version: u32) -> (PolicyStamp, StateVersions) {
        let name = version.to_string();
        let stamp = PolicyStamp { object: ObjectRef::new("logs", "rule"), digest: Digest::of(name.as_bytes()), name: "calm".into(), version: name };
        (stamp, StateVersions::new(version, vec![]))
    }

    fn proposes(state: &[u8]) -> Outcome {
        Outcome::Proposal(Proposal { replicas: 1, rationale: Rationale::default(), state: state.to_vec() })
    }

    /// Module 1 decides and remembers `live`, module 2 is asked beside and remembers `[2]`.
    fn on_trial(live: &[u8]) -> States {
        let ((first, one), (second, two)) = (module(1), module(2));
        let mut states = States::default();
        states.live.keep(&first, &one, &proposes(live));
        assert!(states.hand_beside(&second, &two).is_empty(), "it can't read what the other wrote");
        states.keeper_beside(second.clone(), two.clone())(&proposes(&[2]));
        assert_eq!(states.hand_beside(&second, &two), [2]);
        states
    }

    #[test]
    fn a_module_that_was_asked_beside_goes_on_with_its_own() {
        for live in [&[1][..], &[]] {
            let (mut states, (second, two)) = (on_trial(live), module(2));
            assert_eq!(states.hand_to(&second, &two), (vec![2], None));
            let (first, one) = module(1);
            assert_eq!(states.hand_beside(&first, &one), live, "the one that decided before is asked beside now");
            assert_eq!(states.hand_to(&first, &one), (live.to_vec(), None), "and back");
        }
    }

    #[test]
    fn what_it_can_read_of_the_live_state_comes_before_its_own() {
        let (mut states, (second, _)) = (on_trial(&[1]), module(2));
        assert_eq!(states.hand_to(&second, &StateVersions::new(2, vec![1])), (vec![1], None));
    }

    #[test]
    fn a_module_that_comes_out_of_nothing_begins_without_and_says_so() {
        let (mut states, (third, three)) = (on_trial(&[1]), module(3));
        let (state, dropped) = states.hand_to(&third, &three);
        assert_eq!((state, dropped.map(|dropped| (dropped.version, dropped.writer))), (vec![], Some((1, "calm 1".to_owned()))));
    }
}
