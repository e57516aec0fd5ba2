//! Plays a case: asks the policy, carries on what it remembers and wants, and compares. Touches the Wasm
//! engine. Called by [`super`].

use super::cases::{Case, File, Walk};
use super::expect::{Expect, Mismatch, check};
use crate::policy::input::Input;
use crate::policy::load::Component;
use weir_core::scaling::{Invocation, Outcome, ScalingInput, ScalingPolicy};
use weir_engine::{Limits, Wasi};

/// What came of a case.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// What went against the case, with the step and the answer that it was.
    pub(crate) wrong: Vec<Wrong>,
    /// Every answer in order, for `--show`.
    pub(crate) answers: Vec<String>,
    /// It returned a state and tells no version of it.
    pub(crate) unversioned: bool,
}

/// A decision that was not as expected.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// For example `step 2`; empty for a case of one decision.
    pub(crate) place: String,
    /// The parts that differ.
    pub(crate) differ: Vec<Mismatch>,
    /// The answer, for people.
    pub(crate) answer: String,
}

/// What one decision hands to the next.
struct Carried {
    state: Vec<u8>,
    replicas: Option<u32>,
    now: Option<i64>,
}

/// Plays one case.
///
/// # Errors
/// The input of the case can't be built.
pub(crate) fn play(component: &Component, file: &File, case: &Case, limits: &Limits) -> anyhow::Result<Played> {
    let params = case.params.as_ref().unwrap_or(&file.params).clone();
    let mut played = Played::default();
    let wanted = case.expect.as_ref().and_then(|expect| expect.load.as_deref());
    let policy = match (component.load(params, limits.clone(), Wasi::Deterministic, None).0, wanted) {
        (Ok(policy), None) => policy,
        (Ok(_), Some(reason)) => {
            played.wrong("", vec![Mismatch::new("loading", reason, "it loads")], String::new());
            return Ok(played);
        }
        (Err(error), reason) => {
            if reason != Some(error.reason()) {
                played.wrong("", vec![Mismatch::new("loading", reason.unwrap_or("it loads"), error.reason())], error.to_string());
            }
            return Ok(played);
        }
    };
    let base = case.input.clone().over(file.input.clone());
    match &case.walk {
        Some(walk) => along(&*policy, policy.params(), &base, walk, &case.expect.clone().unwrap_or_default(), &mut played)?,
        None if case.steps.is_empty() => {
            let input = base.build(policy.params())?;
            let invocation = policy.decide(&input);
            played.judge("", case.expect.as_ref(), &invocation, &input);
        }
        None => steps(&*policy, policy.params(), base, case, &mut played)?,
    }
    played.unversioned &= policy.description().state.version() == 0;
    Ok(played)
}

fn steps(policy: &impl ScalingPolicy, params: &str, base: Input, case: &Case, played: &mut Played) -> anyhow::Result<()> {
    let mut written = base;
    let mut carried = Carried { state: written.state.clone().unwrap_or_default(), replicas: None, now: None };
    for (index, step) in case.steps.iter().enumerate() {
        let own = &step.input;
        // what the policy wanted is what there is now, unless the step says otherwise
        let given = own.replicas.desired.is_some() || own.replicas.ready.is_some() || own.replicas.starting.is_some();
        written = own.clone().over(written);
        let mut input = written.clone();
        if let (Some(replicas), false) = (carried.replicas, given) {
            input.replicas.desired = Some(replicas);
            input.replicas.ready = None;
            input.replicas.starting = None;
        }
        input.state = Some(own.state.clone().unwrap_or_else(|| carried.state.clone()));
        if let (Some(now), None) = (carried.now, own.now) {
            #[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the largest integer")]
            let after = (step.after.unwrap_or(1.0) * 1000.0).round() as i64;
            input.now = Some(now.saturating_add(after));
        }
        let input = input.build(params)?;
        let invocation = policy.decide(&input);
        played.judge(&format!("step {}", index.saturating_add(1)), step.expect.as_ref(), &invocation, &input);
        carried.after(&input, &invocation);
    }
    Ok(())
}

fn along(policy: &impl ScalingPolicy, params: &str, base: &Input, walk: &Walk, expect: &Expect, played: &mut Played) -> anyhow::Result<()> {
    let recorded = base.window.clone().filter(|window| !window.times.is_empty());
    let recorded = recorded.ok_or_else(|| anyhow::anyhow!("a walk needs a recorded window: `input: {{from: FILE}}` or `input: {{window: …}}`"))?;
    let mut carried = Carried { state: base.state.clone().unwrap_or_default(), replicas: base.replicas.desired, now: None };
    let (mut changes, mut highest, mut lowest) = (0_u32, None::<u32>, None::<u32>);
    let last = recorded.times.len();
    for end in (walk.window.min(last)..=last).step_by(walk.every) {
        let first = end.saturating_sub(walk.window);
        let mut input = Input { window: Some(recorded.part(first, walk.window.min(end))), now: None, ..base.clone() };
        input.replicas.desired = carried.replicas;
        input.state = Some(carried.state.clone());
        let input = input.build(params)?;
        let invocation = policy.decide(&input);
        // without a word on single decisions, only a failure goes against the case
        let failed = matches!(invocation.outcome, Outcome::Failure(_));
        played.judge(&format!("at {}", input.now.0), Some(expect).filter(|expect| failed || expect.is_of_each()), &invocation, &input);
        if let Outcome::Proposal(proposal) = &invocation.outcome {
            changes = changes.saturating_add(u32::from(proposal.replicas != input.replicas.desired));
            highest = highest.max(Some(proposal.replicas));
            lowest = Some(lowest.map_or(proposal.replicas, |lowest| lowest.min(proposal.replicas)));
        }
        carried.after(&input, &invocation);
    }
    let mut differ = Vec::new();
    check(&mut differ, "changes", expect.changes.as_ref(), f64::from(changes), None);
    let or_nan = |replicas: Option<u32>| replicas.map_or(f64::NAN, f64::from);
    check(&mut differ, "highest", expect.highest.as_ref(), or_nan(highest), None);
    check(&mut differ, "lowest", expect.lowest.as_ref(), or_nan(lowest), None);
    if !differ.is_empty() {
        played.wrong("the whole walk", differ, String::new());
    }
    Ok(())
}

impl Carried {
    /// What the next decision is handed. A refusal and a failure hold what is, and keep the state.
    fn after(&mut self, input: &ScalingInput, invocation: &Invocation) {
        self.now = Some(input.now.0);
        match &invocation.outcome {
            Outcome::Proposal(proposal) => {
                self.state.clone_from(&proposal.state);
                self.replicas = Some(proposal.replicas.min(input.replicas.max).max(input.replicas.min));
            }
            _ => self.replicas = Some(input.replicas.desired),
        }
    }
}

impl Played {
    fn judge(&mut self, place: &str, expect: Option<&Expect>, invocation: &Invocation, input: &ScalingInput) {
        let answer = describe(invocation);
        self.unversioned |= matches!(&invocation.outcome, Outcome::Proposal(proposal) if !proposal.state.is_empty());
        let differ = expect.map(|expect| expect.compare(invocation, input.replicas.desired)).unwrap_or_default();
        self.answers.push(if place.is_empty() { answer.clone() } else { format!("{place}: {answer}") });
        if !differ.is_empty() {
            self.wrong(place, differ, answer);
        }
    }

    fn wrong(&mut self, place: &str, differ: Vec<Mismatch>, answer: String) {
        self.wrong.push(Wrong { place: place.to_owned(), differ, answer });
    }
}

/// An answer on one line.
fn describe(invocation: &Invocation) -> String {
    match &invocation.outcome {
        Outcome::Proposal(proposal) => {
            let rationale = &proposal.rationale;
            let numbers: Vec<String> = rationale.numbers.iter().map(|number| format!("{} {} {}", number.name, number.value, number.unit)).collect();
            let numbers = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
            format!("{} replicas, {}: {}{numbers}", proposal.replicas, rationale.code, rationale.sentence)
        }
        Outcome::Refusal(refusal) => format!("refused, {}: {}", refusal.code, refusal.sentence),
        Outcome::Failure(failure) => format!("failed, {}: {}", failure.kind.as_str(), failure.message),
    }
}
