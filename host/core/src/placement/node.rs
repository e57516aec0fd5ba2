//! Whether a node answers, and what follows from that. Touches nothing; the operator says at each tick
//! whether each node answered.

use crate::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// What may be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// It has not answered yet.
    Starting,
    /// It answers: it may be given partitions.
    Ready,
    /// It answers and is meant to go: it is given none, and those that it owns should move.
    Cordoned,
    /// It has not answered for a moment: it keeps what it owns and is given none.
    Silent,
    /// It has not answered for longer than the node timeout: what it owns gets new owners.
    Lost,
    /// It answers again after it came and went too often: it is given none for a while.
    Quarantined,
    /// It answers and its disk takes no more: what it owns gets new owners.
    Full,
}

impl NodeState {
    /// The stable word, for example `Ready`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Ready => "Ready",
            Self::Cordoned => "Cordoned",
            Self::Silent => "Silent",
            Self::Lost => "Lost",
            Self::Quarantined => "Quarantined",
            Self::Full => "Full",
        }
    }

    /// True when it may be given partitions.
    #[must_use]
    pub const fn takes(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// True when what it owns gets new owners whatever a policy says.
    #[must_use]
    pub const fn forfeits(self) -> bool {
        matches!(self, Self::Lost | Self::Full)
    }
}

/// When a node counts as lost, and when one that comes and goes is quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverRules {
    /// Milliseconds without an answer after which a node is lost.
    pub node_timeout_ms: i64,
    /// Losses within the window after which a node is quarantined; 0: never.
    pub losses: u32,
    /// Milliseconds that losses count.
    pub window_ms: i64,
    /// Milliseconds without a break that a quarantined node has to answer.
    pub quarantine_ms: i64,
}

/// What is seen of a node at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sight {
    /// It answered and takes records.
    Answers,
    /// It answered and its disk takes no more.
    Full,
    /// It was asked and did not answer.
    Silent,
    /// It was not asked: nothing follows from that.
    Unknown,
}

/// What is remembered of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Since when it has answered without a break.
    answers_since: Option<UnixMs>,
    /// Since when it has been silent.
    silent_since: Option<UnixMs>,
    /// It is held to be lost.
    lost: bool,
    full: bool,
    /// When it was lost, within the window.
    losses: Vec<UnixMs>,
    /// It has to answer for the whole quarantine before it is given anything.
    quarantined: bool,
}

impl Liveness {
    /// Takes in what was seen.
    pub fn see(&mut self, now: UnixMs, sight: Sight, rules: &FailoverRules) {
        self.losses.retain(|at| now.since(*at) < rules.window_ms);
        match sight {
            Sight::Unknown => {}
            Sight::Answers | Sight::Full => {
                self.full = sight == Sight::Full;
                if self.lost {
                    self.lost = false;
                    self.quarantined |= rules.losses > 0 && self.losses.len() >= usize::try_from(rules.losses).unwrap_or(usize::MAX);
                }
                self.silent_since = None;
                let since = *self.answers_since.get_or_insert(now);
                if now.since(since) >= rules.quarantine_ms {
                    self.quarantined = false;
                }
            }
            Sight::Silent => {
                self.answers_since = None;
                let since = *self.silent_since.get_or_insert(now);
                if !self.lost && now.since(since) >= rules.node_timeout_ms {
                    self.lost = true;
                    self.losses.push(now);
                }
            }
        }
    }

    /// What may be done with the node. `cordoned`: it is meant to go.
    #[must_use]
    pub const fn state(&self, cordoned: bool) -> NodeState {
        if self.lost {
            NodeState::Lost
        } else if self.silent_since.is_some() {
            NodeState::Silent
        } else if self.answers_since.is_none() {
            NodeState::Starting
        } else if self.full {
            NodeState::Full
        } else if cordoned {
            NodeState::Cordoned
        } else if self.quarantined {
            NodeState::Quarantined
        } else {
            NodeState::Ready
        }
    }

    /// Since when it has been silent, while it is.
    #[must_use]
    pub const fn silent_since(&self) -> Option<UnixMs> {
        self.silent_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: FailoverRules = FailoverRules { node_timeout_ms: 15_000, losses: 2, window_ms: 600_000, quarantine_ms: 60_000 };

    fn states(sights: &[(i64, Sight)]) -> Vec<NodeState> {
        let mut node = Liveness::default();
        sights
            .iter()
            .map(|(second, sight)| {
                node.see(UnixMs(second * 1000), *sight, &RULES);
                node.state(false)
            })
            .collect()
    }

    #[test]
    fn a_node_is_lost_after_its_timeout_and_not_before() {
        use NodeState::{Lost, Ready, Silent, Starting};
        use Sight::{Answers, Unknown};
        assert_eq!(
            states(&[(0, Unknown), (1, Answers), (2, Sight::Silent), (16, Sight::Silent), (17, Sight::Silent), (18, Unknown), (19, Answers)]),
            [Starting, Ready, Silent, Silent, Lost, Lost, Ready]
        );
    }

    #[test]
    fn one_answer_in_time_begins_the_timeout_anew() {
        use Sight::{Answers, Silent};
        assert_eq!(states(&[(0, Silent), (14, Silent), (14, Answers), (15, Silent), (29, Silent)])[4], NodeState::Silent);
    }

    #[test]
    fn who_is_not_asked_is_never_lost() {
        assert_eq!(states(&[(0, Sight::Answers), (3600, Sight::Unknown)])[1], NodeState::Ready);
    }

    #[test]
    fn a_node_that_comes_and_goes_is_quarantined_until_it_has_stayed() {
        use NodeState::{Lost, Quarantined, Ready};
        use Sight::{Answers, Silent};
        let seen = states(&[(0, Silent), (15, Silent), (20, Answers), (30, Silent), (45, Silent), (50, Answers), (109, Answers), (110, Answers)]);
        assert_eq!(seen[1..3], [Lost, Ready]);
        assert_eq!(seen[4..], [Lost, Quarantined, Quarantined, Ready]);
    }

    #[test]
    fn losses_of_long_ago_do_not_count() {
        use Sight::{Answers, Silent};
        assert_eq!(states(&[(0, Silent), (15, Silent), (20, Answers), (700, Silent), (715, Silent), (720, Answers)])[5], NodeState::Ready);
    }

    #[test]
    fn a_full_disk_and_a_cordon_are_told_while_the_node_answers() {
        let mut node = Liveness::default();
        node.see(UnixMs(0), Sight::Full, &RULES);
        assert_eq!((node.state(false), node.state(true)), (NodeState::Full, NodeState::Full));
        node.see(UnixMs(1), Sight::Answers, &RULES);
        assert_eq!((node.state(false), node.state(true)), (NodeState::Ready, NodeState::Cordoned));
    }
}
