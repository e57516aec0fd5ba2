//! What the compiler has to work on longest: functions that are huge, or small and worse. What is
//! refused is refused at once; what is let through is compiled within the bounds that are stated here.

use crate::common::Guest;
use crate::common::wasi::component;
use crate::{Case, End, all};
use std::time::Duration;

const COMPLEX: End = End::Refused(&["TooComplex"]);

/// Longest compilation of what passes, on a machine of two slow cores that does something else beside it.
const WITHIN: Duration = Duration::from_secs(30);

/// Mebibytes that compiling it may take.
const MEBIBYTES: u64 = 1024;

fn functions(name: &str, more: String, end: End) -> Case {
    Case::new(name, component(&Guest { more, ..Guest::default() }), end).compiling(WITHIN, MEBIBYTES)
}

#[test]
fn functions_above_the_limits_are_refused_before_they_are_compiled() {
    let adds = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(80_000);
    let nested = |kind: &str, count: usize| format!("(func {} {})", format!("{kind} ").repeat(count), "end ".repeat(count));
    let branches = |count: usize| format!("(func (param i32) {})", "(br_if 0 (local.get 0))".repeat(count));
    let loops = |count: usize| format!("(func (param i32) {})", "(loop (br_if 0 (local.get 0)))".repeat(count));
    let repeating = |count: usize| format!("(func (param i32) {} {})", "loop ".repeat(count), "local.get 0 br_if 0 end ".repeat(count));
    all([
        functions("half a mebibyte and more", format!("(func (local i32) {adds})"), COMPLEX),
        functions("ten thousand branches to one place", branches(10_000), End::Decides),
        functions("sixty thousand branches to one place", branches(60_000), COMPLEX),
        functions("five thousand loops after each other", loops(5_000), End::Decides),
        functions("thirty thousand loops after each other", loops(30_000), COMPLEX),
        functions("ten thousand blocks inside each other", nested("block", 10_000), End::Decides),
        functions("sixty thousand blocks inside each other", nested("block", 60_000), COMPLEX),
        functions("two thousand loops inside each other", nested("loop", 2_000), COMPLEX),
        functions("nine hundred loops inside each other", nested("loop", 900), End::Decides),
        functions("nine hundred loops inside each other that repeat", repeating(900), End::Decides),
        functions("two thousand loops inside each other that repeat", repeating(2_000), COMPLEX),
    ]);
}

#[test]
fn locals_that_live_everywhere_compile_in_bounded_time_or_are_refused() {
    // Each loop needs a value of its own for each local that is used inside.
    let loops = |locals: usize, depth: usize| {
        let touch: String = (0..locals).map(|n| format!("local.get {n} i32.const 1 i32.add local.set {n} ")).collect();
        format!("(func {} {} {touch} {})", "(local i32)".repeat(locals), "loop ".repeat(depth), "local.get 0 br_if 0 end ".repeat(depth))
    };
    let diamonds = |locals: usize, count: usize| {
        let touch: String = (0..locals).map(|n| format!("local.get {n} ")).collect();
        let join: String = (0..count).map(|n| format!("local.get 0 if local.get 1 local.set {} end ", n % locals)).collect();
        format!("(func {} {join} {touch} {})", "(local i32)".repeat(locals), "drop ".repeat(locals))
    };
    all([
        functions("nine hundred loops around a hundred locals", loops(100, 900), End::Decides),
        functions("ten thousand loops around a thousand locals", loops(1_000, 10_000), COMPLEX),
        functions("fifty thousand loops around twenty thousand locals", loops(20_000, 50_000), COMPLEX),
        functions("twenty locals and many conditions", diamonds(20, 20_000), End::Decides),
        functions("two thousand locals and many conditions", diamonds(2_000, 60_000), COMPLEX),
        functions("fifty thousand locals that nothing uses", format!("(func {})", "(local i64)".repeat(49_000)), End::Decides),
    ]);
}

#[test]
fn calls_that_carry_much_are_counted_as_what_they_carry() {
    let results = "i32 ".repeat(1_000);
    let many = |calls: usize| format!("(func $many (result {results}) unreachable) (func {})", format!("call $many {} ", "drop ".repeat(1_000)).repeat(calls));
    // The values of a thousand calls stay, so that nothing is dropped before the end.
    let kept = |calls: usize| format!("(func $many (result {results}) unreachable) (func {} unreachable)", "call $many ".repeat(calls));
    let blocks = |count: usize| {
        format!(
            "(type $t (func (param {results}) (result {results}))) (func $many (result {results}) unreachable) (func call $many {} {} unreachable)",
            "block (type $t) ".repeat(count),
            "end ".repeat(count)
        )
    };
    all([
        functions("two hundred calls with a thousand results", many(200), End::Decides),
        functions("a thousand calls whose results all stay", kept(1_000), End::Decides),
        functions("a hundred thousand calls whose results all stay", kept(100_000), COMPLEX),
        functions("two hundred blocks that carry a thousand values", blocks(200), End::Decides),
        functions("a hundred thousand blocks that carry a thousand values", blocks(100_000), COMPLEX),
    ]);
}

#[test]
fn functions_without_number_compile_in_bounded_time_or_are_refused() {
    all([
        functions("fifty thousand functions", "(func)".repeat(50_000), End::Decides),
        functions("a hundred and one thousand functions", "(func)".repeat(101_000), COMPLEX),
        functions("fifty thousand functions in tables", format!("(func $f) (table 20000 funcref) (elem (i32.const 0) {})", "$f ".repeat(20_000)), End::Decides),
        functions("ten thousand globals", "(global (mut i64) (i64.const 1))".repeat(10_000), End::Decides),
        functions(
            "ten thousand types",
            (0..10_000).map(|n| format!("(type (func (param {})))", if n % 2 == 0 { "i32 i64" } else { "f64" })).collect(),
            End::Decides,
        ),
        functions("a name of a hundred kilobytes", format!("(func (export \"{}\"))", "n".repeat(99_000)), End::Decides),
    ]);
}
