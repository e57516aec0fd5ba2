//! etcd, the API server, the controllers, the scheduler, and kwok for nodes that do not exist.
//!
//! Needs no rights beyond an ordinary user's.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::cache;
use crate::kubectl::Kubectl;
use crate::parts::Part;
use crate::pki::{MASTERS, Pki, api_server_names};
use crate::process::{Daemon, Program, free_ports, tail, wait_while_running};

const KWOK_CONFIG: &str = include_str!("kwok.yaml");

/// How long a start may take on a busy machine; an idle one needs about five seconds.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(120);

/// Where the API server listens and which addresses Services get.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The API server listens on this alone.
    pub(crate) api_server: IpAddr,
    /// Whether pods reach that address: then it is published as the Service `kubernetes`.
    pub(crate) reached_by_pods: bool,
    /// The range of ClusterIPs.
    pub(crate) services: String,
    /// The first of them, which is that of the Service `kubernetes`.
    pub(crate) first_service: IpAddr,
}

/// The running programs of a control plane.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) api_server: Daemon,
    controllers: Daemon,
    scheduler: Daemon,
    kwok: Option<Daemon>,
    // Last, so that the others do not fill their logs with a lost etcd while they are dropped.
    etcd: Daemon,
}

/// What a start needs to know.
pub(crate) struct Plan<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) pki: &'a Pki,
    pub(crate) addresses: &'a Addresses,
    pub(crate) fake_nodes: usize,
    pub(crate) api_server_args: &'a [String],
    pub(crate) kubectl: &'a Kubectl,
}

impl Plan<'_> {
    /// Starts everything and waits until the API server serves and the controllers work. Ports can be
    /// lost to somebody else between choosing and listening; then it is tried again with others.
    pub(crate) fn start(&self) -> Result<ControlPlane> {
        let mut tries_left = 3;
        loop {
            tries_left -= 1;
            let error = match self.start_once() {
                Ok(control_plane) => return Ok(control_plane),
                Err(error) => error,
            };
            let logs = ["etcd", "kube-apiserver", "kwok"].map(|name| tail(&self.log(name), 30));
            let conflict = logs.iter().any(|log| log.contains("address already in use"));
            if !conflict || tries_left == 0 {
                return Err(error);
            }
            tracing::info!("a port was taken by another program; trying others");
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    fn program(&self, part: Part) -> Result<Program> {
        Ok(Program::new(part.name(), cache::program(part)?, self.dir))
    }

    fn start_once(&self) -> Result<ControlPlane> {
        let [etcd_port, peer_port, api_port, kwok_port] = free_ports()?;
        let server = format!("https://{}:{api_port}", self.addresses.api_server);
        self.write_kubeconfigs(&server)?;
        let mut etcd = self.start_etcd(etcd_port, peer_port)?;
        let mut api_server = self.start_api_server(api_port, etcd_port)?;
        let children = &mut [&mut etcd, &mut api_server];
        wait_while_running("the API server to be ready", START_DEADLINE, children, || self.kubectl.run(["get", "--raw", "/readyz"]).map(Some))
            .with_context(|| format!("logs are in {}", self.dir.join("logs").display()))?;

        let mut controllers = self.start_controllers()?;
        let mut scheduler = self.start_scheduler()?;
        let mut kwok = None;
        if self.fake_nodes > 0 {
            kwok = Some(self.start_kwok(kwok_port)?);
            self.create_fake_nodes()?;
        }
        let mut children = vec![&mut controllers, &mut scheduler];
        children.extend(kwok.as_mut());
        wait_while_running("the controllers to work", START_DEADLINE, &mut children, || Ok(self.works()?.then_some(())))?;
        Ok(ControlPlane { api_server, controllers, scheduler, kwok, etcd })
    }

    fn write_kubeconfigs(&self, server: &str) -> Result<()> {
        let write = |name: &str, user: &str, group: Option<&str>| {
            let path = self.dir.join(format!("{name}.kubeconfig"));
            self.pki.kubeconfig(&path, server, user, group)
        };
        write("admin", "weir-test-admin", Some(MASTERS))?;
        write("controllers", "system:kube-controller-manager", None)?;
        write("scheduler", "system:kube-scheduler", None)?;
        write("kwok", "kwok", Some(MASTERS))
    }

    fn start_etcd(&self, client_port: u16, peer_port: u16) -> Result<Daemon> {
        let client = format!("http://127.0.0.1:{client_port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let data = self.dir.join("etcd");
        if data.exists() {
            fs::remove_dir_all(&data).context("removing the data of an earlier try")?;
        }
        let program = self.program(Part::Etcd)?.args([
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
            // A test cluster does not outlive its machine, so nothing needs to reach the disk.
            "--unsafe-no-fsync".to_owned(),
        ]);
        Daemon::start(program)
    }

    fn start_api_server(&self, port: u16, etcd_port: u16) -> Result<Daemon> {
        let pki = self.dir.join("pki");
        let file = |name: &str| pki.join(name).display().to_string();
        let names = api_server_names(self.addresses.api_server, self.addresses.first_service);
        self.pki.issue("apiserver", "kube-apiserver", None, &names)?;
        self.pki.issue("kubelet-client", "kube-apiserver-kubelet-client", Some(MASTERS), &[])?;
        let address = self.addresses.api_server;
        let reconciler = if self.addresses.reached_by_pods { "lease" } else { "none" };
        let program = self
            .program(Part::KubeApiserver)?
            .args([
                format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
                format!("--bind-address={address}"),
                format!("--advertise-address={address}"),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", pki.display()),
                format!("--tls-cert-file={}", file("apiserver.crt")),
                format!("--tls-private-key-file={}", file("apiserver.key")),
                format!("--client-ca-file={}", file("ca.crt")),
                format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
                format!("--kubelet-client-key={}", file("kubelet-client.key")),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-key-file={}", file("sa.pub")),
                format!("--service-account-signing-key-file={}", file("sa.key")),
                format!("--service-cluster-ip-range={}", self.addresses.services),
                format!("--endpoint-reconciler-type={reconciler}"),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--allow-privileged=true".to_owned(),
            ])
            .args(self.api_server_args.iter().cloned());
        Daemon::start(program)
    }

    fn start_controllers(&self) -> Result<Daemon> {
        let pki = self.dir.join("pki");
        let kubeconfig = self.dir.join("controllers.kubeconfig").display().to_string();
        let program = self.program(Part::KubeControllerManager)?.args([
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--service-account-private-key-file={}", pki.join("sa.key").display()),
            format!("--root-ca-file={}", pki.join("ca.crt").display()),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // No port: two clusters on one machine would fight over the default one.
            "--secure-port=0".to_owned(),
            // 40 s by default: a test that loses a node waits half as long.
            "--node-monitor-grace-period=20s".to_owned(),
        ]);
        Daemon::start(program)
    }

    fn start_scheduler(&self) -> Result<Daemon> {
        let kubeconfig = self.dir.join("scheduler.kubeconfig").display().to_string();
        let program = self.program(Part::KubeScheduler)?.args([
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]);
        Daemon::start(program)
    }

    fn start_kwok(&self, port: u16) -> Result<Daemon> {
        let config = self.dir.join("kwok.yaml");
        fs::write(&config, KWOK_CONFIG).context("writing kwok's configuration")?;
        let program = self.program(Part::Kwok)?.args([
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", self.dir.join("kwok.kubeconfig").display()),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
            "--node-lease-duration-seconds=40".to_owned(),
            "--cidr=10.0.0.1/16".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            format!("--node-port={port}"),
            format!("--server-address=127.0.0.1:{port}"),
        ]);
        Daemon::start(program)
    }

    fn create_fake_nodes(&self) -> Result<()> {
        let nodes: Vec<_> = (1..=self.fake_nodes).map(fake_node).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
        self.kubectl.apply(&list.to_string()).context("creating the fake nodes")?;
        Ok(())
    }

    /// Whether pods can be made, and run on the fake nodes if there are any.
    fn works(&self) -> Result<bool> {
        self.kubectl.run(["get", "serviceaccount", "default", "--namespace", "default"])?;
        let nodes = self.kubectl.json(["get", "nodes"])?;
        Ok(ready_nodes(&nodes) >= self.fake_nodes)
    }
}

impl ControlPlane {
    /// Starts the API server again and waits until it serves.
    pub(crate) fn restart_api_server(&mut self, kubectl: &Kubectl) -> Result<()> {
        self.api_server.restart()?;
        let children = &mut [&mut self.api_server];
        wait_while_running("the API server to be ready again", START_DEADLINE, children, || kubectl.run(["get", "--raw", "/readyz"]).map(|_| Some(())))
    }

    /// The name and process id of each program.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        let mut pids = vec![
            (Part::Etcd.to_string(), self.etcd.pid()),
            (Part::KubeApiserver.to_string(), self.api_server.pid()),
            (Part::KubeControllerManager.to_string(), self.controllers.pid()),
            (Part::KubeScheduler.to_string(), self.scheduler.pid()),
        ];
        pids.extend(self.kwok.as_ref().map(|kwok| (Part::Kwok.to_string(), kwok.pid())));
        pids
    }
}

fn fake_node(index: usize) -> serde_json::Value {
    let name = format!("fake-{index}");
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone(index),
                "type": "kwok",
            },
        },
    })
}

/// The zone of the n-th node: three zones in turn.
pub(crate) fn zone(index: usize) -> &'static str {
    match index % 3 {
        1 => "zone-a",
        2 => "zone-b",
        _ => "zone-c",
    }
}

/// How many nodes of a list have the condition Ready.
pub(crate) fn ready_nodes(nodes: &serde_json::Value) -> usize {
    let is_ready = |node: &serde_json::Value| {
        let conditions = node.pointer("/status/conditions").and_then(|list| list.as_array());
        conditions.into_iter().flatten().any(|condition| {
            let field = |name: &str| condition.get(name).and_then(|value| value.as_str());
            field("type") == Some("Ready") && field("status") == Some("True")
        })
    };
    let items = nodes.get("items").and_then(|items| items.as_array());
    items.into_iter().flatten().filter(|node| is_ready(node)).count()
}
