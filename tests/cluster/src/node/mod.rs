//! Real nodes on one machine.
//!
//! Every node is a set of Linux namespaces — processes, mounts, network — as the nodes of kind are,
//! without Docker. So each one has its own `/run`, `/var/lib`, iptables, and ports, several clusters do
//! not meet, and the kernel cleans up: when the first process of a node is killed, every process in it
//! dies, containers included, and its mounts and links go.
//!
//! What a node shares with the machine are cgroups (below a folder of its own) and the kernel.
//!
//! Used by [`Cluster`](crate::Cluster) only.

mod cgroup;
mod config;
mod container_runtime;
mod machine;
mod network;
mod running;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) use container_runtime::import;
pub(crate) use machine::check as check_machine;
pub(crate) use network::Network;
use running::Node;

use crate::cache;
use crate::control_plane::ready_nodes;
use crate::images::Image;
use crate::kubectl::Kubectl;
use crate::parts::Part;
use crate::pki::{MASTERS, Pki};
use crate::process::{Daemon, Program, wait_while_running};
use crate::reaper::Reaper;
use crate::state::NodeState;

const READY_DEADLINE: Duration = Duration::from_secs(120);

/// The nodes of one cluster, its network, and the name server of its pods.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    network: Network,
    name_server: Daemon,
}

impl Nodes {
    /// Starts all nodes and waits until they are Ready.
    pub(crate) fn start(dir: &Path, network: Network, pki: &Pki, kubectl: &Kubectl, reaper: &Reaper) -> Result<Self> {
        let server = kubectl.run(["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
        let images = [Image::Pause, Image::Busybox];
        let tars = images.map(|image| image.build_in(&dir.join("images")));
        let name_server = start_name_server(dir, &network, pki, &server)?;
        let mut nodes = Vec::new();
        for index in network.indices() {
            let node = Node::create(dir, index, &network, pki, &server, reaper)?;
            nodes.push(node);
        }
        let mut nodes = Self { nodes, network, name_server };
        for tar in tars {
            let tar = tar?;
            for node in &nodes.nodes {
                import(node.init_pid()?, &tar)?;
            }
        }
        for node in &mut nodes.nodes {
            node.start_kubernetes()?;
        }
        nodes.wait_until_ready(kubectl)?;
        Ok(nodes)
    }

    fn wait_until_ready(&mut self, kubectl: &Kubectl) -> Result<()> {
        let count = self.nodes.iter().filter(|node| node.is_up()).count();
        let mut children: Vec<_> = self.nodes.iter_mut().flat_map(Node::programs).collect();
        children.push(&mut self.name_server);
        wait_while_running(
            "the nodes to be Ready",
            READY_DEADLINE,
            &mut children,
            || Ok((ready_nodes(&kubectl.json(["get", "nodes"])?) >= count).then_some(())),
        )
    }

    fn node(&mut self, index: u8) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.index() == index);
        node.with_context(|| format!("this cluster has no node {index}"))
    }

    pub(crate) fn kill(&mut self, index: u8) -> Result<()> {
        self.node(index)?.kill();
        self.route_services()
    }

    pub(crate) fn restart(&mut self, index: u8, kubectl: &Kubectl) -> Result<()> {
        let network = self.network.clone();
        let node = self.node(index)?;
        node.kill();
        node.boot(&network)?;
        node.start_kubernetes()?;
        self.route_services()?;
        self.wait_until_ready(kubectl)
    }

    pub(crate) fn kill_kubelet(&mut self, index: u8) -> Result<()> {
        self.node(index)?.kill_kubelet();
        Ok(())
    }

    pub(crate) fn start_kubelet(&mut self, index: u8) -> Result<()> {
        self.node(index)?.start_kubelet()
    }

    pub(crate) fn set_connected(&mut self, index: u8, connected: bool) -> Result<()> {
        self.node(index)?;
        self.network.set_connected(index, connected)
    }

    pub(crate) fn state(&self) -> Vec<NodeState> {
        let state = |node: &Node| NodeState { name: node.name(), init_pid: node.init_pid().ok() };
        self.nodes.iter().map(state).collect()
    }

    /// The machine reaches ClusterIPs through the first node that is up.
    fn route_services(&self) -> Result<()> {
        match self.nodes.iter().find(|node| node.is_up()) {
            Some(node) => self.network.route_services(node.index()),
            None => Ok(()),
        }
    }
}

/// CoreDNS beside the nodes rather than in one, so that it survives the loss of any node.
fn start_name_server(dir: &Path, network: &Network, pki: &Pki, server: &str) -> Result<Daemon> {
    let kubeconfig = dir.join("coredns.kubeconfig");
    pki.kubeconfig(&kubeconfig, server, "coredns", Some(MASTERS))?;
    let file = dir.join("Corefile");
    std::fs::write(&file, config::corefile(network.gateway(), &kubeconfig)).context("writing the name server's configuration")?;
    let program = Program::new(Part::Coredns.name(), cache::program(Part::Coredns)?, dir).args([format!("-conf={}", file.display())]);
    Daemon::start(program)
}
