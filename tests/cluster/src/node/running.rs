//! One real node: its namespaces and the programs in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::container_runtime::answers;
use super::{Network, config, machine};
use crate::cache;
use crate::control_plane::zone;
use crate::parts::Part;
use crate::pki::{NODES, Pki};
use crate::process::{Daemon, Program, wait_while_running};
use crate::reaper::Reaper;

const INIT: &str = include_str!("init.sh");
const STEP_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Node {
    index: u8,
    cluster_dir: PathBuf,
    dir: PathBuf,
    /// The node's address and the range of its pods.
    address: String,
    up: Option<Up>,
}

/// What runs while the node is up. `init` ends the rest with it, so it is dropped first.
#[derive(Debug)]
struct Up {
    init: Daemon,
    init_pid: u32,
    containerd: Daemon,
    kubelet: Option<Daemon>,
    kube_proxy: Option<Daemon>,
}

impl Node {
    /// Writes the node's configuration and boots it as far as containerd.
    pub(crate) fn create(cluster_dir: &Path, index: u8, network: &Network, pki: &Pki, server: &str, reaper: &Reaper) -> Result<Self> {
        let dir = cluster_dir.join(format!("node-{index}"));
        let mut node = Self { index, cluster_dir: cluster_dir.to_owned(), dir, address: network.node(index).to_string(), up: None };
        node.write_files(network, pki, server)?;
        let cgroup = format!("weir-{}-node-{index}", network.id());
        super::cgroup::create(&cgroup, reaper)?;
        node.boot(network)?;
        Ok(node)
    }

    fn write_files(&self, network: &Network, pki: &Pki, server: &str) -> Result<()> {
        for folder in ["lib/containerd", "lib/kubelet", "log", "cni", "sysctl", "volume-plugins"] {
            let folder = self.dir.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let user = format!("system:node:{}", self.name());
        pki.kubeconfig(&self.dir.join("kubelet.kubeconfig"), server, &user, Some(NODES))?;
        let proxy_kubeconfig = self.dir.join("kube-proxy.kubeconfig");
        pki.kubeconfig(&proxy_kubeconfig, server, "system:kube-proxy", None)?;

        let networks = self.dir.join("cni");
        let cgroup = format!("/weir-{}-node-{}", network.id(), self.index);
        let client_ca = self.cluster_dir.join("pki/ca.crt");
        let kubelet = config::kubelet(&client_ca, &self.dir, &cgroup, network.gateway());
        let proxy = config::kube_proxy(&proxy_kubeconfig, &self.name(), &network.all_pods());
        let pods = config::pod_network(&network.pods(self.index));
        for (file, contents) in [
            ("init.sh", INIT.to_owned()),
            ("containerd.toml", config::containerd(&machine::plugin_folder()?, &networks)),
            ("cni/10-pods.conflist", pods.to_string()),
            ("kubelet.json", kubelet.to_string()),
            ("kube-proxy.json", proxy.to_string()),
        ] {
            let path = self.dir.join(file);
            fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// Makes the namespaces and the link to the network and starts containerd.
    pub(crate) fn boot(&mut self, network: &Network) -> Result<()> {
        let ready = self.dir.join("ready");
        let _ = fs::remove_file(&ready);
        let program = Program::new(self.log_name("init"), "unshare", &self.cluster_dir)
            .args(["--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc"])
            .args(["--kill-child=SIGKILL", "/bin/sh"])
            .args([self.dir.join("init.sh"), self.dir.clone()]);
        let mut init = Daemon::start(program)?;
        wait_while_running("the node's namespaces", STEP_DEADLINE, &mut [&mut init], || Ok(ready.exists().then_some(())))?;
        let init_pid = child_of(init.pid())?.context("unshare has no child")?;
        network.connect(self.index, init_pid)?;

        let containerd = self.program(init_pid, "containerd", Path::new("containerd"));
        let containerd = containerd.args([Path::new("--config"), &self.dir.join("containerd.toml")]);
        let mut containerd = Daemon::start(containerd)?;
        wait_while_running("containerd", STEP_DEADLINE, &mut [&mut containerd], || answers(init_pid).map(Some))?;
        self.up = Some(Up { init, init_pid, containerd, kubelet: None, kube_proxy: None });
        Ok(())
    }

    /// Starts kubelet and kube-proxy.
    pub(crate) fn start_kubernetes(&mut self) -> Result<()> {
        self.start_kubelet()?;
        let init_pid = self.init_pid()?;
        let program = self
            .program(init_pid, Part::KubeProxy.name(), &cache::program(Part::KubeProxy)?)
            .args([format!("--config={}", self.dir.join("kube-proxy.json").display())]);
        let up = self.up.as_mut().context("the node is down")?;
        up.kube_proxy = Some(Daemon::start(program)?);
        Ok(())
    }

    pub(crate) fn start_kubelet(&mut self) -> Result<()> {
        self.kill_kubelet();
        let init_pid = self.init_pid()?;
        let zone = zone(self.index.into());
        let program = self.program(init_pid, Part::Kubelet.name(), &cache::program(Part::Kubelet)?).args([
            format!("--config={}", self.dir.join("kubelet.json").display()),
            format!("--kubeconfig={}", self.dir.join("kubelet.kubeconfig").display()),
            format!("--hostname-override={}", self.name()),
            format!("--node-ip={}", self.address),
            format!("--node-labels=topology.kubernetes.io/zone={zone}"),
        ]);
        let up = self.up.as_mut().context("the node is down")?;
        up.kubelet = Some(Daemon::start(program)?);
        Ok(())
    }

    pub(crate) fn kill_kubelet(&mut self) {
        if let Some(mut kubelet) = self.up.as_mut().and_then(|up| up.kubelet.take()) {
            // The daemon is nsenter, which waits for the kubelet and ends with it.
            if let Ok(Some(pid)) = child_of(kubelet.pid()) {
                kill_now(pid);
            }
            kubelet.kill();
        }
    }

    /// Ends everything in the node at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut up) = self.up.take() {
            kill_now(up.init_pid);
            up.init.kill();
        }
    }

    /// The programs that are to run as long as the node is up.
    pub(crate) fn programs(&mut self) -> impl Iterator<Item = &mut Daemon> {
        self.up.iter_mut().flat_map(|up| {
            let always = [&mut up.init, &mut up.containerd];
            always.into_iter().chain(&mut up.kubelet).chain(&mut up.kube_proxy)
        })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    pub(crate) fn index(&self) -> u8 {
        self.index
    }

    pub(crate) fn name(&self) -> String {
        format!("node-{}", self.index)
    }

    /// The first process of the node, as the machine numbers it.
    pub(crate) fn init_pid(&self) -> Result<u32> {
        let up = self.up.as_ref().with_context(|| format!("{} is down", self.name()))?;
        Ok(up.init_pid)
    }

    /// A program that runs inside the node.
    fn program(&self, init_pid: u32, name: &str, path: &Path) -> Program {
        Program::new(self.log_name(name), "nsenter", &self.cluster_dir)
            .args(["--target", &init_pid.to_string(), "--mount", "--net", "--pid", "--ipc", "--"])
            .args([path])
    }

    fn log_name(&self, program: &str) -> String {
        format!("{}-{program}", self.name())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kill_now(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// A process whose parent is `parent`.
fn child_of(parent: u32) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc").context("listing processes")? {
        let name = entry.context("listing processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The name of the program, in brackets, may itself hold brackets and spaces.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let Some((_, fields)) = stat.rsplit_once(')') else { bail!("{stat:?} has no name") };
        if fields.split_whitespace().nth(1).and_then(|field| field.parse().ok()) == Some(parent) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}
