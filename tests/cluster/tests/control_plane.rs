//! A control plane as tests use it. Each test starts its own, since it looks at how it starts and ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_cluster::{Cluster, Options, TestNamespace, wait_until};

const DEADLINE: Duration = Duration::from_secs(60);

const DEPLOYMENT: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: none}]
";

/// The processes that carry this mark, by the file that every process has.
fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(&format!("WEIR_CLUSTER_MARK={mark}")) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

fn gone(dir: &std::path::Path) -> bool {
    !dir.exists() && marked(&dir.to_string_lossy()).is_empty()
}

#[test]
fn a_deployment_becomes_available_and_survives_the_api_server() -> Result<()> {
    let cluster = Cluster::start(Options::control_plane())?;
    let nodes = cluster.kubectl().run(["get", "nodes", "--no-headers"])?;
    assert!(nodes.contains("fake-1") && nodes.contains(" Ready "), "{nodes}");

    let namespace = TestNamespace::create(&cluster, "deployment")?;
    namespace.kubectl().apply(DEPLOYMENT)?;
    wait_until("three ready pods", DEADLINE, || {
        let ready = ["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"];
        Ok((namespace.kubectl().run(ready)? == "3").then_some(()))
    })?;

    let before = cluster.api_pid()?;
    cluster.kill_apiserver()?;
    assert!(cluster.kubectl().run(["get", "--raw", "/readyz"]).is_err());
    cluster.restart_apiserver()?;
    assert_ne!(cluster.api_pid()?, before);
    assert!(namespace.kubectl().run(["get", "deployment", "web"])?.contains("3/3"));
    Ok(())
}

#[test]
fn two_clusters_run_side_by_side_and_leave_nothing_when_dropped() -> Result<()> {
    let one = Cluster::start(Options::control_plane())?;
    let two = Cluster::start(Options { fake_nodes: 3, ..Options::control_plane() })?;
    let namespace = TestNamespace::create(&one, "only-in-one")?;
    assert!(two.kubectl().run(["get", "namespace", namespace.name()]).is_err());
    let names = two.kubectl().run(["get", "nodes", "--output=name"])?;
    assert_eq!(names.lines().count(), 3, "{names}");
    drop(namespace);

    let dirs = [&one, &two].map(|cluster| cluster.dir().unwrap().to_owned());
    let mark = dirs[0].to_string_lossy().into_owned();
    assert!(marked(&mark).len() >= 5);
    drop(one);
    assert!(gone(&dirs[0]), "left: {:?}", marked(&mark));
    assert!(two.kubectl().run(["get", "--raw", "/readyz"]).is_ok());
    drop(two);
    assert!(gone(&dirs[1]));
    Ok(())
}

#[test]
fn a_cluster_ends_with_its_owner_even_after_sigkill() -> Result<()> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_weir-cluster")).arg("up").stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    let stdout = owner.stdout.take().context("stdout is piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let dir = std::path::Path::new(line.trim()).parent().context("a kubeconfig in a folder")?;
    assert!(!marked(&dir.to_string_lossy()).is_empty(), "nothing runs in {}", dir.display());

    owner.kill()?;
    owner.wait()?;
    wait_until("nothing of the cluster to be left", DEADLINE, || Ok(gone(dir).then_some(())))
}

#[test]
fn run_hands_the_cluster_to_a_command_and_passes_on_its_exit_code() -> Result<()> {
    let script = r#"kubectl get nodes --output=name && echo "$WEIR_CLUSTER" && exit 7"#;
    let output = Command::new(env!("CARGO_BIN_EXE_weir-cluster")).args(["run", "--nodes", "2", "--", "sh", "-c", script]).output()?;
    let stdout = String::from_utf8(output.stdout)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{stdout}{stderr}");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[..2], ["node/fake-1", "node/fake-2"]);
    assert!(gone(std::path::Path::new(lines[2])), "{}", lines[2]);
    Ok(())
}
