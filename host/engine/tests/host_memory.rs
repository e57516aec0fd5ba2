//! A result can name the same bytes many times: a million numbers whose names all point at one text
//! of eight megabytes are terabytes for who copies them. The host must refuse before it allocates.
//! The one test of its process, because it measures the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Guest, failure, input};
use std::fs;
use weir_core::scaling::ScalingPolicy;

/// The most resident memory that the process ever had, in KiB, since it was reset.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn aliased_lists_and_texts_never_multiply_in_the_host() {
    // 300,000 numbers (24 bytes each) fill 7.2 MB; each one's name is the same 8 MB.
    let body = "
        (drop (memory.grow (i32.const 125)))
        (local.set $a (i32.const 200000))
        (local.set $b (i32.const 300000))
        (loop $l
          (i32.store offset=0 (local.get $a) (i32.const 0))
          (i32.store offset=4 (local.get $a) (i32.const 8000000))
          (i32.store offset=16 (local.get $a) (i32.const 0))
          (i32.store offset=20 (local.get $a) (i32.const 8000000))
          (local.set $a (i32.add (local.get $a) (i32.const 24)))
          (local.set $b (i32.sub (local.get $b) (i32.const 1)))
          (br_if $l (local.get $b)))
        (i32.store (i32.const 280) (i32.const 200000))
        (i32.store (i32.const 284) (i32.const COUNT))
        (i32.const 256)";
    // All of the list; and one as long as the allowance lets the list itself be, so that the texts are what is refused.
    let policies: Vec<_> = ["300000", "3000"].iter().map(|count| Guest::deciding(body.replace("COUNT", count)).load()).collect();
    let warm = policies[0].decide(&input());
    assert_eq!(failure(&warm).0, "ResultTooLarge", "{warm:?}");
    // Resets the high-water mark (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    for _ in 0..20 {
        for policy in &policies {
            assert_eq!(failure(&policy.decide(&input())).0, "ResultTooLarge");
        }
    }
    let grown = peak().saturating_sub(before);
    // The guest's own 8 MiB are part of it, what the host holds for the result is below 1 MiB.
    assert!(grown < 24 << 10, "{grown} KiB");
}
