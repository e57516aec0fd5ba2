//! Policies made in the test: a core module in WAT, turned into a component for a world in WIT.
//! The module reads and writes the canonical ABI by hand, so it can also do what no SDK lets it do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod fuzz;
pub(crate) mod wasi;

use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use weir_core::ids::{Digest, ObjectRef, UnixMs};
use weir_core::scaling::{Capacity, Invocation, Objectives, Outcome, Replicas, ScalingInput, ScalingPolicy};
use weir_core::window::{Series, Window};
use weir_engine::{Candidate, Engine, EngineConfig, Limits, LoadError, Policy, PolicyKind, Wasi};

/// The contract.
pub(crate) const WIT: &str = include_str!("../../../../wit/scaling.wit");

/// Where the static result lies: `result<proposal, refusal>`, 40 bytes.
pub(crate) const RESULT: u32 = 256;
/// Where the state lies that the static result refers to.
pub(crate) const STATE: u32 = 2048;
/// First byte of a region that a test may write to.
pub(crate) const FREE: u32 = 4096;

/// A policy to be made.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema: String,
    /// Body of `decide`: `(param $in i32) (result i32) (local $a i32) (local $b i32)`.
    pub(crate) decide: String,
    /// Body of `describe`: `(result i32)`.
    pub(crate) describe: String,
    /// More fields of the module.
    pub(crate) more: String,
    /// Pages of memory at the start.
    pub(crate) pages: u32,
    /// Replicas of the static proposal.
    pub(crate) replicas: u32,
    /// State of the static proposal.
    pub(crate) state: Vec<u8>,
    /// Version of the state, and those that it reads; none: it tells nothing.
    pub(crate) state_versions: Option<(u32, Vec<u32>)>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            name: "guest".to_owned(),
            version: "1.0.0".to_owned(),
            schema: String::new(),
            decide: format!("(i32.const {RESULT})"),
            describe: "(i32.const 512)".to_owned(),
            more: String::new(),
            pages: 3,
            replicas: 3,
            state: Vec::new(),
            state_versions: None,
        }
    }
}

impl Guest {
    /// A guest that decides by `body`.
    pub(crate) fn deciding(body: impl Into<String>) -> Self {
        Self { decide: body.into(), ..Self::default() }
    }

    /// The core module.
    pub(crate) fn wat(&self) -> String {
        let text = |at: u32, text: &str| format!("(data (i32.const {at}) \"{}\")\n", escape(text.as_bytes()));
        let words = |at: u32, words: &[u32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            format!("(data (i32.const {at}) \"{}\")\n", escape(&bytes))
        };
        let length = |text: &str| u32::try_from(text.len()).unwrap();
        let (told, version, reads) = self.state_versions.as_ref().map_or((0, 0, 0), |(version, reads)| (1, *version, u32::try_from(reads.len()).unwrap()));
        let (code, sentence, series) = ("Tested", "A test decides.", "offered");
        let data = [
            // result<proposal, refusal>: tag, replicas, code, sentence, numbers, state
            words(RESULT, &[0, self.replicas, 1024, length(code), 1100, length(sentence), 1304, 1, STATE, u32::try_from(self.state.len()).unwrap()]),
            text(1024, code),
            text(1100, sentence),
            // named-number: name, value, unit
            words(1304, &[1200, 4, 0, 0x3ff8_0000, 1220, 1]),
            text(1200, "rate"),
            text(1220, "1"),
            format!("(data (i32.const {STATE}) \"{}\")\n", escape(&self.state)),
            // description: name, version, summary, params-schema, series, and whether it tells versions of its state
            words(512, &[1400, length(&self.name), 1500, length(&self.version), 1100, length(sentence), 65536, length(&self.schema), 576, 1]),
            words(552, &[told, version, 640, reads]),
            words(640, self.state_versions.as_ref().map_or(&[][..], |(_, reads)| reads)),
            words(576, &[1600, length(series), 1]),
            text(1400, &self.name),
            text(1500, &self.version),
            text(1600, series),
            text(65536, &self.schema),
        ]
        .concat();
        let pages = self.pages.max(2 + u32::try_from(self.schema.len()).unwrap() / 65536);
        format!(
            r#"(module
              (memory $m (export "memory") {pages})
              (global $heap (mut i32) (i32.const {heap}))
              (func $realloc (export "cabi_realloc") (param $old i32) (param $oldsize i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                  (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                  (i32.sub (i32.const 0) (local.get $align))))
                (global.set $heap (i32.add (local.get $at) (local.get $size)))
                (block $fits
                  (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
                  (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536))))))
                  (unreachable))
                (local.get $at))
              (func $decide (export "weir:policy/scaling@0.1.0#decide") (param $in i32) (result i32) (local $a i32) (local $b i32)
                {decide})
              (func $describe (export "weir:policy/describe@0.1.0#describe") (result i32) {describe})
              {data}
              {more})"#,
            heap = (pages - 1) * 65536 + 32768,
            decide = self.decide,
            describe = self.describe,
            more = self.more,
        )
    }

    /// The component.
    pub(crate) fn build(&self) -> Bytes {
        component(&self.wat(), WIT, "scaling-policy")
    }

    /// Loads it with the default limits.
    pub(crate) fn load(&self) -> Arc<Policy> {
        load(&self.build()).unwrap()
    }

    /// Loads it and lets it decide once.
    pub(crate) fn run(&self) -> Invocation {
        self.load().decide(&input())
    }
}

fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A component of a world, from a core module.
pub(crate) fn component(wat: &str, wit: &str, world: &str) -> Bytes {
    let mut module = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let (resolve, world) = world_of(wit, world);
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8, false).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(&module).unwrap().encode().unwrap().into()
}

/// A world of a WIT text.
pub(crate) fn world_of(wit: &str, world: &str) -> (wit_parser::Resolve, wit_parser::WorldId) {
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    (resolve, world)
}

/// One engine for all tests of a file.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineConfig { concurrent_instances: 8, ..EngineConfig::default() }).unwrap()).clone()
}

/// A candidate with default limits and no params.
pub(crate) fn candidate(bytes: &Bytes) -> Candidate {
    Candidate {
        object: ObjectRef::new("test", "policy"),
        kind: PolicyKind::Scaling,
        bytes: bytes.clone(),
        digest: None,
        params: serde_json::Value::Null,
        limits: Limits::default(),
        wasi: Wasi::Deny,
    }
}

/// Loads with default limits and no probes.
pub(crate) fn load(bytes: &Bytes) -> Result<Arc<Policy>, LoadError> {
    engine().load_blocking(&candidate(bytes), &[]).result
}

/// An input with eight series of sixty samples.
pub(crate) fn input() -> ScalingInput {
    let names = ["offered", "accepted", "refused", "sent", "failed", "backlog", "memory", "cpu"];
    let times: Vec<i64> = (0..60).map(|n| 1_700_000_000_000 + n * 1000).collect();
    let values = |column: usize| (0..60).map(|n| f64::from(n) + column as f64 * 100.0).collect();
    let column = |(column, name): (usize, &&str)| Series { name: (*name).to_owned(), unit: "records/s".to_owned(), values: values(column) };
    ScalingInput {
        now: UnixMs(1_700_000_060_000),
        object: ObjectRef::new("logging", "edge"),
        replicas: Replicas { desired: 3, ready: 3, starting: 0, min: 1, max: 50 },
        capacity: Capacity { per_replica: Some(1000.0), learnt: true, start_up: 8.0 },
        objectives: Objectives { freshness: Some(30.0), refused_share: Some(0.01), replica_hours: None },
        window: Window { times, series: names.iter().enumerate().map(column).collect() },
        params: "{}".to_owned(),
        state: Vec::new(),
    }
}

/// Kind and sentence of a failed call.
pub(crate) fn failure(invocation: &Invocation) -> (&'static str, &str) {
    match &invocation.outcome {
        Outcome::Failure(failure) => (failure.kind.as_str(), &failure.message),
        other => panic!("it did not fail: {other:?}"),
    }
}

/// Digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}
