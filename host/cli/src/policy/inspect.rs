//! `weir policy inspect`: what a component says about itself, and what it consists of. Touches files and
//! the Wasm engine.

use super::anatomy;
use super::load::{self, Component};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_core::ids::Digest;
use weir_core::scaling::ScalingPolicy as _;
use weir_engine::{Limits, Wasi};

/// Options of `weir policy inspect`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component (raw, gzip or zstd), the folder of a built project, or `builtin:NAME`.
    #[arg(default_value = ".")]
    file: PathBuf,
    /// Print only the params schema, as JSON.
    #[arg(long, conflicts_with = "wit")]
    schema: bool,
    /// Print only the interfaces, as WIT.
    #[arg(long)]
    wit: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let component = Component::open(&args.file)?;
    let bytes = component.unpacked().map_err(load::at_fault)?;
    if args.wit {
        super::print(&anatomy::wit(&bytes)?);
        return Ok(ExitCode::SUCCESS);
    }
    // params that the schema requires are not known here, so a refusal of the empty ones is no fault
    let (policy, _) = component.require(serde_json::Value::Null, Limits::default_ceiling(), Wasi::Deterministic)?;
    let (description, stamp) = (policy.description(), policy.stamp());
    let schema = description.params_schema.as_ref().map(serde_json::to_string_pretty).transpose()?;
    if args.schema {
        super::print(&format!("{}\n", schema.as_deref().unwrap_or("{}")));
        return Ok(ExitCode::SUCCESS);
    }
    let found = anatomy::look(&bytes)?;
    let mut text = String::new();
    writeln!(text, "name      {} {}", stamp.name, stamp.version)?;
    writeln!(text, "summary   {}", description.summary)?;
    writeln!(text, "digest    {}", Digest::of(&bytes))?;
    writeln!(text, "size      {} bytes as shipped, {} as a component, {} with gzip", component.shipped.len(), bytes.len(), super::check::packed_size(&bytes)?)?;
    writeln!(
        text,
        "          {} modules, {} functions of {} bytes, {} bytes of data, {} bytes of names and debug information",
        found.modules, found.functions, found.code_bytes, found.data_bytes, found.debug_bytes
    )?;
    writeln!(text, "memory    {} KiB at first", found.memory_bytes >> 10)?;
    writeln!(text, "made with {}", if found.tools.is_empty() { "it does not say".to_owned() } else { found.tools.join(", ") })?;
    for need in &description.series {
        writeln!(text, "series    {} ({})", need.name, if need.required { "required" } else { "optional" })?;
    }
    writeln!(text, "state     {}", if description.state.version() > 0 { description.state.to_string() } else { "no version".to_owned() })?;
    match schema {
        Some(schema) => writeln!(text, "params    as this JSON Schema says:\n{}", indented(&schema))?,
        None => writeln!(text, "params    none")?,
    }
    writeln!(text, "interface (WIT):\n{}", indented(&anatomy::wit(&bytes)?))?;
    super::print(&text);
    Ok(ExitCode::SUCCESS)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { String::new() } else { format!("  {line}") }).collect::<Vec<_>>().join("\n")
}
