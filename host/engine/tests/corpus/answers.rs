//! Answers that lie: lengths, addresses, texts, cases and numbers, at each place of what `decide` and
//! `describe` return.

use crate::common::Guest;
use crate::common::wasi::component;
use crate::{Case, End, all};
use weir_engine::Limits;

/// A text or a list in the result: where its address lies (its length follows), and whether it is a text.
struct Place {
    name: &'static str,
    at: u32,
    text: bool,
}

/// Of `result<proposal, refusal>` as [`Guest`] lays it out, case 0.
const PROPOSAL: [Place; 6] = [
    Place { name: "code", at: 264, text: true },
    Place { name: "sentence", at: 272, text: true },
    Place { name: "numbers", at: 280, text: false },
    Place { name: "state", at: 288, text: false },
    Place { name: "name of a number", at: 1304, text: true },
    Place { name: "unit of a number", at: 1320, text: true },
];
/// Case 1.
const REFUSAL: [Place; 2] = [Place { name: "code of a refusal", at: 260, text: true }, Place { name: "sentence of a refusal", at: 268, text: true }];
/// Of the description.
const DESCRIPTION: [Place; 7] = [
    Place { name: "name", at: 512, text: true },
    Place { name: "version", at: 520, text: true },
    Place { name: "summary", at: 528, text: true },
    Place { name: "schema", at: 536, text: true },
    Place { name: "series", at: 544, text: false },
    Place { name: "versions of state", at: 560, text: false },
    Place { name: "name of a series", at: 576, text: true },
];

const REFUSING: &str = "(i32.store8 (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 1024)) (i32.store (i32.const 264) (i32.const 6))
    (i32.store (i32.const 268) (i32.const 1100)) (i32.store (i32.const 272) (i32.const 15))";

/// Every answer that fails is named as one of these.
const BAD: End = End::Fails(&["InvalidProposal", "ResultTooLarge", "StateTooLarge"]);

fn store(at: u32, value: i64) -> String {
    format!("(i32.store (i32.const {at}) (i32.const {value}))")
}

fn answering(name: String, body: &str, end: End) -> Case {
    Case::new(name, component(&Guest { pages: 130, ..Guest::deciding(format!("{body} (i32.const 256)")) }), end)
}

fn describing(name: String, body: &str, end: End) -> Case {
    let describe = format!("{body} (i32.const 512)");
    Case::new(name, component(&Guest { pages: 130, describe, state_versions: Some((2, vec![1])), ..Guest::default() }), end)
}

/// What a place may be made to say: a name, the address if it is changed, and the length.
const LIES: [(&str, Option<i64>, i64); 6] = [
    ("of four gibibytes", None, -1),
    ("as long as all memory", Some(0), 8_519_680),
    ("longer than memory by one", Some(0), 8_519_681),
    ("at the end of memory", Some(8_519_680), 1),
    ("at an address of minus one", Some(-1), 1),
    ("of two gibibytes from the middle", Some(4_000_000), 0x7fff_ffff),
];

#[test]
fn giant_texts_and_lists_are_refused_wherever_they_stand() {
    let lie = |place: &Place, address: Option<i64>, length| {
        format!("{} {}", address.map(|address| store(place.at, address)).unwrap_or_default(), store(place.at + 4, length))
    };
    let mut cases = Vec::new();
    for (what, address, length) in LIES {
        for place in &PROPOSAL {
            cases.push(answering(format!("{} {what}", place.name), &lie(place, address, length), BAD));
        }
        for place in &REFUSAL {
            cases.push(answering(format!("{} {what}", place.name), &format!("{REFUSING} {}", lie(place, address, length)), BAD));
        }
        for place in &DESCRIPTION {
            cases.push(describing(
                format!("described {} {what}", place.name),
                &lie(place, address, length),
                End::Refused(&["DescribeFailed", "InvalidDescription"]),
            ));
        }
    }
    all(cases);
}

#[test]
fn text_that_is_no_text_is_refused_wherever_it_stands() {
    // A byte that never occurs, a lonely continuation, an overlong slash, a surrogate, one beyond Unicode, one cut off.
    let broken: [(&str, &[u8]); 6] = [
        ("ff", &[0xff]),
        ("80", &[0x80]),
        ("c0 af", &[0xc0, 0xaf]),
        ("ed a0 80", &[0xed, 0xa0, 0x80]),
        ("f4 90 80 80", &[0xf4, 0x90, 0x80, 0x80]),
        ("e2 82", &[0xe2, 0x82]),
    ];
    let mut cases = Vec::new();
    for (name, bytes) in broken {
        let write: String = (8192..).zip(bytes).map(|(at, byte)| format!("(i32.store8 (i32.const {at}) (i32.const {byte}))")).collect();
        let lie = |place: &Place| format!("{write} {} {}", store(place.at, 8192), store(place.at + 4, i64::try_from(bytes.len()).unwrap()));
        for place in PROPOSAL.iter().filter(|place| place.text) {
            cases.push(answering(format!("{} {name}", place.name), &lie(place), End::Fails(&["InvalidProposal"])));
        }
        for place in &REFUSAL {
            cases.push(answering(format!("{} {name}", place.name), &format!("{REFUSING} {}", lie(place)), End::Fails(&["InvalidProposal"])));
        }
        for place in DESCRIPTION.iter().filter(|place| place.text) {
            cases.push(describing(format!("described {} {name}", place.name), &lie(place), End::Refused(&["DescribeFailed"])));
        }
    }
    // Text that is text and no word: what would break a line, a label or a terminal.
    for (name, byte) in [("a line break", 10), ("an escape", 27), ("a zero", 0)] {
        let write = format!("(i32.store8 (i32.const 1024) (i32.const {byte}))");
        cases.push(answering(format!("code with {name}"), &write, End::Fails(&["InvalidProposal"])));
        let write = format!("(i32.store8 (i32.const 1400) (i32.const {byte}))");
        cases.push(describing(format!("described name with {name}"), &write, End::Refused(&["InvalidDescription"])));
    }
    all(cases);
}

#[test]
fn cases_that_do_not_exist_are_refused() {
    let mut cases: Vec<Case> = [2, 3, 127, 128, 255]
        .into_iter()
        .map(|case| answering(format!("case {case} of two"), &format!("(i32.store8 (i32.const 256) (i32.const {case}))"), End::Fails(&["InvalidProposal"])))
        .collect();
    // Any bit pattern is a bool: not zero is true.
    cases.push(describing("a bool of 255".to_owned(), "(i32.store8 (i32.const 568) (i32.const 255))", End::Decides));
    for (name, address) in [("no multiple of eight", 257_i64), ("outside", 8_519_650), ("at minus four", -4), ("at minus eight", -8)] {
        let bytes = component(&Guest { pages: 130, ..Guest::deciding(format!("(i32.const {address})")) });
        cases.push(Case::new(format!("a result that lies {name}"), bytes, End::Fails(&["InvalidProposal"])));
        let bytes = component(&Guest { pages: 130, describe: format!("(i32.const {address})"), ..Guest::default() });
        cases.push(Case::new(format!("a description that lies {name}"), bytes, End::Refused(&["DescribeFailed"])));
    }
    all(cases);
}

#[test]
fn numbers_that_are_none_are_refused_whatever_their_bits() {
    let patterns: [u64; 9] = [
        0x7ff8_0000_0000_0000,
        0xfff8_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0xfff0_0000_0000_0001,
        0x7fff_ffff_ffff_ffff,
        0xffff_ffff_ffff_ffff,
        0x7ff4_dead_beef_0001,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
    ];
    let number = |bits: u64| format!("(i64.store (i32.const 1312) (i64.const 0x{bits:x}))");
    let mut cases: Vec<Case> =
        patterns.into_iter().map(|bits| answering(format!("a number with the bits {bits:016x}"), &number(bits), End::Fails(&["InvalidProposal"]))).collect();
    for bits in [0_u64, 1, 0x8000_0000_0000_0000, 0x7fef_ffff_ffff_ffff, 0x000f_ffff_ffff_ffff] {
        cases.push(answering(format!("a number with the bits {bits:016x}"), &number(bits), End::Decides));
    }
    for replicas in [150_001_i64, -1, i64::from(i32::MIN)] {
        cases.push(answering(format!("{replicas} replicas"), &store(260, replicas), End::Fails(&["InvalidProposal"])));
    }
    all(cases);
}

#[test]
fn states_and_lists_of_every_size_are_held_to_their_limits() {
    let sized =
        |name: &str, at: u32, length: i64, end| answering(format!("{name} of {length}"), &format!("{} {}", store(at, 8192), store(at + 4, length)), end);
    let mut cases = Vec::new();
    for length in [0, 1, 60_000] {
        cases.push(sized("a state", 288, length, End::Decides));
    }
    for length in [65_537, 100_000, 1_000_000, 8_000_000] {
        cases.push(sized("a state", 288, length, End::Fails(&["StateTooLarge", "ResultTooLarge"])));
    }
    // Numbers without a name are as many as fit the list: 32. The elements at 8192 are all zeros.
    cases.push(sized("numbers", 280, 32, End::Decides));
    for length in [33, 1_000, 100_000, 300_000] {
        cases.push(sized("numbers", 280, length, BAD));
    }
    let mut tight = sized("a state where none is allowed", 288, 1, End::Fails(&["StateTooLarge"]));
    tight.limits = Limits { state_bytes: 0, ..Limits::default() };
    cases.push(tight);
    all(cases);
}

#[test]
fn schemas_that_are_bombs_are_refused() {
    let nested = format!("{}1{}", "[".repeat(60_000 / 2), "]".repeat(60_000 / 2));
    let wide: String = (0..2_000).map(|n| format!("\"p{n}\":{{\"type\":\"number\"}},")).collect();
    let doubling: String =
        (0..60).map(|n| format!("\"d{n}\":{{\"allOf\":[{{\"$ref\":\"#/$defs/d{next}\"}},{{\"$ref\":\"#/$defs/d{next}\"}}]}},", next = n + 1)).collect();
    let pattern = format!("{{\"properties\":{{\"a\":{{\"pattern\":\"{}\"}}}}}}", "(a{1,1000}){1,1000}".repeat(20));
    let case = |name: &str, schema: String, end| Case::new(name, component(&Guest { schema, ..Guest::default() }), end);
    let invalid = End::Refused(&["InvalidDescription"]);
    all([
        case("a schema of brackets", nested, invalid),
        case("a schema that is nested as objects", format!("{}{{}}{}", "{\"not\":".repeat(9_000), "}".repeat(9_000)), invalid),
        case("a schema that is nested as deep as may be", format!("{}{{}}{}", "{\"not\":".repeat(100), "}".repeat(100)), End::Decides),
        case("a schema with thousands of params", format!("{{\"type\":\"object\",\"properties\":{{{}}}}}", wide.trim_end_matches(',')), End::Decides),
        case("a schema that doubles sixty times", format!("{{\"$defs\":{{{doubling}\"d60\":{{}}}},\"$ref\":\"#/$defs/d0\"}}"), invalid),
        case("a schema that refers to itself", "{\"$ref\":\"#\"}".to_owned(), invalid),
        case("a schema with a pattern of a million states", pattern, invalid),
        case("a schema with a number of ten thousand digits", format!("{{\"minimum\":{}}}", "9".repeat(10_000)), End::Refused(&["InvalidDescription"])),
    ]);
}
