//! Fuzzing of schemas that a policy may export, with params for them: both are untrusted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use crate::fuzz::{Bounds, below, fuzz, mutate};
use crate::schema::{MAX_PARAMS_BYTES, ParamsSchema};
use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::time::Duration;

/// Schemas that are taken, to be damaged.
const WHOLE: [&str; 4] = [
    r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"type":"string","pattern":"^(a+)+$"}},"$defs":{"n":{"type":"number","minimum":0}},"required":["a"]}"##,
    r#"{"type":"object","additionalProperties":{"oneOf":[{"type":"integer","multipleOf":0.1},{"type":"array","items":{"enum":[1,2]},"uniqueItems":true,"contains":{"const":1}}]}}"#,
    r#"{"type":"object","patternProperties":{"^[a-z]{1,8}$":{"not":{"type":"null"}}},"propertyNames":{"maxLength":9},"unevaluatedProperties":false}"#,
    r#"{"if":{"properties":{"a":{"const":1}}},"then":{"required":["b"]},"else":{"dependentSchemas":{"a":{"minProperties":2}}},"prefixItems":[true,false]}"#,
];

/// Keywords of JSON Schema, some of which are not allowed.
const WORDS: [&str; 40] = [
    "type",
    "properties",
    "items",
    "prefixItems",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "required",
    "enum",
    "const",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$defs",
    "$id",
    "$anchor",
    "$schema",
    "$vocabulary",
    "dependentSchemas",
    "dependentRequired",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contentEncoding",
];

/// Texts that stand in schemas.
const TEXTS: [&str; 18] = [
    "object",
    "number",
    "string",
    "array",
    "#",
    "#/$defs/a",
    "#/$defs/b",
    "#/properties/a",
    "#/allOf/0",
    "a",
    "b",
    "^(a|b)*$",
    "(a{1,90}){1,90}",
    "[",
    "\\p{L}+",
    "(?=a)b",
    "https://example.com/x",
    "https://json-schema.org/draft/2020-12/schema",
];

#[test]
fn schemas_of_any_kind_are_taken_or_refused_in_bounded_time() {
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    // What the other tests of this process take counts, too.
    fuzz("schema", &Bounds { length: 4 << 10, each: Duration::from_secs(5), grows: 512 << 10 }, |input| {
        let (first, rest) = input.split_first().unwrap_or((&0, &[]));
        let mut seed = [0_u8; 32];
        for (at, byte) in rest.iter().enumerate() {
            seed[at % 32] = seed[at % 32].wrapping_mul(31).wrapping_add(*byte);
        }
        let mut random = ChaCha8Rng::from_seed(seed);
        let text = match first % 4 {
            0 => String::from_utf8_lossy(rest).into_owned(),
            1 => {
                let mut bytes = WHOLE[below(&mut random, WHOLE.len())].as_bytes().to_vec();
                mutate(&mut bytes, &mut random);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => object(&mut random, 0).to_string(),
        };
        match ParamsSchema::parse(&text) {
            Err(error) => {
                assert_eq!(error.reason(), "InvalidDescription");
                assert!(error.to_string().len() < 4_000, "{error}");
                refused.set(refused.get() + 1);
            }
            Ok(schema) => {
                for params in [json!({"a": 1, "b": "aab"}), object(&mut random, 0)] {
                    match schema.check(&params) {
                        Ok(params) => assert!(params.len() <= MAX_PARAMS_BYTES),
                        Err(error) => assert!(error.reason() == "InvalidParams" && error.to_string().len() < 4_000, "{error}"),
                    }
                }
                taken.set(taken.get() + 1);
            }
        }
    });
    println!("schema: {} taken, {} refused", taken.get(), refused.get());
    assert!(taken.get() > 0 && refused.get() > 0, "{} taken, {} refused", taken.get(), refused.get());
}

fn object(random: &mut ChaCha8Rng, depth: usize) -> Value {
    let fields = below(random, 6);
    Value::Object(
        (0..fields)
            .map(|_| {
                let name = if random.next_u32().is_multiple_of(4) { TEXTS[below(random, TEXTS.len())] } else { WORDS[below(random, WORDS.len())] };
                (name.to_owned(), value(random, depth + 1))
            })
            .collect::<Map<_, _>>(),
    )
}

fn value(random: &mut ChaCha8Rng, depth: usize) -> Value {
    match below(random, if depth > 8 { 6 } else { 10 }) {
        0 => Value::Null,
        1 => Value::Bool(random.next_u32().is_multiple_of(2)),
        2 => Value::from([0.0, -1.0, 0.1, 1e308, 1e-308, 4.0][below(random, 6)]),
        3 => Value::from([0_u64, 1, 2, 40, 1 << 40, u64::MAX][below(random, 6)]),
        4 | 5 => Value::String(TEXTS[below(random, TEXTS.len())].to_owned()),
        6 => (0..below(random, 4)).map(|_| value(random, depth + 1)).collect(),
        _ => object(random, depth),
    }
}
