use super::*;
use weir_core::ids::ObjectRef;
use weir_core::scaling::{Failure, FailureKind, Refusal};
use weir_engine::source::builtin::builtin;
use weir_engine::{Candidate, Engine, EngineConfig, Limits, PolicyKind, Wasi};

const NOW: UnixMs = UnixMs(1_700_000_000_000);

fn policy(name: &str, params: serde_json::Value) -> Arc<Policy> {
    let engine = Engine::new(EngineConfig { concurrent_instances: 1, ..EngineConfig::default() }).unwrap();
    let bytes = builtin(name).unwrap();
    let candidate = Candidate {
        object: ObjectRef::new("team", "rule"),
        kind: PolicyKind::Scaling,
        bytes,
        digest: None,
        params,
        limits: Limits::default(),
        wasi: Wasi::Deny,
    };
    engine.load_blocking(&candidate, &[]).result.unwrap()
}

fn circuit(name: &str) -> Arc<Circuit> {
    Circuit::new(policy(name, serde_json::Value::Null), &[])
}

fn trap() -> Outcome {
    Outcome::Failure(Failure { kind: FailureKind::Trap, message: String::new() })
}

fn good() -> Outcome {
    Outcome::Refusal(Refusal { code: "No".to_owned(), sentence: String::new() })
}

fn open(circuit: &Circuit) {
    for _ in 0..5 {
        circuit.answered(&trap(), NOW);
    }
    assert!(circuit.opening().is_some());
}

#[test]
fn the_first_whose_breaker_is_closed_decides_and_the_choice_says_why() {
    let running = circuit("threshold");
    let mut fallbacks = Fallbacks { previous: Some(circuit("backlog")), builtin: Some(circuit("threshold")) };
    assert!(matches!(choose(&running, &fallbacks), Chosen::Module(_)));
    assert!(probe(&running, &fallbacks, NOW).is_none());
    open(&running);
    let (Some(previous), Some(last)) = (fallbacks.previous.clone(), fallbacks.builtin.clone()) else { unreachable!() };
    let Chosen::Fallback(chosen, why) = choose(&running, &fallbacks) else { panic!("a fallback") };
    assert!(Arc::ptr_eq(&chosen, &previous) && why.instead_of == running.digest());
    assert!(why.sentence.starts_with("5 of 5 calls") && why.sentence.contains("the last one with Trap: "), "{}", why.sentence);
    open(&previous);
    assert!(matches!(choose(&running, &fallbacks), Chosen::Fallback(chosen, _) if Arc::ptr_eq(&chosen, &last)));
    // The module is probed before its fallback, and each of them.
    let later = NOW.plus(30_000);
    assert!(probe(&running, &fallbacks, NOW).is_none());
    assert!(probe(&running, &fallbacks, later).is_some_and(|probed| Arc::ptr_eq(&probed, &running)));
    assert!(probe(&running, &fallbacks, later).is_some_and(|probed| Arc::ptr_eq(&probed, &previous)));
    assert!(probe(&running, &fallbacks, later).is_none());
    open(&last);
    assert!(matches!(choose(&running, &fallbacks), Chosen::Nobody(why) if why.contains("its fallbacks fail too")));
    fallbacks = Fallbacks::default();
    assert!(matches!(choose(&running, &fallbacks), Chosen::Nobody(why) if why.contains("spec.fallback")));
}

#[test]
fn the_module_to_go_back_to_is_the_last_one_that_was_good() {
    let (first, second) = (circuit("threshold"), circuit("backlog"));
    let mut fallbacks = Fallbacks::default();
    first.answered(&good(), NOW);
    fallbacks.took_over(Some(first.clone()), &second.policy);
    let is = |fallbacks: &Fallbacks, wanted: &Arc<Circuit>| fallbacks.previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, wanted));
    assert!(is(&fallbacks, &first));
    // The same module with other params is no other module.
    let again = policy("backlog", serde_json::json!({}));
    fallbacks.took_over(Some(second.clone()), &again);
    assert!(is(&fallbacks, &first), "and one that never answered is none to go back to");
    // One that kept failing is none either; and nobody is a fallback of itself.
    second.answered(&good(), NOW);
    open(&second);
    fallbacks.took_over(Some(second), &first.policy);
    assert!(fallbacks.previous.is_none());
}

#[test]
fn a_fallback_keeps_its_breaker_until_something_about_it_changes() {
    let mut place = None;
    Fallbacks::fit(&mut place, policy("threshold", serde_json::Value::Null));
    let first = place.clone().unwrap();
    Fallbacks::fit(&mut place, policy("threshold", serde_json::json!({})));
    assert!(Arc::ptr_eq(&first, place.as_ref().unwrap()));
    Fallbacks::fit(&mut place, policy("threshold", serde_json::json!({ "target": 0.5 })));
    assert!(!Arc::ptr_eq(&first, place.as_ref().unwrap()));
}
