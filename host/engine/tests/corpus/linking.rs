//! Components that are small and become large: types, aliases, instances inside instances, modules
//! that need each other.

use crate::common::Guest;
use crate::common::wasi::component;
use crate::{Case, End, all};
use std::time::Duration;

/// A component of the right world around `body`, which has to define no function of its own.
fn around(body: &str) -> bytes::Bytes {
    let text = format!(
        r#"(component $top
          {body}
          (core module $policy (func (export "f")))
          (core instance $p (instantiate $policy))
          (func $f (canon lift (core func $p "f")))
          (instance $e (export "describe" (func $f)) (export "decide" (func $f)))
          (export "weir:policy/describe@0.1.0" (instance $e))
          (export "weir:policy/scaling@0.1.0" (instance $e)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}")).into()
}

/// Harmless in itself, but its functions have other types than the contract's.
const OTHER: End = End::Refused(&["WrongTypes"]);
/// As the engine itself bounds a number of instances.
const OTHER_OR_MANY: End = End::Refused(&["WrongTypes", "CompileFailed"]);
const COMPLEX: End = End::Refused(&["TooComplex"]);

#[test]
fn instances_that_double_at_each_level_are_refused_before_they_are_linked() {
    let level = |depth: usize, times: usize| -> String {
        let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
        for n in 1..=depth {
            let instances = "(instance (instantiate $c))".repeat(times);
            text.push_str(&format!("(component $c{n} (alias outer $top $c{} (component $c)) {instances})", n - 1));
        }
        format!("{text} (instance (instantiate $c{depth}))")
    };
    all([
        Case::new("thirty levels that double", around(&level(30, 2)), COMPLEX),
        Case::new("ten levels of ten", around(&level(10, 10)), COMPLEX),
        Case::new("two levels of a thousand", around(&level(2, 1000)), COMPLEX),
        Case::new(
            "components as arguments of components",
            around("(component $apply (import \"c\" (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))"),
            COMPLEX,
        ),
    ]);
}

#[test]
fn thousands_of_instances_and_aliases_are_no_trouble_or_refused() {
    let aliases =
        "(component $c (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) (func (export \"f\") (canon lift (core func $i \"f\"))))
        (instance $i (instantiate $c))";
    let many = |count: usize| format!("{aliases} {}", "(alias export $i \"f\" (func))".repeat(count));
    let exports = (0..3_000).map(|n| format!("(instance (export \"a{n}\" (func $i \"f\")))")).collect::<String>();
    let modules = |count: usize| "(core module (func (export \"f\")))".repeat(count);
    let instances = |count: usize| format!("(core module $m (func (export \"f\"))) {}", "(core instance (instantiate $m))".repeat(count));
    all([
        Case::new("ten thousand aliases", around(&many(10_000)), OTHER).compiling(Duration::from_secs(20), 256),
        Case::new("two hundred thousand aliases", around(&many(200_000)), COMPLEX).compiling(Duration::from_secs(20), 256),
        Case::new("three thousand instances of exports", around(&format!("{aliases} {exports}")), OTHER_OR_MANY).compiling(Duration::from_secs(20), 256),
        Case::new("sixty-five modules", around(&modules(65)), COMPLEX),
        Case::new("a hundred instances of a module", around(&instances(100)), End::Refused(&["DescribeFailed", "TooComplex", "CompileFailed"])),
        Case::new("four thousand instances of a module", around(&instances(4_000)), End::Refused(&["DescribeFailed", "TooComplex", "CompileFailed"]))
            .compiling(Duration::from_secs(20), 256),
    ]);
}

#[test]
fn modules_that_need_each_other_are_linked_once_and_held_to_the_limits() {
    // Each module calls the one before it and is called by the next: sixty of them, then around in a circle.
    let mut chain = "(core module $m0 (func (export \"f\"))) (core instance $i0 (instantiate $m0))".to_owned();
    for n in 1..60 {
        chain.push_str(&format!(
            "(core module $m{n} (import \"before\" \"f\" (func $f)) (func (export \"f\") (call $f) (call $f))) (core instance $i{n} (instantiate $m{n} (with \"before\" (instance $i{}))))",
            n - 1
        ));
    }
    // The start of a module calls the chain, which doubles at each of sixty levels.
    let start = "(core module $s (import \"before\" \"f\" (func $f)) (start $f)) (core instance (instantiate $s (with \"before\" (instance $i59))))";
    // One module's table holds another one's function, which calls the table.
    let circle = "(core module $a (table (export \"t\") 1 funcref) (func (export \"call\") (call_indirect (i32.const 0))))
        (core instance $a (instantiate $a))
        (core module $b (import \"a\" \"t\" (table 1 funcref)) (import \"a\" \"call\" (func $call)) (func $f (call $call) (call $call)) (elem (i32.const 0) $f) (start $f))
        (core instance (instantiate $b (with \"a\" (instance $a))))";
    all([
        Case::new("a chain of sixty modules", around(&chain), OTHER).compiling(Duration::from_secs(20), 256),
        Case::new("a chain that doubles at each module", around(&format!("{chain} {start}")), End::Refused(&["DescribeFailed"]))
            .compiling(Duration::from_secs(20), 256),
        Case::new("two modules that call each other", around(circle), End::Refused(&["DescribeFailed"])),
    ]);
}

#[test]
fn deep_and_wide_types_are_no_trouble() {
    let lists = (0..99).map(|n| format!("(type $l{} (list {}))", n + 1, if n == 0 { "u8".to_owned() } else { format!("$l{n}") })).collect::<String>();
    let doubling = |levels: usize| -> String {
        (0..levels)
            .map(|n| {
                let inner = if n == 0 { "u8".to_owned() } else { format!("$t{n}") };
                format!("(type $t{} (tuple {inner} {inner}))", n + 1)
            })
            .collect()
    };
    let fields = (0..5_000).map(|n| format!("(field \"f{n}\" string)")).collect::<String>();
    let taking = |ty: &str| format!("(component $c (import \"f\" (func (param \"a\" {ty})))) ");
    let deep = (0..150).map(|n| format!("(type $d{} (list {}))", n + 1, if n == 0 { "u8".to_owned() } else { format!("$d{n}") })).collect::<String>();
    let any = End::Refused(&["WrongTypes", "CompileFailed", "Malformed", "TooComplex"]);
    all([
        Case::new(
            "lists of lists, ninety-nine deep",
            around(&format!("{lists} {}", taking("$l99").replace("(component $c", "(component $c (alias outer $top $l99 (type $l99))"))),
            any,
        ),
        Case::new("lists of lists, a hundred and fifty deep", around(&deep), any),
        Case::new("a tuple that doubles fifteen times", around(&doubling(15)), any).compiling(Duration::from_secs(20), 256),
        Case::new("a tuple that doubles sixty times", around(&doubling(60)), any).compiling(Duration::from_secs(20), 256),
        Case::new("a record of five thousand texts", around(&format!("(type (record {fields}))")), any).compiling(Duration::from_secs(20), 256),
    ]);
}

#[test]
fn calls_between_inner_components_are_bounded_too() {
    // An adapter is compiled for each function that one inner component calls of another.
    let record = (0..200).map(|n| format!("(field \"f{n}\" string)")).collect::<String>();
    let memory = "(memory (export \"m\") 1) (func (export \"r\") (param i32 i32 i32 i32) (result i32) (i32.const 0))";
    let callee = |count: usize| {
        let exports = (0..count)
            .map(|n| {
                format!(
                    "(func (export \"f{n}\") (param \"a\" $t) (canon lift (core func $i \"f\") (memory (core memory $i \"m\")) (realloc (core func $i \"r\"))))"
                )
            })
            .collect::<String>();
        format!(
            "(component $callee (type $r (record {record})) (export $t \"t\" (type $r)) (core module $m {memory} (func (export \"f\") (param i32))) (core instance $i (instantiate $m)) {exports})"
        )
    };
    let caller = |count: usize| {
        let imports = (0..count).map(|n| format!("(import \"f{n}\" (func $f{n} (param \"a\" $t)))")).collect::<String>();
        let lowered = (0..count).map(|n| format!("(core func $l{n} (canon lower (func $f{n}) (memory (core memory $i \"m\"))))")).collect::<String>();
        let wanted = (0..count).map(|n| format!("(import \"a\" \"f{n}\" (func (param i32)))")).collect::<String>();
        let given = (0..count).map(|n| format!("(export \"f{n}\" (func $l{n}))")).collect::<String>();
        format!(
            "(component $caller (type $r (record {record})) (import \"t\" (type $t (eq $r))) {imports}
              (core module $m {memory}) (core instance $i (instantiate $m)) {lowered}
              (core module $u {wanted}) (core instance (instantiate $u (with \"a\" (instance {given})))))"
        )
    };
    let both = |count: usize| {
        let with = (0..count).map(|n| format!("(with \"f{n}\" (func $a \"f{n}\"))")).collect::<String>();
        format!("{} {} (instance $a (instantiate $callee)) (instance (instantiate $caller (with \"t\" (type $a \"t\")) {with}))", callee(count), caller(count))
    };
    let end = End::Refused(&["WrongTypes", "TooComplex", "CompileFailed", "CompilerCrashed"]);
    all([
        Case::new("ten calls with two hundred texts between components", around(&both(10)), end).compiling(Duration::from_secs(30), 512),
        Case::new("five hundred calls with two hundred texts between components", around(&both(500)), end).compiling(Duration::from_secs(30), 512),
    ]);
}

#[test]
fn data_and_tables_that_are_claimed_and_not_there_take_no_memory() {
    let at = |address: u32| format!("(data (i32.const {address}) \"x\")");
    let guest = |name: &str, more: String, pages, end| Case::new(name, component(&Guest { more, pages, ..Guest::default() }), end);
    let segments: String = (0..2_000).map(|n| format!("(data (i32.const {}) \"x\")", n * 4000)).collect();
    all([
        guest("one byte at each end of sixteen mebibytes", at((16 << 20) - 1), 256, End::Decides),
        guest("one byte at the end of 128 mebibytes", at((128 << 20) - 1), 2048, End::Refused(&["DescribeFailed"])),
        guest("one byte at the end of four gibibytes", at(u32::MAX), 65536, End::Refused(&["DescribeFailed", "CompileFailed", "TooComplex"])),
        guest("data outside of memory", at(u32::MAX), 3, End::Refused(&["DescribeFailed", "CompileFailed"])),
        Case::new("sixty memories", around(&"(core module (memory 1) (data (i32.const 0) \"x\"))".repeat(60)), COMPLEX),
        guest("two thousand bytes far apart", segments, 130, End::Decides),
        guest("a table of ten million entries", "(table 10000000 funcref)".to_owned(), 3, End::Refused(&["DescribeFailed", "CompileFailed", "TooComplex"])),
        guest("a hundred tables", "(table 1 funcref)".repeat(100), 3, End::Refused(&["DescribeFailed", "CompileFailed", "TooComplex"])),
    ]);
}
