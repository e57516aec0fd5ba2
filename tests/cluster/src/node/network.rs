//! Addresses and links of one cluster's nodes.
//!
//! A cluster takes one `10.X.0.0/16` that the machine does not use and a bridge named after it. The
//! machine is `10.X.0.1` on that bridge: the API server and the name server listen there, so pods reach
//! them, and the machine reaches nodes, pods and Services by routes. Nodes are `10.X.0.11` and up, pods of
//! node i are in `10.X.(64+i).0/24`, Services in `10.X.128.0/17`. Pods reach nothing outside the machine.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::process::Command;

use anyhow::{Result, bail};

use crate::control_plane::Addresses;
use crate::process::run;
use crate::reaper::Reaper;

/// Values of X that are tried, in this order.
const CANDIDATES: RangeInclusive<u8> = 200..=239;

/// The network of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    second: u8,
    count: u8,
}

impl Network {
    /// Takes a free range of addresses and makes the bridge.
    pub(crate) fn create(count: u8, reaper: &Reaper) -> Result<Self> {
        let used = run(Command::new("ip").args(["-4", "route", "show", "table", "all"]))?;
        for second in CANDIDATES {
            if used.contains(&format!(" 10.{second}.")) || used.contains(&format!("\n10.{second}.")) {
                continue;
            }
            let network = Self { second, count };
            // Making the bridge claims the range: of two clusters that try, one fails here.
            if ip(&["link", "add", &network.bridge(), "type", "bridge"]).is_err() {
                continue;
            }
            reaper.add_link(&network.bridge())?;
            for index in network.indices() {
                // The kernel takes a dead node's namespace apart in its own time, seconds at worst.
                reaper.add_link(&network.link(index))?;
            }
            network.set_up()?;
            return Ok(network);
        }
        bail!("no free address range 10.X.0.0/16 with X from {} to {}, or no right to make links", CANDIDATES.start(), CANDIDATES.end())
    }

    fn set_up(&self) -> Result<()> {
        warn_if_bridges_are_filtered();
        ip(&["address", "add", &format!("{}/24", self.gateway()), "dev", &self.bridge()])?;
        ip(&["link", "set", &self.bridge(), "up"])?;
        for index in self.indices() {
            ip(&["route", "add", &self.pods(index), "via", &self.node(index).to_string()])?;
        }
        self.route_services(1)
    }

    /// Sends what this machine addresses to Services to one node, whose kube-proxy knows them.
    pub(crate) fn route_services(&self, index: u8) -> Result<()> {
        ip(&["route", "replace", &self.services(), "via", &self.node(index).to_string()])
    }

    /// Gives the namespace of process `init_pid` its link to the bridge, address and routes.
    pub(crate) fn connect(&self, index: u8, init_pid: u32) -> Result<()> {
        let link = self.link(index);
        let pid = init_pid.to_string();
        // The link of a node that was killed goes when the kernel has taken its namespace apart.
        let _ = ip(&["link", "delete", &link]);
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        ip(&["link", "set", &link, "master", &self.bridge(), "up"])?;
        let inside = |args: &[&str]| run(Command::new("nsenter").args(["--target", &pid, "--net", "ip"]).args(args)).map(drop);
        inside(&["address", "add", &format!("{}/24", self.node(index)), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["route", "add", "default", "via", &self.gateway().to_string()])?;
        for other in self.indices().filter(|other| *other != index) {
            inside(&["route", "add", &self.pods(other), "via", &self.node(other).to_string()])?;
        }
        Ok(())
    }

    pub(crate) fn set_connected(&self, index: u8, connected: bool) -> Result<()> {
        ip(&["link", "set", &self.link(index), if connected { "up" } else { "down" }])
    }

    pub(crate) fn indices(&self) -> RangeInclusive<u8> {
        1..=self.count
    }

    /// What distinguishes this cluster from the others on the machine.
    pub(crate) fn id(&self) -> u8 {
        self.second
    }

    /// The machine's own address on the bridge.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, 0, 1)
    }

    pub(crate) fn node(&self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, 0, 10 + index)
    }

    pub(crate) fn pods(&self, index: u8) -> String {
        format!("10.{}.{}.0/24", self.second, 64 + index)
    }

    pub(crate) fn all_pods(&self) -> String {
        format!("10.{}.64.0/18", self.second)
    }

    fn services(&self) -> String {
        format!("10.{}.128.0/17", self.second)
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            api_server: IpAddr::V4(self.gateway()),
            reached_by_pods: true,
            services: self.services(),
            first_service: IpAddr::V4(Ipv4Addr::new(10, self.second, 128, 1)),
        }
    }

    fn bridge(&self) -> String {
        format!("weir{}", self.second)
    }

    fn link(&self, index: u8) -> String {
        format!("weir{}n{index}", self.second)
    }
}

/// Docker makes the machine drop what it forwards, and where the kernel filters bridges too, that
/// covers what nodes send to each other.
fn warn_if_bridges_are_filtered() {
    let setting = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    let rules = run(Command::new("iptables").args(["--list-rules", "FORWARD"]));
    if setting.is_ok_and(|value| value.trim() == "1") && rules.is_ok_and(|rules| rules.contains("-P FORWARD DROP")) {
        tracing::warn!(
            "this machine drops forwarded packets (Docker sets that), so nodes may not reach each \
             other; `iptables --policy FORWARD ACCEPT` changes it"
        );
    }
}

fn ip(args: &[&str]) -> Result<()> {
    run(Command::new("ip").args(args)).map(drop)
}
