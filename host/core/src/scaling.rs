//! What a scaling policy is given and what it answers: `wit/scaling.wit` as Rust types. Touches nothing.
//!
//! [`ScalingPolicy`] is the border to whatever runs the rule: the Wasm engine in the operator, the
//! simulator and the replay; a plain function in tests.

use crate::ids::{Digest, ObjectRef, UnixMs};
use crate::window::Window;
use serde::{Deserialize, Serialize};

/// A proposal above this many replicas is taken for a fault of the policy, not for a wish: the
/// largest number of pods that Kubernetes supports in one cluster
/// (kubernetes.io, "Considerations for large clusters").
pub const MAX_SENSIBLE_REPLICAS: u32 = 150_000;

/// What the user wants the object to achieve; an absent part is no objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    /// How old the oldest waiting record may get, in seconds.
    pub freshness: Option<f64>,
    /// Largest tolerated share of refused records, 0 to 1.
    pub refused_share: Option<f64>,
    /// Replica-hours a day that may be spent.
    pub replica_hours: Option<f64>,
}

/// Replicas as they are, and the bounds that the host will enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// What the workload asks for now.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that exist, are wanted, and are not yet ready.
    pub starting: u32,
    /// Lower bound.
    pub min: u32,
    /// Upper bound.
    pub max: u32,
}

/// What one replica can process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Records a second; absent when neither declared nor learnt yet.
    pub per_replica: Option<f64>,
    /// True when learnt from measurements, false when declared.
    pub learnt: bool,
    /// Seconds from a changed replica count to a ready replica.
    pub start_up: f64,
}

/// Everything that a policy sees at one decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScalingInput {
    /// The time of the decision.
    pub now: UnixMs,
    /// The LogProcessor that is decided on.
    pub object: ObjectRef,
    /// Replicas and bounds.
    pub replicas: Replicas,
    /// Declared or learnt capacity.
    pub capacity: Capacity,
    /// The user's objectives.
    pub objectives: Objectives,
    /// What was measured.
    pub window: Window,
    /// Params of the policy, a JSON object in canonical form (`{}` when there are none).
    pub params: String,
    /// The bytes that the policy returned as state at its last decision on this object.
    pub state: Vec<u8>,
}

impl ScalingInput {
    /// Digest of the canonical bytes (postcard: one encoding per value, floats bit by bit): the same
    /// for the same input on every machine. What a policy takes for random numbers is derived from it.
    ///
    /// # Errors
    /// Never for an input that was built in memory; the encoder's signature asks for it.
    pub fn digest(&self) -> Result<Digest, postcard::Error> {
        Ok(Digest::of(&postcard::to_stdvec(self)?))
    }
}

/// A number that took part in a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedNumber {
    /// For example `rate`.
    pub name: String,
    /// Finite.
    pub value: f64,
    /// For example `records/s`.
    pub unit: String,
}

/// Why a policy proposes what it proposes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rationale {
    /// Stable CamelCase word.
    pub code: String,
    /// One sentence for people.
    pub sentence: String,
    /// The numbers that decided.
    pub numbers: Vec<NamedNumber>,
}

/// What a policy wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Wanted replicas, before the guardrails.
    pub replicas: u32,
    /// Why.
    pub rationale: Rationale,
    /// Bytes for the next decision on this object.
    pub state: Vec<u8>,
}

/// A policy that can't or won't propose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable CamelCase word.
    pub code: String,
    /// One sentence for people.
    pub sentence: String,
}

/// In which way a call failed. The words are used in conditions, metrics and the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// The code trapped: unreachable, division by zero, out of bounds, stack overflow, or an exit instead of an answer.
    Trap,
    /// The fuel of one call was used up.
    FuelExhausted,
    /// The call ran past its deadline.
    DeadlineExceeded,
    /// The code asked for more memory or table entries than its limits allow.
    MemoryLimit,
    /// The result was larger than its limit.
    ResultTooLarge,
    /// The returned state was larger than its limit.
    StateTooLarge,
    /// The result makes no sense: numbers that are not finite, replicas beyond any sense, names too long.
    InvalidProposal,
    /// No policy is loaded under that reference.
    NotLoaded,
    /// The host could not run the call (for example no free instance slot).
    Host,
}

impl FailureKind {
    /// The stable word, for example `FuelExhausted`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "Trap",
            Self::FuelExhausted => "FuelExhausted",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::MemoryLimit => "MemoryLimit",
            Self::ResultTooLarge => "ResultTooLarge",
            Self::StateTooLarge => "StateTooLarge",
            Self::InvalidProposal => "InvalidProposal",
            Self::NotLoaded => "NotLoaded",
            Self::Host => "Host",
        }
    }
}

/// A call that gave neither a proposal nor a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which way.
    pub kind: FailureKind,
    /// One sentence with the details.
    pub message: String,
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The policy proposes.
    Proposal(Proposal),
    /// The policy refuses.
    Refusal(Refusal),
    /// The call failed.
    Failure(Failure),
}

/// One call of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// What came of it.
    pub outcome: Outcome,
    /// Fuel that the call used: deterministic, the same on every machine.
    pub fuel: u64,
    /// What the policy wrote to its standard output and standard error, in the order it did, at most
    /// [`MAX_OUTPUT_BYTES`]; empty unless the policy was given the virtual world of WASI. For people
    /// who look for a mistake: no decision depends on it.
    #[serde(default)]
    pub output: String,
}

/// Most bytes of [`Invocation::output`]. Of more, the beginning and the end are kept.
pub const MAX_OUTPUT_BYTES: usize = 4 << 10;

/// Which policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyStamp {
    /// The WasmPolicy object.
    pub object: ObjectRef,
    /// Digest of the component's bytes (uncompressed).
    pub digest: Digest,
    /// Name from `describe`.
    pub name: String,
    /// Version from `describe`.
    pub version: String,
}

/// Something that decides: a loaded component, or a function in a test.
pub trait ScalingPolicy {
    /// Who decides.
    fn stamp(&self) -> &PolicyStamp;

    /// Asks the policy. Pure but for its running time: the result depends on `input` alone.
    fn decide(&self, input: &ScalingInput) -> Invocation;
}

impl Proposal {
    /// Checks what a type can't say: finite numbers, names and sentences of sane length, replicas within sense.
    ///
    /// # Errors
    /// A sentence that names the part that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.replicas > MAX_SENSIBLE_REPLICAS {
            return Err(format!("proposes {} replicas, more than the {MAX_SENSIBLE_REPLICAS} pods that a cluster can hold", self.replicas));
        }
        self.rationale.check()
    }
}

impl Rationale {
    /// Checks finite numbers, and names and sentences of sane length.
    ///
    /// # Errors
    /// A sentence that names the part that is wrong.
    pub fn check(&self) -> Result<(), String> {
        check_code(&self.code)?;
        check_length("the rationale's sentence", &self.sentence, 1024)?;
        if self.numbers.len() > 32 {
            return Err(format!("the rationale has {} numbers, at most 32 are allowed", self.numbers.len()));
        }
        for number in &self.numbers {
            check_length("a number's name", &number.name, 63)?;
            check_length("a number's unit", &number.unit, 31)?;
            if !number.value.is_finite() {
                return Err(format!("the number `{}` is {}, not a finite number", number.name, number.value));
            }
        }
        Ok(())
    }
}

impl Refusal {
    /// Checks the lengths of code and sentence.
    ///
    /// # Errors
    /// A sentence that names the part that is wrong.
    pub fn check(&self) -> Result<(), String> {
        check_code(&self.code)?;
        check_length("the refusal's sentence", &self.sentence, 1024)
    }
}

fn check_code(code: &str) -> Result<(), String> {
    let fits = !code.is_empty() && code.len() <= 63 && code.chars().all(|c| c.is_ascii_alphanumeric());
    if fits { Ok(()) } else { Err(format!("the code `{}` is not a CamelCase word of 1 to 63 letters and digits", code.chars().take(80).collect::<String>())) }
}

fn check_length(what: &str, text: &str, most: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length <= most { Ok(()) } else { Err(format!("{what} has {length} characters, at most {most} are allowed")) }
}
