//! What the machine must offer for real nodes: rights, programs, CNI plugins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::cluster::{find_on_path, parent_dir};
use crate::process::run;

/// Debian's and Ubuntu's names of what nodes need beyond a base system.
const PACKAGES: [&str; 5] = ["containerd", "runc", "containernetworking-plugins", "iptables", "busybox-static"];
const PROGRAMS: [&str; 9] = ["containerd", "ctr", "runc", "iptables", "busybox", "ip", "unshare", "nsenter", "mount"];
const PLUGINS: [&str; 4] = ["ptp", "host-local", "portmap", "loopback"];
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Folders that a node sees its own version of, so nothing of a cluster may lie below them.
const HIDDEN: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// Makes sure that this machine can run `count` nodes; installs packages where it may.
///
/// # Errors
/// When it cannot; the message says what to do.
pub(crate) fn check(count: u8) -> Result<()> {
    if !(1..=9).contains(&count) {
        bail!("a cluster has 1 to 9 real nodes, not {count}");
    }
    if !geteuid().is_root() {
        bail!(
            "real nodes need root (they mount, and make network links and cgroups). Run as root, or \
             use a cluster that you have: set WEIR_KUBECONFIG to its kubeconfig"
        );
    }
    for dir in [parent_dir(), crate::cache::dir()?] {
        if let Some(hidden) = HIDDEN.iter().find(|hidden| dir.starts_with(hidden)) {
            bail!(
                "{} lies below {hidden}, which nodes have their own version of: set \
                 WEIR_CLUSTER_DIR or WEIR_CACHE to a folder elsewhere",
                dir.display()
            );
        }
    }
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    let missing = self::missing();
    if !missing.is_empty() {
        bail!("after the packages were installed these are still missing: {}", missing.join(", "));
    }
    Ok(())
}

/// The folder of the CNI plugins.
pub(crate) fn plugin_folder() -> Result<PathBuf> {
    let complete = |folder: &&&str| PLUGINS.iter().all(|name| Path::new(folder).join(name).is_file());
    PLUGIN_FOLDERS.iter().find(complete).map(PathBuf::from).with_context(|| format!("no CNI plugins in {}", PLUGIN_FOLDERS.join(", ")))
}

fn missing() -> Vec<String> {
    let mut missing: Vec<_> = PROGRAMS.iter().filter(|program| find_on_path(program).is_none()).map(|program| (*program).to_owned()).collect();
    if plugin_folder().is_err() {
        missing.push("CNI plugins".to_owned());
    }
    missing
}

fn install(missing: &[String]) -> Result<()> {
    let what = missing.join(", ");
    if find_on_path("apt-get").is_none() {
        bail!("real nodes need {what}, which this machine lacks. Install what Debian calls {}", PACKAGES.join(", "));
    }
    eprintln!("weir-cluster: installing {} ({what} missing)", PACKAGES.join(", "));
    let apt = |args: &[&str]| run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"));
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(PACKAGES);
    if apt(&install).is_err() {
        // Lists of packages that are missing or too old are the usual cause.
        apt(&["update"])?;
        apt(&install).with_context(|| format!("installing {}", PACKAGES.join(", ")))?;
    }
    Ok(())
}
