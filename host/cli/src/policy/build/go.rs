//! Go: the standard compiler for wasip1, whose WASI imports get a stand-in. Touches the project and Go's
//! own caches.

use super::component::{self, Encoded};
use super::tools;
use crate::policy::project::Project;
use anyhow::{Context as _, bail};
use std::process::Command;

/// Builds a project.
///
/// # Errors
/// Go is missing or too old, or the policy does not compile.
pub(crate) fn build(project: &Project) -> anyhow::Result<Encoded> {
    let missing = "Go policies are built with Go 1.25 or newer: install it (https://go.dev/doc/install)";
    let Some(go) = tools::find(&["go"]) else { bail!(missing) };
    let version = tools::ask(&go, &["env", "GOVERSION"]).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()).and_then(|minor| minor.parse::<u32>().ok());
    anyhow::ensure!(minor.is_some_and(|minor| minor >= 25), "{missing}; this is {version}");
    std::fs::create_dir_all(project.scratch())?;
    let out = project.scratch().join("policy.wasm");
    let mut command = Command::new(go);
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&out).arg(".");
    command.env("GOOS", "wasip1").env("GOARCH", "wasm").current_dir(&project.dir);
    tools::step(&mut command, "the policy does not compile")?;
    component::encode(&std::fs::read(&out).context("go build wrote no module")?, Some(&project.dir.join("wit")))
}
