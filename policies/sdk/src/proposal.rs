//! What a policy answers: a proposal with its reasons, or a refusal. Touches nothing.

/// The most replicas that a proposal may name: the largest number of pods that Kubernetes supports
/// in one cluster (kubernetes.io, "Considerations for large clusters"). The host takes more for a
/// fault of the policy and holds what is.
pub const MAX_REPLICAS: u32 = 150_000;

/// Longest sentence in characters.
pub const MAX_SENTENCE: usize = 1024;

/// Most numbers of a rationale.
pub const MAX_NUMBERS: usize = 32;

/// A number that took part in a decision, for people who read it later.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// For example `rate`.
    pub name: String,
    /// Finite.
    pub value: f64,
    /// UCUM-style unit, for example `records/s`, `s`, `1`.
    pub unit: String,
}

/// How many replicas a policy wants, why, and what it wants to remember.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Proposal<S = ()> {
    /// Wanted replicas. The host clamps them to its guardrails.
    pub replicas: u32,
    /// Stable CamelCase word for machines.
    pub code: String,
    /// One sentence for people.
    pub sentence: String,
    /// The numbers that decided.
    pub numbers: Vec<Number>,
    /// What the next decision on this object is handed.
    pub state: S,
}

impl Proposal {
    /// That many replicas. Say why with [`because`](Self::because).
    pub fn replicas(replicas: u32) -> Self {
        Self { replicas, code: "Proposed".into(), sentence: String::new(), numbers: Vec::new(), state: () }
    }

    /// The same proposal, remembering `state` for the next decision.
    pub fn remember<S>(self, state: S) -> Proposal<S> {
        Proposal { replicas: self.replicas, code: self.code, sentence: self.sentence, numbers: self.numbers, state }
    }
}

impl<S> Proposal<S> {
    /// Says why: a stable CamelCase word for machines and one sentence for people, cut at
    /// [`MAX_SENTENCE`] characters.
    pub fn because(mut self, code: &str, sentence: impl Into<String>) -> Self {
        self.code = code.into();
        self.sentence = cut(sentence.into());
        self
    }

    /// Adds a number that took part. One that is not finite says nothing and is left out, as is
    /// each beyond [`MAX_NUMBERS`].
    pub fn number(mut self, name: &str, value: f64, unit: &str) -> Self {
        add_number(&mut self.numbers, name, value, unit);
        self
    }

    /// The number of that name, for tests.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|number| number.name == name).map(|number| number.value)
    }
}

/// A policy that can't or won't propose. The host holds what is and records the refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable CamelCase word for machines.
    pub code: String,
    /// One sentence for people.
    pub sentence: String,
}

impl Refusal {
    /// A refusal with a stable CamelCase word and one sentence.
    #[must_use]
    pub fn new(code: &str, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), sentence: cut(sentence.into()) }
    }

    /// `NotEnoughSamples`: too little was measured of late to decide on.
    #[must_use]
    pub fn not_enough_samples() -> Self {
        Self::new("NotEnoughSamples", "Too few samples were measured of late to decide on.")
    }

    /// `CapacityUnknown`: nobody knows what one replica can process.
    #[must_use]
    pub fn capacity_unknown() -> Self {
        Self::new(
            "CapacityUnknown",
            "What one replica can process is neither declared nor learnt yet: set `spec.capacityPerReplica`, or wait until a saturated replica shows it.",
        )
    }
}

pub(crate) fn add_number(numbers: &mut Vec<Number>, name: &str, value: f64, unit: &str) {
    if value.is_finite() && numbers.len() < MAX_NUMBERS {
        numbers.push(Number { name: name.into(), value, unit: unit.into() });
    }
}

pub(crate) fn cut(mut sentence: String) -> String {
    if let Some((end, _)) = sentence.char_indices().nth(MAX_SENTENCE) {
        sentence.truncate(end);
    }
    sentence
}

/// The fewest replicas that together process `load`, when one processes `per_replica` (same unit).
///
/// Rounds up, but a hair above a whole number (1 part in 10⁹, as repeated additions leave) is that
/// number. 0 for no load; [`MAX_REPLICAS`] when the quotient is larger or is no number.
#[must_use]
pub fn replicas_for(load: f64, per_replica: f64) -> u32 {
    let quotient = load / per_replica;
    let whole = quotient.round();
    let rounded = if (quotient - whole).abs() <= whole.abs() * 1e-9 { whole } else { quotient.ceil() };
    if rounded.is_nan() { MAX_REPLICAS } else { to_u32(rounded.clamp(0.0, f64::from(MAX_REPLICAS))) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the caller bounds it to 0..=MAX_REPLICAS
fn to_u32(bounded: f64) -> u32 {
    bounded as u32
}

/// A number as people write it in a sentence: whole from 100 on, one decimal from 10 on, else two.
///
/// Costs a tenth of the code that `{:.2}` brings into a component.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    if !size.is_finite() || size >= 1e15 {
        return if value.is_nan() {
            "nothing"
        } else if value > 0.0 {
            "over 10^15"
        } else {
            "under -10^15"
        }
        .into();
    }
    let decimals = if size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    let scale = [1, 10, 100].get(decimals).copied().unwrap_or(1_u64);
    let scaled = to_u64((size * scale as f64).round());
    let sign = if value < 0.0 && scaled > 0 { "-" } else { "" };
    let (whole, rest) = (scaled / scale, scaled % scale);
    match (decimals, rest) {
        (0, _) | (_, 0) => format!("{sign}{whole}"),
        (1, _) => format!("{sign}{whole}.{rest}"),
        _ if rest % 10 == 0 => format!("{sign}{whole}.{}", rest / 10),
        _ => format!("{sign}{whole}.{rest:02}"),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the caller bounds it to 0..=1e15
fn to_u64(bounded: f64) -> u64 {
    bounded as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_round_up_and_never_leave_their_bounds() {
        let cases = [(0.0, 0), (1.0, 1), (100.0, 1), (100.1, 2), (0.1 * 3.0 * 1000.0, 3), (1e300, MAX_REPLICAS), (-5.0, 0), (f64::NAN, MAX_REPLICAS)];
        for (load, replicas) in cases {
            assert_eq!(replicas_for(load, 100.0), replicas, "{load}");
        }
        assert_eq!((replicas_for(5.0, 0.0), replicas_for(0.0, 0.0)), (MAX_REPLICAS, MAX_REPLICAS));
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        let cases = [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.25, "0.25"),
            (6.789, "6.79"),
            (1.05, "1.05"),
            (9.999, "10"),
            (12.34, "12.3"),
            (99.99, "100"),
            (1234.5, "1235"),
            (-2.5, "-2.5"),
            (-0.001, "0"),
            (f64::NAN, "nothing"),
            (1e20, "over 10^15"),
        ];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn what_the_host_would_reject_is_left_out_or_cut() {
        let mut proposal = Proposal::replicas(1).because("Why", "ü".repeat(2000)).number("bad", f64::NAN, "1");
        for _ in 0..50 {
            proposal = proposal.number("n", 1.0, "1");
        }
        assert_eq!((proposal.sentence.chars().count(), proposal.numbers.len(), proposal.get("bad")), (1024, 32, None));
    }
}
