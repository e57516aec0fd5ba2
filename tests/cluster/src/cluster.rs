//! What a test holds in its hand: a running cluster, started here or given.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::control_plane::{Addresses, ControlPlane, Plan};
use crate::images::Image;
use crate::kubectl::Kubectl;
use crate::node::{Nodes, import};
use crate::parts::Part;
use crate::pki::Pki;
use crate::reaper::Reaper;
use crate::state::State;

/// How much of a cluster is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// A real control plane; nodes and the state of pods are played by kwok. Needs no root.
    ControlPlane,
    /// A real control plane and that many real nodes, which run containers. Needs root.
    Nodes(u8),
}

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much of it is real.
    pub level: Level,
    /// How many nodes kwok plays; only at [`Level::ControlPlane`].
    pub fake_nodes: usize,
    /// Further arguments of the API server, for example `--v=4`.
    pub api_server_args: Vec<String>,
    /// Images to load into every node besides pause and busybox; only at [`Level::Nodes`].
    pub images: Vec<Image>,
}

impl Options {
    /// A control plane and one fake node.
    pub fn control_plane() -> Self {
        Self { level: Level::ControlPlane, fake_nodes: 1, api_server_args: Vec::new(), images: Vec::new() }
    }

    /// A control plane and `count` real nodes (1 to 9).
    pub fn nodes(count: u8) -> Self {
        Self { level: Level::Nodes(count), fake_nodes: 0, ..Self::control_plane() }
    }

    /// The same with these images in every node.
    #[must_use]
    pub fn with_images(mut self, images: impl IntoIterator<Item = Image>) -> Self {
        self.images.extend(images);
        self
    }
}

/// A cluster. Dropping one that was started here ends it and leaves nothing behind; dropping one that
/// was given does nothing.
#[derive(Debug)]
pub struct Cluster {
    level: Level,
    kubeconfig: PathBuf,
    kubectl: Kubectl,
    dir: Option<PathBuf>,
    // In the order in which they are to end.
    nodes: Option<Mutex<Nodes>>,
    control_plane: Option<Mutex<ControlPlane>>,
    reaper: Option<Reaper>,
}

impl Cluster {
    /// Starts a cluster of one's own, whatever the environment offers: for tests that kill parts of it.
    ///
    /// Blocks for some seconds, and for as long as the compiler takes when parts are not cached yet.
    ///
    /// # Errors
    /// When a part cannot be compiled or does not start, or the level needs rights that are missing.
    pub fn start(options: Options) -> Result<Self> {
        let begun = Instant::now();
        match options.level {
            Level::ControlPlane => cache::ensure(&Part::CONTROL_PLANE)?,
            Level::Nodes(count) => {
                crate::node::check_machine(count)?;
                cache::ensure(&Part::NODES)?;
            }
        }
        let dir = create_dir()?;
        let keep = env::var_os("WEIR_CLUSTER_KEEP").is_some_and(|value| !value.is_empty());
        let reaper = Reaper::start(&dir, keep)?;
        if keep {
            eprintln!("weir-cluster: logs will stay in {}", dir.display());
        }
        let pki = Pki::create(&dir.join("pki"))?;
        let kubeconfig = dir.join("admin.kubeconfig");
        let kubectl = Kubectl::new(cache::program(Part::Kubectl)?, &kubeconfig);

        let network = match options.level {
            Level::ControlPlane => None,
            Level::Nodes(count) => Some(crate::node::Network::create(count, &reaper)?),
        };
        let addresses = network.as_ref().map_or_else(loopback, crate::node::Network::addresses);
        let plan = Plan {
            dir: &dir,
            pki: &pki,
            addresses: &addresses,
            fake_nodes: if network.is_none() { options.fake_nodes } else { 0 },
            api_server_args: &options.api_server_args,
            kubectl: &kubectl,
        };
        let control_plane = plan.start()?;
        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "control plane is up");
        let mut cluster = Self {
            level: options.level,
            kubeconfig,
            kubectl,
            dir: Some(dir.clone()),
            nodes: None,
            control_plane: Some(Mutex::new(control_plane)),
            reaper: Some(reaper),
        };
        if let (Some(network), Some(reaper)) = (network, &cluster.reaper) {
            let nodes = Nodes::start(&dir, network, &pki, &cluster.kubectl, reaper)?;
            tracing::info!(seconds = begun.elapsed().as_secs_f64(), "nodes are up");
            cluster.nodes = Some(Mutex::new(nodes));
        }
        cluster.write_state()?;
        for image in options.images {
            cluster.load(image)?;
        }
        Ok(cluster)
    }

    /// The cluster that the environment names, if it names one of this level or more.
    ///
    /// In this order: `WEIR_CLUSTER`, the folder of a running cluster of this crate (`weir-cluster run`
    /// and `up` set and print it); `WEIR_KUBECONFIG`, a kubeconfig given to tests on purpose, which
    /// counts as [`Level::ControlPlane`]; `KUBECONFIG`, only when `WEIR_USE_KUBECONFIG=1`, because
    /// tests create and delete things and a developer's current context may be anything.
    ///
    /// # Errors
    /// When something is named that cannot be used.
    pub fn from_env(level: Level) -> Result<Option<Self>> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(dir) = set("WEIR_CLUSTER") {
            let cluster = Self::attach(Path::new(&dir))?;
            return Ok((cluster.level >= level).then_some(cluster));
        }
        let on_purpose = set("WEIR_KUBECONFIG").or_else(|| set("WEIR_USE_KUBECONFIG").and_then(|_| set("KUBECONFIG")));
        match on_purpose {
            Some(path) if level == Level::ControlPlane => Ok(Some(Self::from_kubeconfig(Path::new(&path))?)),
            _ => Ok(None),
        }
    }

    /// A cluster that somebody else runs, of any kind.
    ///
    /// # Errors
    /// When there is no such file or no kubectl.
    pub fn from_kubeconfig(path: &Path) -> Result<Self> {
        let kubeconfig = path.canonicalize().with_context(|| format!("there is no kubeconfig {}", path.display()))?;
        let kubectl = match find_on_path("kubectl") {
            Some(found) => found,
            None => cache::program(Part::Kubectl)?,
        };
        Ok(Self {
            level: Level::ControlPlane,
            kubectl: Kubectl::new(kubectl, &kubeconfig),
            kubeconfig,
            dir: None,
            nodes: None,
            control_plane: None,
            reaper: None,
        })
    }

    /// A cluster that another process started with this crate: everything but killing and restarting
    /// parts works as for its owner.
    ///
    /// # Errors
    /// When no cluster runs in that folder.
    pub fn attach(dir: &Path) -> Result<Self> {
        let state = State::read(dir)?;
        let kubeconfig = dir.join("admin.kubeconfig");
        Ok(Self {
            level: state.level,
            kubectl: Kubectl::new(cache::program(Part::Kubectl)?, &kubeconfig),
            kubeconfig,
            dir: Some(dir.to_owned()),
            nodes: None,
            control_plane: None,
            reaper: None,
        })
    }

    /// How much of the cluster is real.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The kubeconfig of a user who may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl for this cluster.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl.clone()
    }

    /// The cluster's folder, with `logs/`; none for a cluster that was given as a kubeconfig.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The path of a program, compiled on first use.
    ///
    /// # Errors
    /// When it must be compiled and cannot be.
    pub fn binary(&self, part: Part) -> Result<PathBuf> {
        cache::program(part)
    }

    /// The process id of the API server, for measuring it.
    ///
    /// # Errors
    /// When this process did not start the cluster.
    pub fn api_pid(&self) -> Result<u32> {
        Ok(self.control_plane()?.api_server.pid())
    }

    /// The name and process id of every program of the control plane.
    ///
    /// # Errors
    /// When this process did not start the cluster.
    pub fn pids(&self) -> Result<Vec<(String, u32)>> {
        Ok(self.control_plane()?.pids())
    }

    /// Kills the API server with `SIGKILL`. [`restart_apiserver`](Self::restart_apiserver) brings it back.
    ///
    /// # Errors
    /// When this process did not start the cluster.
    pub fn kill_apiserver(&self) -> Result<()> {
        self.control_plane()?.api_server.kill();
        Ok(())
    }

    /// Kills the API server if it runs, starts it again on the same address, waits until it serves.
    ///
    /// # Errors
    /// When this process did not start the cluster, or the server does not come back.
    pub fn restart_apiserver(&self) -> Result<()> {
        self.control_plane()?.restart_api_server(&self.kubectl)
    }

    /// Ends node `index` (from 1) as a power cut would: kubelet, containerd and every container at
    /// once. What was on its disk stays for [`start_node`](Self::start_node).
    ///
    /// # Errors
    /// When this process did not start the cluster, or there is no such node.
    pub fn kill_node(&self, index: u8) -> Result<()> {
        self.nodes()?.kill(index)?;
        self.write_state()
    }

    /// Starts a killed node again and waits until it is Ready.
    ///
    /// # Errors
    /// When this process did not start the cluster, there is no such node, or it does not come back.
    pub fn start_node(&self, index: u8) -> Result<()> {
        self.nodes()?.restart(index, &self.kubectl)?;
        self.write_state()
    }

    /// Kills the kubelet of node `index`; its containers go on.
    ///
    /// # Errors
    /// When this process did not start the cluster, or there is no such node.
    pub fn kill_kubelet(&self, index: u8) -> Result<()> {
        self.nodes()?.kill_kubelet(index)
    }

    /// Starts a killed kubelet again.
    ///
    /// # Errors
    /// When this process did not start the cluster, or there is no such node.
    pub fn start_kubelet(&self, index: u8) -> Result<()> {
        self.nodes()?.start_kubelet(index)
    }

    /// Cuts node `index` off the network, or joins it again; its containers go on.
    ///
    /// # Errors
    /// When this process did not start the cluster, or there is no such node.
    pub fn set_node_connected(&self, index: u8, connected: bool) -> Result<()> {
        self.nodes()?.set_connected(index, connected)
    }

    /// Loads one of the ready-made images into every node that runs.
    ///
    /// # Errors
    /// When its program cannot be compiled or a node refuses it.
    pub fn load(&self, image: Image) -> Result<()> {
        let dir = self.dir.as_deref().context("a cluster that was given has its own images")?;
        let tar = image.build_in(&dir.join("images"))?;
        self.load_image(&tar)
    }

    /// Builds `name` from a program of this machine (see [`images::from_program`](crate::images::from_program))
    /// and loads it into every node that runs.
    ///
    /// # Errors
    /// When the program cannot be read or a node refuses the image.
    pub fn load_program(&self, name: &str, program: &Path) -> Result<()> {
        let dir = self.dir.as_deref().context("a cluster that was given has its own images")?;
        let tar = crate::images::from_program(name, program, &dir.join("images"))?;
        self.load_image(&tar)
    }

    /// Loads an image (a tar as of [`image::build`](crate::image::build)) into every node that runs.
    ///
    /// # Errors
    /// When there are no real nodes or one refuses it.
    pub fn load_image(&self, tar: &Path) -> Result<()> {
        let dir = self.dir.as_deref().context("a cluster that was given has its own images")?;
        let state = State::read(dir)?;
        if state.nodes.is_empty() {
            bail!("images can be loaded into real nodes only (Level::Nodes)");
        }
        for node in state.nodes {
            if let Some(pid) = node.init_pid {
                import(pid, tar).with_context(|| format!("loading an image into {}", node.name))?;
            }
        }
        Ok(())
    }

    fn control_plane(&self) -> Result<MutexGuard<'_, ControlPlane>> {
        let lock = self.control_plane.as_ref();
        let lock = lock.context("only the process that started a cluster can do this")?;
        Ok(lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn nodes(&self) -> Result<MutexGuard<'_, Nodes>> {
        let lock = self.nodes.as_ref();
        let lock = lock.context("this cluster has no real nodes that were started by this process")?;
        Ok(lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_state(&self) -> Result<()> {
        let nodes = match &self.nodes {
            Some(nodes) => nodes.lock().unwrap_or_else(PoisonError::into_inner).state(),
            None => Vec::new(),
        };
        let dir = self.dir.as_deref().context("a cluster that was started has a folder")?;
        State { level: self.level, nodes }.write(dir)
    }
}

/// `WEIR_CLUSTER_DIR` or the folder for temporary files.
pub(crate) fn parent_dir() -> PathBuf {
    env::var_os("WEIR_CLUSTER_DIR").filter(|value| !value.is_empty()).map_or_else(env::temp_dir, PathBuf::from)
}

/// A folder of its own below [`parent_dir`].
fn create_dir() -> Result<PathBuf> {
    let parent = parent_dir();
    fs::create_dir_all(&parent).with_context(|| format!("creating {}", parent.display()))?;
    let parent = parent.canonicalize().context("resolving the parent of the cluster's folder")?;
    let dir = tempfile::Builder::new().prefix("weir-cluster-").tempdir_in(&parent).with_context(|| format!("creating a folder in {}", parent.display()))?;
    // From here on the supervisor deletes it.
    Ok(dir.keep())
}

/// Without real nodes nothing but this machine's own programs needs to reach the API server.
fn loopback() -> Addresses {
    Addresses {
        api_server: IpAddr::V4(Ipv4Addr::LOCALHOST),
        reached_by_pods: false,
        services: "10.96.0.0/16".to_owned(),
        first_service: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)),
    }
}

pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}
