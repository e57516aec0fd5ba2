//! Feeds a target with bytes that nobody would send, for a bounded time: first those that once did
//! harm (`tests/fuzz/corpus/TARGET`), then mutations of them and random ones.
//!
//! `WEIR_FUZZ_SECONDS` is the time for each target (5 unless set), `WEIR_FUZZ_SEED` the beginning of the
//! random numbers (always the same unless set; a long run should set it). The input at hand lies in a
//! file while it runs, so that one which kills the process is not lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One target after the other: they measure the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What holds for every input of a target.
pub(crate) struct Bounds {
    /// Bytes of an input.
    pub length: usize,
    /// Longest time that one may take.
    pub each: Duration,
    /// Most KiB by which all of them together may grow the process.
    pub grows: u64,
}

/// Says where the input lies when the test ends by a panic.
struct Current(PathBuf);

impl Drop for Current {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("\nthe input is {}: mend the fault and keep the input under tests/fuzz/corpus\n", self.0.display());
        }
    }
}

/// Runs `target` on inputs until its time is over.
pub(crate) fn fuzz(name: &str, bounds: &Bounds, mut target: impl FnMut(&[u8])) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = std::env::var("WEIR_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_u64);
    let seed = std::env::var("WEIR_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0_u64);
    let current = Current(std::env::temp_dir().join(format!("weir-fuzz-{name}-{}", std::process::id())));
    let kept = kept(name);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let before = resident_peak();
    let (begun, mut runs, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
    while runs < kept.len() as u64 || begun.elapsed() < Duration::from_secs(seconds) {
        let input = match kept.get(usize::try_from(runs).unwrap()) {
            Some(input) => input.clone(),
            None => next(&kept, bounds.length, &mut random),
        };
        fs::write(&current.0, &input).unwrap();
        let at = Instant::now();
        target(&input);
        let took = at.elapsed();
        assert!(took <= bounds.each, "one input took {took:?}, more than {:?}", bounds.each);
        (runs, slowest) = (runs + 1, slowest.max(took));
    }
    let grown = resident_peak().saturating_sub(before);
    println!("{name}: {runs} inputs with seed {seed}, the slowest took {slowest:?}, {grown} KiB more");
    assert!(grown <= bounds.grows, "the process grew by {grown} KiB, more than {}", bounds.grows);
    fs::remove_file(&current.0).unwrap();
}

/// The inputs that are kept for a target, by name.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A number below `most`; zero when that is zero.
pub(crate) fn below(random: &mut ChaCha8Rng, most: usize) -> usize {
    usize::try_from(random.next_u64() % (most.max(1) as u64)).unwrap()
}

fn next(kept: &[Vec<u8>], length: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
    if !kept.is_empty() && random.next_u32().is_multiple_of(2) {
        let mut input = kept[below(random, kept.len())].clone();
        mutate(&mut input, random);
        input.truncate(length);
        return input;
    }
    // Short ones are quick and as often to the point as long ones.
    let most = if random.next_u32().is_multiple_of(2) { length } else { length / 16 };
    let mut input = vec![0; below(random, most + 1)];
    random.fill_bytes(&mut input);
    input
}

/// Damages bytes in a few places.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    const TELLING: [u8; 10] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x40, 0x0b];
    for _ in 0..=below(random, 8) {
        let (at, other, length) = (below(random, bytes.len()), below(random, bytes.len()), below(random, 32));
        match random.next_u32() % 8 {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << (random.next_u32() % 8),
            2 if at < bytes.len() => bytes[at] = TELLING[below(random, TELLING.len())],
            3 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
            6 => {
                let part: Vec<u8> = bytes.iter().skip(other).take(length).copied().collect();
                bytes.splice(at..at, part);
            }
            // A length of four gibibytes.
            _ => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f])),
        }
    }
}

/// The most resident memory that the process ever had, in KiB.
fn resident_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
