//! A start with a thousand policies from a folder of compiled code, and what they take in memory while
//! nobody asks them. Measured in a process of its own, so that nothing else is in its memory.
//! Touches the Wasm engine, files and /proc.

use crate::machine::Memory;
use crate::policies::{self, component, engine, load};
use crate::report::{Report, progress};
use crate::stats::{grouped, short};
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use weir_engine::{CompiledFrom, LoadOutcome, PolicySlot};

/// What the process says.
#[derive(Serialize, Deserialize)]
struct Loaded {
    /// From the first line of the process to the last policy that may decide.
    took: Duration,
    /// Resident bytes with an engine and one policy.
    before: u64,
    /// Resident bytes with all of them.
    after: u64,
}

/// Starts it, and reports what it says.
pub(crate) fn measure(report: &mut Report, quick: bool) -> Result<()> {
    let count = if quick { 20 } else { 1_000 };
    let temporary = tempfile::tempdir()?;
    let cache = temporary.path().join("compiled");
    compile(&cache, count)?;
    let code = code_bytes(&cache)?;
    let output = Command::new(std::env::current_exe()?).args(["idle", "--policies", &count.to_string(), "--cache"]).arg(&cache).output()?;
    ensure!(output.status.success(), "the process with {count} policies failed: {}", String::from_utf8_lossy(&output.stderr));
    let loaded: Loaded = serde_json::from_slice(&output.stdout).context("the process with all policies said something else than JSON")?;
    let each = |bytes: u64| format!("{:.1} kB", bytes as f64 / f64::from(count) / 1e3);
    let grown = loaded.after.saturating_sub(loaded.before);
    let policies = grouped(count.into());
    report.note(format!("start with {policies} distinct policies from a warm folder of compiled code"), short(loaded.took));
    report.note(
        format!("memory of an idle policy (`threshold`, {policies} loaded)"),
        format!("{} beyond its {} of machine code", each(grown.saturating_sub(code)), each(code)),
    );
    Ok(())
}

/// The process: loads as the operator does, and prints what that cost.
pub(crate) fn run(cache: PathBuf, policies: u32) -> Result<()> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let loaded = runtime.block_on(async {
        let engine = engine(Some(&cache))?;
        let base = component("threshold")?;
        let mut slots = Vec::new();
        let slot = |number: u32| {
            let (slot, candidate) = (PolicySlot::new(engine.clone()), policies::candidate(&format!("rule-{number}"), policies::variant(&base, number)));
            async move {
                let loaded = slot.load(&candidate).await;
                ensure!(matches!(loaded.outcome, LoadOutcome::Swapped { .. }), "{:?}", loaded.outcome);
                ensure!(loaded.stages.compiled == CompiledFrom::Disk, "policy {number} was not found in the folder");
                Ok(slot)
            }
        };
        slots.push(slot(0).await?);
        let before = Memory::of("self")?.resident;
        slots.extend(futures::future::try_join_all((1..policies).map(slot)).await?);
        let took = begun.elapsed();
        anyhow::Ok(Loaded { took, before, after: Memory::of("self")?.resident })
    })?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&loaded)?)?;
    Ok(())
}

fn compile(folder: &Path, count: u32) -> Result<()> {
    let engine = engine(Some(folder))?;
    let base = component("threshold")?;
    for number in 0..count {
        if number % 100 == 0 {
            progress(&format!("compiling policy {number} of {count} to disk"));
        }
        load(&engine, &policies::candidate("rule", policies::variant(&base, number)))?;
    }
    Ok(())
}

fn code_bytes(folder: &Path) -> Result<u64> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}
