//! Arbitrary code: damaged components, senseless modules, senseless components.

use crate::common::fuzz::{Bounds, below, fuzz, mutate};
use crate::common::{Guest, wasi};
use crate::{LOAD, check, limits, live};
use arbitrary::Unstructured;
use bytes::Bytes;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::SeedableRng as _;
use std::cell::Cell;
use wasm_encoder::{ComponentSectionId, Encode as _, RawSection, Section as _};
use weir_engine::source::builtin::{builtin, names};

fn seeded(input: &[u8]) -> ChaCha8Rng {
    let mut seed = [0_u8; 32];
    for (at, byte) in input.iter().enumerate() {
        seed[at % 32] = seed[at % 32].wrapping_mul(31).wrapping_add(*byte);
    }
    ChaCha8Rng::from_seed(seed)
}

#[test]
fn damaged_components_are_refused_or_run_within_their_limits() {
    let mut whole: Vec<Bytes> = names().map(|name| builtin(name).unwrap()).collect();
    whole.push(Guest::default().build());
    whole.push(wasi::component(&Guest::deciding("(drop (call $random)) (call $wall (i32.const 4096)) (i32.const 256)")));
    let (loaded, refused) = (Cell::new(0), Cell::new(0));
    fuzz("components", &Bounds { length: 64, each: LOAD, grows: 256 << 10 }, |input| {
        // The input is where the damage comes from; the small ones are quick to compile and come more often.
        let mut random = seeded(input);
        let place = if below(&mut random, 4) == 0 { below(&mut random, whole.len()) } else { whole.len() - 1 - below(&mut random, 2) };
        let mut bytes = whole[place].to_vec();
        mutate(&mut bytes, &mut random);
        match live(&bytes) {
            Ok(invocation) => {
                check(&invocation, &limits());
                loaded.set(loaded.get() + 1);
            }
            Err(_) => refused.set(refused.get() + 1),
        }
    });
    println!("components: {} loaded, {} refused", loaded.get(), refused.get());
    assert!(loaded.get() > 0 && refused.get() > 0, "{} loaded, {} refused", loaded.get(), refused.get());
}

/// What the engine compiles and then something more, so that its refusals are seen too.
fn config() -> wasm_smith::Config {
    wasm_smith::Config {
        allow_invalid_funcs: false,
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        compact_imports_enabled: false,
        memory64_enabled: false,
        max_memories: 1,
        max_memory32_bytes: 4 << 20,
        max_table_elements: 10_000,
        max_instructions: 400,
        min_funcs: 1,
        max_imports: 0,
        ..wasm_smith::Config::default()
    }
}

#[test]
fn senseless_modules_run_within_their_limits() {
    let shape = wat::parse_str(
        r#"(module
          (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func (result i64)))
          (import "wasi:random/random@0.2.0" "get-random-bytes" (func (param i64 i32)))
          (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func (param i32 i32 i32 i32)))
          (import "wasi:io/poll@0.2.0" "poll" (func (param i32 i32 i32)))
          (import "wasi:cli/stdout@0.2.0" "get-stdout" (func (result i32)))
          (memory (export "memory") 2 64)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
          (func (export "weir:policy/scaling@0.1.0#decide") (param i32) (result i32) unreachable)
          (func (export "weir:policy/describe@0.1.0#describe") (result i32) unreachable))"#,
    )
    .unwrap();
    let (made, ran) = (Cell::new(0), Cell::new(0));
    fuzz("modules", &Bounds { length: 8 << 10, each: LOAD, grows: 256 << 10 }, |input| {
        let config = wasm_smith::Config { module_shape: Some(shape.clone()), ..config() };
        let Ok(module) = wasm_smith::Module::new(config, &mut Unstructured::new(input)) else { return };
        made.set(made.get() + 1);
        let Some(component) = wasi::from_binary(module.to_bytes()) else { return };
        // Its `describe` says nothing that makes sense, so it is refused; but it has run by then.
        match live(&component) {
            Ok(invocation) => check(&invocation, &limits()),
            Err(error) => ran.set(ran.get() + u64::from(matches!(error.reason(), "DescribeFailed" | "InvalidDescription"))),
        }
    });
    println!("modules: {} made, {} ran", made.get(), ran.get());
    assert!(ran.get() > 0, "{} made, {} ran", made.get(), ran.get());
}

#[test]
fn senseless_code_beside_a_policys_own_does_not_change_what_the_policy_says() {
    let whole = Guest { replicas: 9, ..Guest::default() }.build();
    let (decided, refused) = (Cell::new(0), Cell::new(0));
    fuzz("nested", &Bounds { length: 8 << 10, each: LOAD, grows: 256 << 10 }, |input| {
        let mut source = Unstructured::new(input);
        let mut bytes = whole.to_vec();
        let config = wasm_smith::Config { max_modules: 4, max_components: 4, max_instances: 4, ..config() };
        if source.arbitrary().unwrap_or(false) {
            let Ok(component) = wasm_smith::Component::new(config, &mut source) else { return };
            append(&mut bytes, ComponentSectionId::Component, &component.to_bytes());
        } else {
            let Ok(module) = wasm_smith::Module::new(config, &mut source) else { return };
            append(&mut bytes, ComponentSectionId::CoreModule, &module.to_bytes());
            // An instance of it: the module that was appended comes after those of the policy.
            let mut instance = vec![1, 0];
            modules(&whole).encode(&mut instance);
            instance.push(0);
            append(&mut bytes, ComponentSectionId::CoreInstance, &instance);
        }
        match live(&bytes) {
            Ok(invocation) => {
                check(&invocation, &limits());
                if let weir_core::scaling::Outcome::Proposal(proposal) = &invocation.outcome {
                    assert_eq!(proposal.replicas, 9);
                    decided.set(decided.get() + 1);
                }
            }
            Err(_) => refused.set(refused.get() + 1),
        }
    });
    println!("nested: {} decided, {} refused", decided.get(), refused.get());
    assert!(decided.get() > 0 && refused.get() > 0, "{} decided, {} refused", decided.get(), refused.get());
}

fn append(component: &mut Vec<u8>, id: ComponentSectionId, data: &[u8]) {
    RawSection { id: id.into(), data }.append_to(component);
}

/// Core modules of a component.
fn modules(component: &[u8]) -> u32 {
    let mut depth = 0_usize;
    let mut modules = 0;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } => {
                modules += u32::from(depth == 0);
                depth += 1;
            }
            wasmparser::Payload::ComponentSection { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    modules
}
