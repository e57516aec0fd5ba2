//! What runs without end, or takes without end, once it is called.

use crate::common::Guest;
use crate::common::wasi::{component, from_module};
use crate::{Case, End, all};

/// Ends by fuel; on a slow machine the deadline may come first.
const SPENT: End = End::Fails(&["FuelExhausted", "DeadlineExceeded"]);
const TRAP: End = End::Fails(&["Trap"]);
const MEMORY: End = End::Fails(&["MemoryLimit"]);
/// Growing costs fuel for each entry, so the fuel may end first.
const END_OR_FUEL: End = End::Fails(&["MemoryLimit", "FuelExhausted"]);

fn deciding(name: &str, body: &str, more: &str, end: End) -> Case {
    Case::new(name, component(&Guest { more: more.to_owned(), ..Guest::deciding(format!("{body} (i32.const 256)")) }), end)
}

#[test]
fn loops_of_every_kind_end() {
    let table = "(table $t 2 funcref) (elem (i32.const 0) $bounce $bounce)
        (func $bounce (param i32) (call_indirect $t (param i32) (local.get 0) (i32.const 1)))";
    let tail = "(func $tail (param i32) (return_call $tail (i32.add (i32.const 1) (local.get 0))))";
    let targets = "$b ".repeat(500);
    all([
        deciding("a loop of one branch", "(loop $l (br $l))", "", SPENT),
        deciding("a loop that computes", "(loop $l (local.set $a (i32.mul (local.get $a) (i32.const 31))) (br $l))", "", SPENT),
        deciding("a loop by br_table", &format!("(loop $b (br_table {targets} (local.get $a)))"), "", SPENT),
        deciding("a loop inside a thousand blocks", &format!("{} (loop $l (br $l)) {}", "(block ".repeat(1000), ")".repeat(1000)), "", SPENT),
        deciding("a loop of tail calls", "(call $tail (i32.const 0))", tail, SPENT),
        deciding("a loop that fills all memory", "(loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 196608)) (br $l))", "", SPENT),
        deciding("a loop that copies all memory", "(loop $l (memory.copy (i32.const 0) (i32.const 1) (i32.const 196607)) (br $l))", "", SPENT),
        deciding(
            "sixteen mebibytes filled over and over",
            "(drop (memory.grow (i32.const 253))) (loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 16777216)) (br $l))",
            "",
            SPENT,
        ),
        deciding(
            "a loop of table.fill",
            "(loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 20000)) (br $l))",
            "(table $t 20000 funcref)",
            SPENT,
        ),
        deciding("a loop of growths by nothing", "(loop $l (drop (memory.grow (i32.const 0))) (br $l))", "", SPENT),
        deciding("a loop of growths that are denied", "(loop $l (drop (memory.grow (i32.const 65536))) (br $l))", "", MEMORY),
        deciding("a loop of square roots", "(loop $l (drop (f64.sqrt (f64.const -1))) (br $l))", "", SPENT),
        deciding(
            "a loop of vectors",
            "(loop $l (drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (v128.const i64x2 1 2) (v128.const i64x2 3 4))) (br $l))",
            "",
            SPENT,
        ),
        deciding("calls to itself", "(call $r (i32.const 0))", "(func $r (param i32) (call $r (local.get 0)) (drop (i32.const 1)))", TRAP),
        deciding("two that call each other", "(call $p)", "(func $p (call $q) (drop (i32.const 1))) (func $q (call $p) (drop (i32.const 1)))", TRAP),
        deciding("calls to itself through a table", "(call $bounce (i32.const 0))", table, TRAP),
        deciding(
            "calls to itself with a thousand locals",
            "(call $r)",
            &format!("(func $r {} (call $r) {})", "(local i64)".repeat(1000), (0..1000).map(|n| format!("(drop (local.get {n}))")).collect::<String>()),
            TRAP,
        ),
        deciding(
            "recursion without a leaf and without a stop",
            "(drop (call $f (i32.const 60)))",
            "(func $f (param i32) (result i32) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (i32.const 1)) (else (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 2)))))))",
            SPENT,
        ),
    ]);
}

#[test]
fn what_grows_without_end_is_stopped_at_its_limit() {
    all([
        deciding("memory page by page until it may not", "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) (unreachable)", "", MEMORY),
        deciding("memory all at once", "(if (i32.eq (i32.const -1) (memory.grow (i32.const 65000))) (then (unreachable)))", "", MEMORY),
        deciding(
            "memory, every page written",
            "(loop $l (local.set $a (memory.grow (i32.const 1))) (if (i32.eq (local.get $a) (i32.const -1)) (then (unreachable))) (memory.fill (i32.shl (local.get $a) (i32.const 16)) (i32.const 1) (i32.const 65536)) (br $l))",
            "",
            MEMORY,
        ),
        deciding(
            "a table entry by entry",
            "(loop $l (br_if $l (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 1))))) (unreachable)",
            "(table $t 0 funcref)",
            End::Fails(&["MemoryLimit", "FuelExhausted"]),
        ),
        deciding(
            "a table of four billion entries",
            "(if (i32.eq (i32.const -1) (table.grow $t (ref.null func) (i32.const -1))) (then (unreachable)))",
            "(table $t 0 funcref)",
            END_OR_FUEL,
        ),
        Case::new(
            "an allocator that only grows",
            lying("(drop (memory.grow (i32.const 100))) (br $l)", true),
            End::Fails(&["MemoryLimit", "FuelExhausted", "DeadlineExceeded"]),
        ),
    ]);
}

/// A guest whose `cabi_realloc` runs `body`, in a loop or not.
fn lying(body: &str, looping: bool) -> bytes::Bytes {
    let body = if looping { format!("(loop $l {body}) (unreachable)") } else { body.to_owned() };
    let text = Guest::default().wat();
    let (before, after) = text.split_once("(local $at i32)").unwrap();
    let (_, rest) = after.split_once("(func $decide").unwrap();
    from_module(&format!("{before} {body})\n(func $decide{rest}"))
}

#[test]
fn allocators_that_lie_harm_nobody() {
    all([
        Case::new("an allocator that loops", lying("(br $l)", true), SPENT),
        Case::new("an allocator that traps", lying("(unreachable)", false), TRAP),
        Case::new("an allocator that gives the end of memory", lying("(i32.const 196607)", false), TRAP),
        Case::new("an allocator that gives what is far outside", lying("(i32.const -16)", false), TRAP),
        Case::new("an allocator that gives odd addresses", lying("(i32.const 100001)", false), TRAP),
        // Everything lies on top of everything else: the guest sees nonsense, and nobody else does.
        Case::new("an allocator that gives the same place always", lying("(i32.const 131072)", false), End::Decides),
        Case::new(
            "an allocator that gives its own result's place",
            lying("(i32.const 256)", false),
            End::Fails(&["InvalidProposal", "ResultTooLarge", "Trap"]),
        ),
        Case::new("an allocator that calls itself", lying("(call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1))", false), TRAP),
    ]);
}

#[test]
fn what_runs_before_or_after_the_call_is_held_to_the_same_limits() {
    let post = |body: &str| format!("(func (export \"cabi_post_weir:policy/scaling@0.1.0#decide\") (param i32) {body})");
    let start = |body: &str| format!("(func $s {body}) (start $s)");
    let refused = End::Refused(&["DescribeFailed"]);
    all([
        deciding("a start function that loops", "", &start("(loop $l (br $l))"), refused),
        deciding("a start function that traps", "", &start("(unreachable)"), refused),
        deciding("a start function that grows", "", &start("(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) (unreachable)"), refused),
        deciding("a clean-up that loops", "", &post("(loop $l (br $l))"), SPENT),
        deciding("a clean-up that traps", "", &post("(unreachable)"), TRAP),
        deciding("a clean-up that calls itself", "", &format!("{} (func $r (call $r) (drop (i32.const 1)))", post("(call $r)")), TRAP),
        Case::new("a describe that loops", component(&Guest { describe: "(loop $l (br $l)) (unreachable)".to_owned(), ..Guest::default() }), refused),
        Case::new(
            "a describe that grows",
            component(&Guest {
                describe: "(loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 1))))) (unreachable)".to_owned(),
                ..Guest::default()
            }),
            refused,
        ),
    ]);
}

#[test]
fn a_describe_cannot_say_something_else_each_time() {
    // It tries by all that it has: memory, the clocks, random numbers.
    let describe = "(i32.store8 (i32.const 1400) (i32.add (i32.const 97) (i32.wrap_i64 (i64.rem_u (i64.add (call $random) (call $mono)) (i64.const 26)))))
        (i32.store8 (i32.const 1401) (i32.add (i32.const 97) (i32.rem_u (i32.load (i32.const 8192)) (i32.const 26))))
        (i32.store (i32.const 8192) (i32.add (i32.const 1) (i32.load (i32.const 8192))))
        (i32.const 512)";
    let bytes = component(&Guest { describe: describe.to_owned(), ..Guest::default() });
    let names: std::collections::BTreeSet<String> = (0..20).map(|_| crate::common::wasi::load(&bytes).unwrap().description().name.clone()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn storms_of_calls_to_the_virtual_world_end() {
    let setup = "(local.set $a (call $stdout)) (local.set $b (call $stdin))";
    let storm = |name: &str, call: &str, end| deciding(name, &format!("{setup} (loop $l {call} (br $l))"), "", end);
    all([
        storm("a million looks at the clock", "(drop (call $mono)) (call $wall (i32.const 4096))", SPENT),
        storm("a million sleeps", "(local.set $b (call $after (i64.const 1000000000))) (call $block (local.get $b)) (call $drop (local.get $b))", SPENT),
        storm("a million random numbers", "(drop (call $random))", SPENT),
        storm("random bytes until memory is full", "(call $bytes (i64.const 65536) (i32.const 4096))", End::Fails(&["MemoryLimit"])),
        storm("four gibibytes of random bytes", "(call $bytes (i64.const 4294967296) (i32.const 4096))", SPENT),
        storm("a million lines", "(call $print (local.get $a) (i32.const 1024) (i32.const 6) (i32.const 8192))", SPENT),
        storm("four gibibytes of output", "(call $print (local.get $a) (i32.const 0) (i32.const -1) (i32.const 8192))", TRAP),
        storm("four gibibytes of zeros", "(call $zeroes (local.get $a) (i64.const 4294967296) (i32.const 8192))", SPENT),
        storm("handles without end", "(drop (call $stdout))", TRAP),
        storm("timers without end", "(drop (call $after (i64.const 1)))", TRAP),
        deciding("an exit", "(call $exit (i32.const 0))", "", TRAP),
    ]);
}
