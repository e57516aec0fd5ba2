//! What is expected of an answer, and how an answer differs from it. Touches nothing. Used by [`super`].

use super::property::Property;
use serde::Deserialize;
use std::collections::BTreeMap;
use weir_core::scaling::{Invocation, Outcome};

/// What is expected; what is left out does not matter, but that a proposal is expected unless a refusal
/// or a failure is named.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// Proposed replicas.
    pub(crate) replicas: Option<Property>,
    /// Word of the proposal.
    pub(crate) code: Option<String>,
    /// Word of a refusal, or `any`.
    pub(crate) refusal: Option<String>,
    /// Kind of a failure, for example `Trap`, or `any`.
    pub(crate) failure: Option<String>,
    /// The sentence holds this text.
    pub(crate) sentence: Option<String>,
    /// Numbers of the rationale, by name.
    pub(crate) numbers: BTreeMap<String, Property>,
    /// Bytes of the state that is returned.
    pub(crate) state: Option<Property>,
    /// Fuel of the call.
    pub(crate) fuel: Option<Property>,
    /// Reason of a refusal to load with these params, for example `InvalidParams`.
    pub(crate) load: Option<String>,
    /// Of a walk: how often the proposed replicas changed.
    pub(crate) changes: Option<Property>,
    /// Of a walk: the most replicas.
    pub(crate) highest: Option<Property>,
    /// Of a walk: the fewest replicas.
    pub(crate) lowest: Option<Property>,
}

/// One part of an answer that is other than expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// For example `replicas`.
    pub(crate) what: String,
    /// As the case says it.
    pub(crate) expected: String,
    /// As the policy says it.
    pub(crate) got: String,
}

impl Mismatch {
    /// A mismatch of `what`.
    pub(crate) fn new(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> Self {
        Self { what: what.into(), expected: expected.to_string(), got: got.to_string() }
    }
}

impl Expect {
    /// Whether anything could go against it.
    pub(crate) fn says_something(&self) -> bool {
        self.is_of_each() || self.load.is_some() || [&self.changes, &self.highest, &self.lowest].iter().any(|property| property.is_some())
    }

    /// Whether it says something of a single decision.
    pub(crate) fn is_of_each(&self) -> bool {
        let texts = [&self.code, &self.refusal, &self.failure, &self.sentence];
        let properties = [&self.replicas, &self.state, &self.fuel];
        texts.iter().any(|text| text.is_some()) || properties.iter().any(|property| property.is_some()) || !self.numbers.is_empty()
    }

    /// How `invocation` differs; `before` is what was asked for before it.
    pub(crate) fn compare(&self, invocation: &Invocation, before: u32) -> Vec<Mismatch> {
        let mut differ = Vec::new();
        match (&invocation.outcome, &self.refusal, &self.failure) {
            (Outcome::Proposal(proposal), None, None) => {
                let replicas = f64::from(proposal.replicas);
                check(&mut differ, "replicas", self.replicas.as_ref(), replicas, Some(f64::from(before)));
                check(&mut differ, "bytes of state", self.state.as_ref(), proposal.state.len() as f64, None);
                word(&mut differ, "code", self.code.as_deref(), &proposal.rationale.code);
                holds(&mut differ, self.sentence.as_deref(), &proposal.rationale.sentence);
                for (name, property) in &self.numbers {
                    match proposal.rationale.numbers.iter().find(|number| number.name == *name) {
                        Some(number) => check(&mut differ, &format!("number `{name}`"), Some(property), number.value, None),
                        None => differ.push(Mismatch::new(format!("number `{name}`"), property, "no number of that name")),
                    }
                }
            }
            (Outcome::Refusal(refusal), Some(wanted), None) => {
                word(&mut differ, "refusal", Some(wanted), &refusal.code);
                holds(&mut differ, self.sentence.as_deref(), &refusal.sentence);
            }
            (Outcome::Failure(failure), None, Some(wanted)) => word(&mut differ, "failure", Some(wanted), failure.kind.as_str()),
            (outcome, _, _) => differ.push(Mismatch::new("answer", self.kind(), kind_of(outcome))),
        }
        check(&mut differ, "fuel", self.fuel.as_ref(), invocation.fuel as f64, None);
        differ
    }

    fn kind(&self) -> String {
        match (&self.refusal, &self.failure, &self.replicas) {
            (Some(code), _, _) => format!("a refusal, {code}"),
            (_, Some(kind), _) => format!("a failure, {kind}"),
            (_, _, Some(replicas)) => format!("a proposal, {replicas} replicas"),
            _ => "a proposal".to_owned(),
        }
    }
}

fn kind_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Proposal(proposal) => format!("a proposal, {} replicas", proposal.replicas),
        Outcome::Refusal(refusal) => format!("a refusal, {}", refusal.code),
        Outcome::Failure(failure) => format!("a failure, {}", failure.kind.as_str()),
    }
}

/// Compares a number.
pub(crate) fn check(differ: &mut Vec<Mismatch>, what: &str, wanted: Option<&Property>, got: f64, before: Option<f64>) {
    if let Some(wanted) = wanted.filter(|wanted| !wanted.holds(got, before)) {
        let from = before.filter(|_| matches!(wanted.to_string().as_str(), "up" | "down" | "same"));
        differ.push(Mismatch::new(what, wanted, from.map_or_else(|| got.to_string(), |from| format!("{got}, from {from}"))));
    }
}

fn word(differ: &mut Vec<Mismatch>, what: &str, wanted: Option<&str>, got: &str) {
    if let Some(wanted) = wanted.filter(|wanted| *wanted != got && !(*wanted == "any" && what != "code")) {
        differ.push(Mismatch::new(what, wanted, got));
    }
}

fn holds(differ: &mut Vec<Mismatch>, wanted: Option<&str>, got: &str) {
    if let Some(wanted) = wanted.filter(|wanted| !got.contains(wanted)) {
        differ.push(Mismatch::new("sentence", format!("… {wanted} …"), got));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::scaling::{Failure, FailureKind, NamedNumber, Proposal, Rationale, Refusal};

    fn expect(yaml: &str) -> Expect {
        serde_yaml_ng::from_str(yaml).unwrap()
    }

    fn proposal() -> Invocation {
        let numbers = vec![NamedNumber { name: "load".into(), value: 9000.0, unit: "records/s".into() }];
        let rationale = Rationale { code: "FollowsLoad".into(), sentence: "9000 records/s are offered.".into(), numbers };
        Invocation { outcome: Outcome::Proposal(Proposal { replicas: 12, rationale, state: vec![1] }), fuel: 1000, output: String::new() }
    }

    fn differing(yaml: &str, invocation: &Invocation) -> Vec<String> {
        expect(yaml).compare(invocation, 10).into_iter().map(|mismatch| mismatch.what).collect()
    }

    #[test]
    fn every_part_of_a_proposal_can_be_expected_and_missed() {
        let met = "{replicas: up, code: FollowsLoad, sentence: offered, numbers: {load: 9000}, state: 1, fuel: '<= 1000'}";
        assert!(differing(met, &proposal()).is_empty());
        let missed = "{replicas: 13, code: Other, sentence: nothing, numbers: {load: 1, rate: 2}, state: 0, fuel: '< 1000'}";
        assert_eq!(differing(missed, &proposal()), ["replicas", "bytes of state", "code", "sentence", "number `load`", "number `rate`", "fuel"]);
    }

    #[test]
    fn an_answer_of_another_kind_is_one_mismatch() {
        assert_eq!(differing("{refusal: any}", &proposal()), ["answer"]);
        let refused = Invocation { outcome: Outcome::Refusal(Refusal { code: "No".into(), sentence: String::new() }), fuel: 1, output: String::new() };
        assert_eq!(differing("{replicas: 3}", &refused), ["answer"]);
        assert_eq!(differing("{refusal: Yes}", &refused), ["refusal"]);
        assert!(differing("{refusal: any}", &refused).is_empty() && differing("{refusal: No}", &refused).is_empty());
        let failed = Invocation { outcome: Outcome::Failure(Failure { kind: FailureKind::Trap, message: String::new() }), fuel: 1, output: String::new() };
        assert!(differing("{failure: Trap}", &failed).is_empty());
        assert_eq!(differing("{failure: FuelExhausted}", &failed), ["failure"]);
    }
}
