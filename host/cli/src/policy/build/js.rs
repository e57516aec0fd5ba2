//! JavaScript: componentize-js, through its Node API and with every feature that would import WASI left
//! out. Touches the project and the cache.

use super::component::Encoded;
use super::tools;
use crate::policy::project::Project;
use anyhow::{Context as _, bail};
use std::process::Command;

/// From npm. Tested with this version.
const PACKAGE: &str = "@bytecodealliance/componentize-js@0.23.0";

/// Oldest Node that the package runs on.
const NODE: u32 = 20;

const SCRIPT: &str = include_str!("componentize.mjs");

/// Builds a project.
///
/// # Errors
/// Node is missing or too old, or the policy does not compile.
pub(crate) fn build(project: &Project) -> anyhow::Result<Encoded> {
    let missing =
        "JavaScript policies are built with Node.js 20 or newer and npm: install them (https://nodejs.org; on Debian: sudo apt-get install nodejs npm)";
    let (Some(node), Some(npm)) = (tools::find(&["node", "nodejs"]), tools::find(&["npm"])) else { bail!(missing) };
    let version = tools::ask(&node, &["--version"]).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    anyhow::ensure!(major.is_some_and(|major| major >= NODE), "{missing}; this is {version}");
    let tool = tools::once("componentize-js-0.23.0", |dir| {
        eprintln!("fetching {PACKAGE} into {}, once (about 400 MB)", dir.display());
        std::fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
        tools::prepare(Command::new(&npm).args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(dir).arg(PACKAGE), "npm install")?;
        Ok(std::fs::write(dir.join("componentize.mjs"), SCRIPT)?)
    })?;
    let out = project.scratch().join("policy.wasm");
    std::fs::create_dir_all(project.scratch())?;
    let mut command = Command::new(node);
    command.arg(tool.join("componentize.mjs")).arg(project.dir.join("policy.js")).arg(project.dir.join("wit")).arg(&out).current_dir(&project.dir);
    tools::step(&mut command, "the policy does not become a component")?;
    Ok(Encoded { bytes: std::fs::read(&out).context("componentize-js wrote no component")?, stood_in: Vec::new() })
}
