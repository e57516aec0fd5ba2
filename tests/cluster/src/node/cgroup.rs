//! The folder of cgroups that a node's pods are in, for both versions of the interface.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::reaper::Reaper;

const ROOT: &str = "/sys/fs/cgroup";

/// Creates `/<name>` and has it deleted at the end.
pub(crate) fn create(name: &str, reaper: &Reaper) -> Result<()> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() { create_unified(root, name, reaper) } else { create_per_controller(root, name, reaper) }
}

/// Version 2: one tree; a folder's children have the controllers that it hands down.
fn create_unified(root: &Path, name: &str, reaper: &Reaper) -> Result<()> {
    hand_down_controllers(root)?;
    let folder = make(root, name, reaper)?;
    hand_down_controllers(&folder)
}

fn hand_down_controllers(folder: &Path) -> Result<()> {
    let available = fs::read_to_string(folder.join("cgroup.controllers")).with_context(|| format!("reading the controllers of {}", folder.display()))?;
    for controller in available.split_whitespace() {
        // One at a time: some cannot be handed down, and then the others shall be.
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    Ok(())
}

/// Version 1: one tree per controller.
fn create_per_controller(root: &Path, name: &str, reaper: &Reaper) -> Result<()> {
    for entry in fs::read_dir(root).context("listing cgroup controllers")? {
        let entry = entry.context("listing cgroup controllers")?;
        // Links such as cpu -> cpu,cpuacct name the same tree twice.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let folder = make(&entry.path(), name, reaper)?;
        // A new cpuset is empty, and nothing can run in it before it is told where.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parent = entry.path().join(file);
            if parent.exists() {
                let value = fs::read_to_string(&parent).context("reading the machine's cpuset")?;
                fs::write(folder.join(file), value).context("writing the node's cpuset")?;
            }
        }
    }
    Ok(())
}

fn make(parent: &Path, name: &str, reaper: &Reaper) -> Result<PathBuf> {
    let folder = parent.join(name);
    reaper.add_cgroup(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}
