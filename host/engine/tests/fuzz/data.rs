//! Arbitrary data: shipped bytes, packed bytes, answers, arguments, params.

use crate::common::fuzz::{Bounds, below, fuzz, mutate};
use crate::common::{Guest, candidate, engine, wasi};
use crate::{DECISION, LOAD, check, limits, live, neighbour_decides};
use bytes::Bytes;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::SeedableRng as _;
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write as _;
use weir_core::scaling::{Outcome, ScalingInput, ScalingPolicy};
use weir_engine::Candidate;
use weir_engine::source::config_map::from_config_map;
use weir_engine::unpack::unpack;

/// What bytes of many kinds begin with.
const BEGINNINGS: [&[u8]; 7] =
    [b"", b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &[0x28, 0xb5, 0x2f, 0xfd], b"AGFzbQ0AAQA", b"\x7fELF"];

#[test]
fn shipped_bytes_of_any_kind_are_refused_with_a_reason() {
    let reasons = std::cell::RefCell::new(BTreeSet::new());
    fuzz("bytes", &Bounds { length: 4 << 10, each: LOAD, grows: 128 << 10 }, |input| {
        let (first, rest) = input.split_first().unwrap_or((&0, &[]));
        let beginning = BEGINNINGS[usize::from(*first) % BEGINNINGS.len()];
        let shipped = Bytes::from([beginning, rest].concat());
        let text = String::from_utf8_lossy(rest);
        match from_config_map("map", "key", (first % 3 != 0).then_some(shipped), (first % 2 == 0).then_some(&*text)) {
            Ok(bytes) => {
                let error = live(&bytes).map(|_| ()).unwrap_err();
                reasons.borrow_mut().insert(error.reason());
            }
            Err(error) => assert!(matches!(error.reason(), "SourceNotFound" | "SourceUnreadable")),
        }
    });
    let reasons = reasons.into_inner();
    for reason in ["NotWasm", "Malformed", "CoreModule", "UnpackFailed"] {
        assert!(reasons.contains(reason), "{reasons:?}");
    }
}

#[test]
fn packed_bytes_unpack_up_to_the_limit_and_no_further() {
    const LIMIT: u64 = 1 << 20;
    let plain: Vec<u8> = (0..40_000_u32).flat_map(|n| (n % 251 * n / 7).to_le_bytes()).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&plain).unwrap();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 8 << 20]).unwrap();
    let packed = [
        gzip.finish().unwrap(),
        bomb.finish().unwrap(),
        zstd::encode_all(plain.as_slice(), 3).unwrap(),
        zstd::encode_all(vec![0; 8 << 20].as_slice(), 19).unwrap(),
    ];
    let (whole, refused) = (Cell::new(0), Cell::new(0));
    // The decoder of zstd keeps a window of 8 MiB at this limit.
    fuzz("unpack", &Bounds { length: 1 << 10, each: DECISION, grows: 64 << 10 }, |input| {
        let (first, rest) = input.split_first().unwrap_or((&0, &[]));
        let bytes = if first % 2 == 0 {
            let mut bytes = packed[usize::from(first / 2) % packed.len()].clone();
            let mut seed = [0_u8; 32];
            seed.iter_mut().zip(rest).for_each(|(seed, byte)| *seed = *byte);
            mutate(&mut bytes, &mut ChaCha8Rng::from_seed(seed));
            bytes
        } else {
            [BEGINNINGS[3 + usize::from(first / 2) % 2], rest].concat()
        };
        match unpack(&bytes.into(), LIMIT) {
            Ok(bytes) => {
                assert!(bytes.len() as u64 <= LIMIT);
                whole.set(whole.get() + 1);
            }
            Err(error) => {
                assert!(matches!(error.reason(), "TooLarge" | "UnpackFailed"), "{error}");
                refused.set(refused.get() + 1);
            }
        }
    });
    assert!(whole.get() > 0 && refused.get() > 0, "{} whole, {} refused", whole.get(), refused.get());
}

#[test]
fn answers_of_any_bytes_are_read_or_refused() {
    // Lays what it gets as state over its answer and what that refers to: 256 to 2048.
    let body = "(memory.copy (i32.const 256) (i32.load offset=152 (local.get $in)) (i32.load offset=156 (local.get $in))) (i32.const 256)";
    let guest = Guest::deciding(body);
    let good = good_answer(&guest);
    let policy = engine().load_blocking(&Candidate { limits: limits(), ..candidate(&guest.build()) }, &[]).result.unwrap();
    let (read, refused) = (Cell::new(0), Cell::new(0));
    fuzz("answers", &Bounds { length: 1792, each: DECISION, grows: 256 << 10 }, |input| {
        // Half of them are a good answer with damages, which reach further than noise.
        let (first, rest) = input.split_first().unwrap_or((&0, &[]));
        let mut state = good.clone();
        if first % 2 == 0 {
            let mut seed = [0_u8; 32];
            seed.iter_mut().zip(rest).for_each(|(seed, byte)| *seed = *byte);
            let mut random = ChaCha8Rng::from_seed(seed);
            // Only where addresses and lengths are, so that most are still nearly good.
            for _ in 0..=below(&mut random, 3) {
                let at = [below(&mut random, 40), 1048 + below(&mut random, 24), 768 + below(&mut random, 8)][below(&mut random, 3)];
                state[at] = u8::try_from(below(&mut random, 256)).unwrap();
            }
        } else {
            let length = rest.len().min(state.len());
            state[..length].copy_from_slice(&rest[..length]);
        }
        let invocation = policy.decide(&ScalingInput { state, ..crate::input().clone() });
        check(&invocation, policy.limits());
        let counter = if matches!(invocation.outcome, Outcome::Failure(_)) { &refused } else { &read };
        counter.set(counter.get() + 1);
    });
    neighbour_decides();
    println!("answers: {} read, {} refused", read.get(), refused.get());
    assert!(read.get() > 0 && refused.get() > 0, "{} read, {} refused", read.get(), refused.get());
}

/// The bytes from 256 to 2048 of a guest, as they are in its text.
fn good_answer(guest: &Guest) -> Vec<u8> {
    let mut memory = vec![0_u8; 70_000];
    let module = wat::parse_str(guest.wat()).unwrap();
    for payload in wasmparser::Parser::new(0).parse_all(&module) {
        if let wasmparser::Payload::DataSection(section) = payload.unwrap() {
            for data in section {
                let data = data.unwrap();
                let wasmparser::DataKind::Active { offset_expr, .. } = data.kind else { panic!() };
                let wasmparser::Operator::I32Const { value } = offset_expr.get_operators_reader().read().unwrap() else { panic!() };
                let at = usize::try_from(value).unwrap();
                memory[at..at + data.data.len()].copy_from_slice(data.data);
            }
        }
    }
    memory[256..2048].to_vec()
}

#[test]
fn the_virtual_world_stands_any_arguments_in_any_order() {
    // The state is a program: words of four numbers, the first of which says what to call.
    let (x, y) = ("(i32.load offset=4 (local.get $a))", "(i32.load offset=8 (local.get $a))");
    let z = "(i64.load32_u offset=12 (local.get $a))";
    let calls = [
        "(call $wall (i32.const 4096))".to_owned(),
        format!("(call $wall {x})"),
        "(drop (call $mono))".to_owned(),
        format!("(drop (call $after {z}))"),
        format!("(drop (call $at {z}))"),
        format!("(drop (call $ready {x}))"),
        format!("(call $block {x})"),
        format!("(call $drop {x})"),
        format!("(call $poll {x} {y} (i32.const 4096))"),
        format!("(call $poll (i32.add (local.get $a) (i32.const 8)) (i32.const 1) {y})"),
        "(drop (call $stdin))".to_owned(),
        "(drop (call $stdout))".to_owned(),
        format!("(drop (call $hear {x}))"),
        format!("(drop (call $wake {x}))"),
        format!("(call $read {x} {z} (i32.const 4096))"),
        format!("(call $print {x} {y} (i32.wrap_i64 {z}) (i32.const 4096))"),
        format!("(call $zeroes {x} {z} (i32.const 4096))"),
        format!("(call $splice {x} {y} {z} (i32.const 4096))"),
        format!("(call $bytes {z} (i32.const 4096))"),
        format!("(call $folders {x})"),
        "(drop (call $network))".to_owned(),
        format!("(call $lookup {x} {y} (i32.wrap_i64 {z}) (i32.const 4096))"),
        format!("(call $socket {x} {y})"),
        format!("(call $open {x} {y} {y} (i32.const 4096))"),
    ];
    let chosen: String = calls
        .iter()
        .enumerate()
        .map(|(n, call)| format!("(if (i32.eq (i32.rem_u (i32.load (local.get $a)) (i32.const {})) (i32.const {n})) (then {call}))", calls.len()))
        .collect();
    let body = format!(
        "(local.set $a (i32.load offset=152 (local.get $in))) (local.set $b (i32.shr_u (i32.load offset=156 (local.get $in)) (i32.const 4)))
        (block $done (loop $l (br_if $done (i32.eqz (local.get $b))) {chosen}
          (local.set $a (i32.add (local.get $a) (i32.const 16))) (local.set $b (i32.sub (local.get $b) (i32.const 1))) (br $l)))
        (i32.const 256)"
    );
    let bytes = wasi::component(&Guest::deciding(body));
    let policy = engine().load_blocking(&Candidate { limits: limits(), ..wasi::granted(&bytes) }, &[]).result.unwrap();
    let (through, stopped) = (Cell::new(0), Cell::new(0));
    fuzz("world", &Bounds { length: 1 << 10, each: DECISION, grows: 64 << 10 }, |input| {
        // Most numbers are small: handles, and lengths that are still inside.
        let state: Vec<u8> =
            input.chunks(4).flat_map(|word| word.iter().enumerate().map(move |(n, byte)| if n == 0 || word[0] % 8 == 7 { *byte } else { 0 })).collect();
        let given = ScalingInput { state, ..crate::input().clone() };
        let invocation = policy.decide(&given);
        check(&invocation, policy.limits());
        assert_eq!(invocation, policy.decide(&given));
        let counter = if matches!(invocation.outcome, Outcome::Failure(_)) { &stopped } else { &through };
        counter.set(counter.get() + 1);
    });
    neighbour_decides();
    println!("world: {} went through, {} were stopped", through.get(), stopped.get());
    assert!(through.get() > 0 && stopped.get() > 0, "{} went through, {} were stopped", through.get(), stopped.get());
}

#[test]
fn params_of_any_kind_fit_or_are_refused() {
    let schema = json!({"type": "object", "additionalProperties": {"anyOf": [
        {"type": "number", "minimum": 0}, {"type": "string", "pattern": "^(a|b)*c{1,5}$", "maxLength": 50},
        {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "uniqueItems": true}, {"type": "null"}]},
        "$defs": {"leaf": {"enum": [1, "x", null, {"a": []}]}}});
    let bytes = Guest { schema: schema.to_string(), ..Guest::default() }.build();
    let held = engine().load_blocking(&candidate(&bytes), &[]).result.unwrap();
    let (fit, refused) = (Cell::new(0), Cell::new(0));
    fuzz("params", &Bounds { length: 2 << 10, each: LOAD, grows: 64 << 10 }, |input| {
        let mut source = arbitrary::Unstructured::new(input);
        let Ok(params) = value(&mut source, 0) else { return };
        match engine().load_blocking(&Candidate { params, ..candidate(&bytes) }, &[]).result {
            Ok(policy) => {
                let _: serde_json::Value = serde_json::from_str(policy.params()).unwrap();
                fit.set(fit.get() + 1);
            }
            Err(error) => {
                assert_eq!(error.reason(), "InvalidParams");
                assert!(error.to_string().len() < 3_000, "{error}");
                refused.set(refused.get() + 1);
            }
        }
    });
    drop(held);
    assert!(fit.get() > 0 && refused.get() > 0, "{} fit, {} refused", fit.get(), refused.get());
}

/// JSON out of bytes.
fn value(source: &mut arbitrary::Unstructured<'_>, depth: usize) -> arbitrary::Result<serde_json::Value> {
    // Params are an object; what stands in it is anything, down to a depth that a manifest may have.
    let kind = if depth == 0 { 6 } else { source.int_in_range(0..=if depth > 20 { 4 } else { 6 })? };
    Ok(match kind {
        0 => serde_json::Value::Null,
        1 => json!(source.arbitrary::<bool>()?),
        2 => json!(source.arbitrary::<f64>()?),
        3 => json!(source.arbitrary::<i64>()?),
        4 => json!(source.arbitrary::<String>()?),
        5 => (0..source.int_in_range(0..=8)?).map(|_| value(source, depth + 1)).collect::<Result<_, _>>()?,
        _ => {
            let fields: arbitrary::Result<serde_json::Map<String, serde_json::Value>> =
                (0..source.int_in_range(0..=8)?).map(|_| Ok((source.arbitrary::<String>()?, value(source, depth + 1)?))).collect();
            serde_json::Value::Object(fields?)
        }
    })
}
