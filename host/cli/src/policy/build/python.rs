//! Python: componentize-py, with its WASI imports stubbed. Touches the project and the cache.

use super::component::Encoded;
use super::tools;
use crate::policy::project::Project;
use anyhow::{Context as _, bail};
use std::process::Command;

/// From PyPI. Tested with this version.
const PACKAGE: &str = "componentize-py==0.25.1";

/// Builds a project.
///
/// # Errors
/// Python is missing or too old, or the policy does not compile.
pub(crate) fn build(project: &Project) -> anyhow::Result<Encoded> {
    let missing = "Python policies are built with Python 3.10 or newer with pip and venv: install them (on Debian: sudo apt-get install python3 python3-pip python3-venv)";
    let Some(python) = tools::find(&["python3", "python"]) else { bail!(missing) };
    let version = tools::ask(&python, &["-c", "import sys, venv, ensurepip; print(sys.version_info >= (3, 10))"]);
    anyhow::ensure!(version.as_deref() == Some("True"), "{missing}");
    let tool = tools::once("componentize-py-0.25.1", |dir| {
        eprintln!("fetching {PACKAGE} into {}, once", dir.display());
        tools::prepare(Command::new(&python).args(["-m", "venv"]).arg(dir), "python3 -m venv")?;
        tools::prepare(Command::new(dir.join("bin/python")).args(["-m", "pip", "install", "--disable-pip-version-check", PACKAGE]), "pip install")
    })?;
    let out = project.scratch().join("policy.wasm");
    std::fs::create_dir_all(project.scratch())?;
    let mut command = Command::new(tool.join("bin/componentize-py"));
    command.arg("-d").arg(project.dir.join("wit")).args(["-w", "scaling-policy", "componentize", "policy", "--stub-wasi", "-p"]).arg(&project.dir);
    command.arg("-o").arg(&out).current_dir(&project.dir);
    tools::step(&mut command, "the policy does not become a component")?;
    Ok(Encoded { bytes: std::fs::read(&out).context("componentize-py wrote no component")?, stood_in: Vec::new() })
}
