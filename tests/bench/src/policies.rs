//! Components and inputs that are measured. Touches files and the Wasm engine.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::scaling::{Capacity, Objectives, Replicas, ScalingInput};
use weir_core::window::{Series, Window};
use weir_engine::source::builtin::builtin;
use weir_engine::{CacheConfig, Candidate, Compiler, Engine, EngineConfig, Limits, Policy, PolicyKind, Program, Wasi};

/// Samples of each series.
pub(crate) const POINTS: u32 = 60;
/// The series.
pub(crate) const SERIES: [&str; 8] = ["offered", "accepted", "refused", "sent", "failed", "backlog", "memory", "cpu"];

/// A built-in policy, or the smallest one that tests have.
pub(crate) fn component(name: &str) -> Result<Bytes> {
    match name {
        "minimal" => Ok(weir_e2e::component("fixtures/fixed-2")?.into()),
        name => Ok(builtin(name)?),
    }
}

/// The same rule with other bytes: a custom section of its own, which changes the digest and with it
/// the compiled code that is used, and nothing else.
pub(crate) fn variant(component: &[u8], number: u32) -> Bytes {
    // Section 0, its size, the length of its name, the name, and what it holds.
    let section = [&[0, 12, 7][..], b"variant", &number.to_le_bytes()].concat();
    [component, &section].concat().into()
}

/// A candidate with default params and limits.
pub(crate) fn candidate(name: &str, bytes: Bytes) -> Candidate {
    Candidate {
        object: ObjectRef::new("bench", name),
        kind: PolicyKind::Scaling,
        bytes,
        digest: None,
        params: serde_json::Value::Null,
        limits: Limits::default(),
        wasi: Wasi::Deny,
    }
}

/// An engine with the defaults of the operator.
pub(crate) fn engine(cache: Option<&Path>) -> Result<Engine> {
    let cache = cache.map(|folder| CacheConfig { folder: folder.to_owned(), max_bytes: 1 << 30 });
    Ok(Engine::new(EngineConfig { cache, ..EngineConfig::default() })?)
}

/// The same where modules are compiled as the operator does it: in a child process.
pub(crate) fn engine_of_operator() -> Result<Engine> {
    let compiler = Compiler::Child(Program::weir(weir_e2e::program("weir")?));
    Ok(Engine::new(EngineConfig { compiler, ..EngineConfig::default() })?)
}

/// Loads a policy.
pub(crate) fn load(engine: &Engine, candidate: &Candidate) -> Result<Arc<Policy>> {
    engine.load_blocking(candidate, &[]).result.with_context(|| format!("the policy {} can't be loaded", candidate.object))
}

/// What a policy is asked: eight series of sixty samples, about 1,500 records/s on three replicas of
/// 1,000 each, no two samples alike.
pub(crate) fn input(params: &str) -> ScalingInput {
    let start = 1_700_000_000_000;
    let times: Vec<i64> = (0..POINTS).map(|point| start + i64::from(point) * 1000).collect();
    let value = |column: u32, point: u32| 1500.0 + f64::from(column) * 7.0 + f64::from(point * 37 % 101);
    let columns = (0..).zip(SERIES).map(|(column, name)| Series {
        name: name.to_owned(),
        unit: "records/s".to_owned(),
        values: (0..POINTS).map(|point| value(column, point)).collect(),
    });
    ScalingInput {
        now: UnixMs(start + i64::from(POINTS) * 1000),
        object: ObjectRef::new("logging", "edge"),
        replicas: Replicas { desired: 3, ready: 3, starting: 0, min: 1, max: 50 },
        capacity: Capacity { per_replica: Some(1000.0), learnt: true, start_up: 8.0 },
        objectives: Objectives { freshness: Some(30.0), refused_share: Some(0.01), replica_hours: None },
        window: Window { times, series: columns.collect() },
        params: params.to_owned(),
        state: Vec::new(),
    }
}

/// The same as a policy in plain Rust is given it.
pub(crate) fn native(input: &ScalingInput) -> weir_policy::input::Input {
    use weir_policy::{input, window};
    input::Input {
        now: input.now.0,
        namespace: input.object.namespace.clone(),
        name: input.object.name.clone(),
        replicas: input::Replicas {
            desired: input.replicas.desired,
            ready: input.replicas.ready,
            starting: input.replicas.starting,
            min: input.replicas.min,
            max: input.replicas.max,
        },
        capacity: input::Capacity { per_replica: input.capacity.per_replica, learnt: input.capacity.learnt, start_up: input.capacity.start_up },
        objectives: input::Objectives {
            freshness: input.objectives.freshness,
            refused_share: input.objectives.refused_share,
            replica_hours: input.objectives.replica_hours,
        },
        window: window::Window {
            times: input.window.times.clone(),
            series: input
                .window
                .series
                .iter()
                .map(|series| window::Series { name: series.name.clone(), unit: series.unit.clone(), values: series.values.clone() })
                .collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::scaling::{Outcome, ScalingPolicy as _};

    #[test]
    fn a_variant_is_another_policy_that_decides_the_same() {
        let engine = engine(None).unwrap();
        let component = component("threshold").unwrap();
        let [one, other] = [1, 2].map(|number| load(&engine, &candidate("rule", variant(&component, number))).unwrap());
        assert_ne!(one.stamp().digest, other.stamp().digest);
        let input = input(one.params());
        assert_eq!(one.decide(&input), other.decide(&input));
    }

    #[test]
    fn the_rule_in_plain_rust_answers_as_the_component_does() {
        let engine = engine(None).unwrap();
        let policy = load(&engine, &candidate("rule", component("threshold").unwrap())).unwrap();
        let input = input(policy.params());
        let Outcome::Proposal(proposal) = policy.decide(&input).outcome else { panic!("no proposal") };
        let same = weir_policy::policy::call::<threshold::Policy>(&native(&input), policy.params(), &[]).unwrap();
        assert_eq!((proposal.replicas, proposal.rationale.sentence), (same.replicas, same.sentence));
    }
}
