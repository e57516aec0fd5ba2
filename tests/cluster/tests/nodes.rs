//! Real nodes: what runs in them, what is left of them. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_cluster::{Cluster, Image, Kubectl, Options, Part, TestNamespace, wait_until};

const DEADLINE: Duration = Duration::from_secs(90);

/// These tests take turns: each compares the machine before and after, or measures a loss in seconds.
fn turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

fn wait_for_pods(kubectl: &Kubectl, condition: &str, pods: &[&str]) -> Result<()> {
    let mut args = vec!["wait", "pod", "--timeout=90s", condition];
    args.extend(pods);
    if let Err(error) = kubectl.run(args) {
        let state = kubectl.run(["describe", "pods"]).unwrap_or_default();
        return Err(error.context(state));
    }
    Ok(())
}

fn in_shell(kubectl: &Kubectl, script: &str) -> Result<String> {
    kubectl.run(["exec", "shell", "--", "sh", "-c", script])
}

#[test]
fn a_log_record_crosses_two_nodes_by_names_of_services() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let before = Machine::look()?;
    let options = Options::nodes(2).with_images([Image::Otelcol, Image::VictoriaLogs]);
    let cluster = Cluster::start(options)?;
    // As another process of the same test run would.
    let attached = Cluster::attach(cluster.dir().context("a started cluster has a folder")?)?;
    attached.load_program("weir.local/linked:test", Path::new(env!("CARGO_BIN_EXE_weir-cluster")))?;
    cluster.load_program("weir.local/kubectl:test", &cluster.binary(Part::Kubectl)?)?;
    let namespace = TestNamespace::create(&cluster, "pipeline")?;
    let kubectl = namespace.kubectl();
    kubectl.apply(include_str!("platform.yaml"))?;
    wait_for_pods(kubectl, "--for=condition=Ready", &["collector", "store", "shell"])?;

    let send = r#"wget -q -O - --header 'Content-Type: application/json' --post-data \
        '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a record on its way"}}]}]}]}' \
        http://collector:4318/v1/logs"#;
    wait_until("the collector to take a record", DEADLINE, || in_shell(kubectl, send).map(Some))?;
    wait_until("the store to have the record", DEADLINE, || {
        let query = "wget -q -O - 'http://store:9428/select/logsql/query?query=way'";
        Ok(in_shell(kubectl, query)?.contains("a record on its way").then_some(()))
    })?;

    // A dynamically linked program found its libraries in its image.
    wait_for_pods(kubectl, "--for=jsonpath={.status.phase}=Succeeded", &["linked"])?;
    assert!(kubectl.run(["logs", "linked"])?.contains("weir-cluster"));
    // Pods reach the API server with their service account.
    wait_for_pods(kubectl, "--for=jsonpath={.status.phase}=Succeeded", &["api-client"])?;
    assert!(kubectl.run(["logs", "api-client"])?.contains("gitVersion"));
    // This machine reaches ClusterIPs and pods.
    for path in [["service/store", "{.spec.clusterIP}"], ["pod/store", "{.status.podIP}"]] {
        let address = kubectl.run(["get", path[0], "-o", &format!("jsonpath={}", path[1])])?;
        let address: SocketAddr = format!("{address}:9428").parse()?;
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).context(path[0])?;
    }

    let names = names_of(&cluster)?;
    assert!(!Machine::look()?.added_since(&before, &names).is_empty(), "the comparison sees nothing");
    drop(namespace);
    drop(cluster);
    assert_eq!(Machine::look()?.added_since(&before, &names), BTreeSet::new());
    Ok(())
}

#[test]
fn a_node_that_loses_power_is_noticed_and_comes_back() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let before = Machine::look()?;
    let cluster = Cluster::start(Options::nodes(2))?;
    let names = names_of(&cluster)?;
    let kubectl = cluster.kubectl();
    let is_ready = |node: &str, status: &str| {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        wait_until(format!("{node} to be Ready={status}"), DEADLINE, || Ok((kubectl.run(["get", "node", node, "-o", path])? == status).then_some(())))
    };
    cluster.kill_node(1)?;
    is_ready("node-1", "Unknown")?;
    is_ready("node-2", "True")?;
    cluster.start_node(1)?;
    is_ready("node-1", "True")?;

    let path = "jsonpath={.status.addresses[0].address}";
    let address = kubectl.run(["get", "node", "node-2", "-o", path])?;
    let kubelet: SocketAddr = format!("{address}:10250").parse()?;
    let second = Duration::from_secs(1);
    cluster.set_node_connected(2, false)?;
    assert!(TcpStream::connect_timeout(&kubelet, second).is_err());
    cluster.set_node_connected(2, true)?;
    wait_until("node-2 to be reached again", DEADLINE, || Ok(TcpStream::connect_timeout(&kubelet, second).map(Some)?))?;

    cluster.kill_kubelet(2)?;
    is_ready("node-2", "Unknown")?;
    cluster.start_kubelet(2)?;
    is_ready("node-2", "True")?;
    drop(cluster);
    assert_eq!(Machine::look()?.added_since(&before, &names), BTreeSet::new());
    Ok(())
}

/// Strings that everything of this cluster, and nothing of another one of this crate, contains.
fn names_of(cluster: &Cluster) -> Result<Vec<String>> {
    let path = "jsonpath={.items[0].status.addresses[0].address}";
    let address = cluster.kubectl().run(["get", "nodes", "-o", path])?;
    let second = address.split('.').nth(1).context("a node has an IPv4 address")?;
    let dir = cluster.dir().context("a started cluster has a folder")?.display().to_string();
    let mut names = vec![dir, format!("weir{second}"), format!("weir-{second}-")];
    // What CNI plugins, kube-proxy and runc leave when nobody cleans up carries their own names.
    names.extend(["cni", "KUBE-", "kubepods", "containerd-shim", &format!("10.{second}.")].map(String::from));
    Ok(names)
}

/// What a cluster could leave on a machine, one line each.
struct Machine(BTreeSet<String>);

impl Machine {
    fn look() -> Result<Self> {
        let mut lines = BTreeSet::new();
        for command in [
            "ip -o link",
            "ip -4 route show table all",
            "ip netns list",
            "iptables-save",
            "mount",
            "find /sys/fs/cgroup -type d",
            // /run/mount is libmount's own, made by the first mount that this machine ever makes.
            "find /run /var/run/netns /var/lib/cni /var/lib/kubelet /var/log/pods -maxdepth 2 | grep -vx /run/mount",
            "ls -d /tmp/weir-cluster-*",
            "ps -e -o args",
            "sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops net.ipv4.ip_forward",
        ] {
            let output = Command::new("sh").args(["-c", command]).output().context(command)?;
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                lines.insert(format!("{command}: {line}"));
            }
        }
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            for variable in String::from_utf8_lossy(&environ).split('\0') {
                if variable.starts_with("WEIR_CLUSTER_MARK=") {
                    lines.insert(format!("process: {variable}"));
                }
            }
        }
        Ok(Self(lines))
    }

    /// Lines that are new and contain one of `names`; settings of the kernel always count.
    fn added_since(&self, before: &Self, names: &[String]) -> BTreeSet<String> {
        let counts = |line: &&String| line.starts_with("sysctl") || names.iter().any(|name| line.contains(name));
        self.0.difference(&before.0).filter(counts).cloned().collect()
    }
}
