//! What a policy decides on. Touches nothing. A component is loaded as one kind; each has a world of
//! `weir:policy` and a function `decide` with types of its own.

use crate::abi;
use std::fmt;

/// Kinds of policies, one for each world of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// How many replicas.
    #[default]
    Scaling,
    /// Which node owns which partition.
    Placement,
}

impl PolicyKind {
    /// The interface whose `decide` the component exports.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Scaling => abi::SCALING,
            Self::Placement => abi::placement::PLACEMENT,
        }
    }

    /// The world that the component is built for.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::Scaling => "weir:policy/scaling-policy",
            Self::Placement => "weir:policy/placement-policy",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scaling => "scaling",
            Self::Placement => "placement",
        })
    }
}
