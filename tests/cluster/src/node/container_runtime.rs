//! Loading images into a node's containerd.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::node::config::CONTAINERD_SOCKET;
use crate::process::run;

/// The namespace in which containerd keeps what the kubelet sees.
const KUBERNETES: &str = "k8s.io";

/// Loads an image into the node whose first process is `init_pid`.
pub(crate) fn import(init_pid: u32, tar: &Path) -> Result<()> {
    let import = ["--namespace", KUBERNETES, "images", "import"];
    run(ctr(init_pid).args(import).arg(tar)).map(drop)
}

/// Whether containerd answers.
pub(crate) fn answers(init_pid: u32) -> Result<()> {
    run(ctr(init_pid).arg("version")).map(drop)
}

fn ctr(init_pid: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &init_pid.to_string(), "--mount", "--pid", "--net"]);
    command.args(["ctr", "--address", CONTAINERD_SOCKET]);
    command
}
