//! What a round runs in: a cluster of its own, a ServiceAccount for the operator, a policy, a source of
//! load. Touches the API server and processes.

use super::operator::Operator;
use super::population::{load_for, params};
use super::stand_in::StandIn;
use super::watch::Watch;
use crate::machine::processor_time;
use crate::report::{Report, progress};
use crate::stats::{grouped, short};
use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_cluster::{Cluster, Options, TestNamespace};

/// Kinds of `deploy/kustomize` that an operator outside of the cluster needs.
const KINDS: [&str; 7] = ["Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// A round's surroundings. Everything ends with it.
pub(super) struct Setting {
    pub(super) objects: usize,
    /// A client with all rights.
    pub(super) client: Client,
    pub(super) stand_in: StandIn,
    pub(super) watch: Watch,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    namespace: TestNamespace,
    // Last: the others want it there when they go.
    cluster: Cluster,
}

impl Setting {
    /// Starts a cluster for that many objects. `played`: its controllers stand still.
    pub(super) async fn start(objects: usize, played: bool) -> Result<Self> {
        let cluster = Cluster::start(Options::control_plane())?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = operator_kubeconfig(&cluster, folder.path())?;
        let namespace = TestNamespace::create(&cluster, "bench")?;
        let policy = weir_e2e::wasm_policy("rule", json!({ "builtin": { "name": "threshold" } }), params());
        namespace.kubectl().apply(&policy.to_string())?;
        if played {
            let stopped = ["kube-controller-manager", "kube-scheduler"];
            for (_, pid) in cluster.pids()?.into_iter().filter(|(name, _)| stopped.contains(&name.as_str())) {
                kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGSTOP)?;
            }
        }
        let client = weir_e2e::observer::client(cluster.kubeconfig()).await?;
        let watch = Watch::start(client.clone(), namespace.name(), objects);
        let stand_in = StandIn::start(objects, load_for(1))?;
        Ok(Self { objects, client, stand_in, watch, folder, kubeconfig, namespace, cluster })
    }

    /// How many LogProcessors, for the table.
    pub(super) fn title(&self) -> String {
        let plural = if self.objects == 1 { "" } else { "s" };
        format!("{} LogProcessor{plural}", grouped(self.objects as u64))
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Starts an operator and waits until it is ready.
    pub(super) fn operator(&self, name: &str) -> Result<Operator> {
        let operator = self.spawn(name)?;
        operator.wait_ready()?;
        Ok(operator)
    }

    fn spawn(&self, name: &str) -> Result<Operator> {
        let dir = self.cluster.dir().context("a started cluster has a folder")?;
        Operator::start(dir, &self.kubeconfig, self.folder.path(), name)
    }

    /// Starts an operator where all objects exist, and reports when it has decided on all of them.
    pub(super) fn operator_from_cold(&self, report: &mut Report, how: &str) -> Result<Operator> {
        self.stand_in.forget();
        let operator = self.spawn("weir-1")?;
        let all = self.objects as f64;
        let mut first = None;
        let decided = loop {
            let counters = operator.counters_so_far();
            if counters.decided > 0.0 {
                first.get_or_insert_with(|| operator.started.elapsed());
            }
            // Each object was measured, and as many decisions were made as there are objects.
            if let Some(asked) = self.stand_in.complete()
                && counters.decided >= all
            {
                break operator.started.elapsed().max(asked - operator.started);
            }
            if operator.started.elapsed() > Duration::from_secs(180) {
                bail!("after 180 s, {} objects were measured and {counters:?}\n{}", self.stand_in.seen(), operator.log_end());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let measured = format!("{} (the first one after {})", short(decided), short(first.unwrap_or(decided)));
        let what = format!("start of the operator → a decision on each of {}, {how}", self.title());
        if self.objects >= 10_000 {
            report.promise(what, measured, "≤ 3 s", decided <= Duration::from_secs(3));
        } else {
            report.note(what, measured);
        }
        Ok(operator)
    }

    /// Waits until all LogProcessors are ready.
    pub(super) async fn wait_until_ready(&self, operator: &Operator) -> Result<()> {
        let (begun, mut said) = (Instant::now(), Instant::now());
        loop {
            let ready = operator.counters_so_far().ready;
            if ready >= self.objects as f64 {
                return Ok(());
            }
            if said.elapsed() > Duration::from_secs(15) {
                said = Instant::now();
                progress(&format!("{ready} of {} objects are ready", self.objects));
            }
            ensure!(begun.elapsed() < Duration::from_secs(1800), "only {ready} of {} objects got ready\n{}", self.objects, operator.log_end());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the operator hardly writes any more; gives up after a while, and then the figures show it.
    pub(super) async fn wait_until_quiet(&self, operator: &Operator) {
        let begun = Instant::now();
        let (mut before, mut calm) = (operator.counters_so_far().requests, 0);
        while begun.elapsed() < Duration::from_secs(300) && calm < 3 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = operator.counters_so_far().requests;
            calm = if now - before <= 5.0 { calm + 1 } else { 0 };
            before = now;
        }
        progress(&format!("quiet after {:.0} s", begun.elapsed().as_secs_f64()));
    }

    /// Processor time of each program of the control plane, of the operator and of the bench so far, in seconds.
    pub(super) fn processor_times(&self, operator: &Operator) -> Result<Vec<(String, f64)>> {
        let mut times = vec![("operator".to_owned(), operator.processor_time()?.as_secs_f64())];
        times.push(("bench".to_owned(), processor_time(std::process::id())?.as_secs_f64()));
        for (name, pid) in self.cluster.pids()? {
            times.push((name, processor_time(pid)?.as_secs_f64()));
        }
        Ok(times)
    }

    /// Requests that the API server has answered or is answering, of all clients, watches left out.
    pub(super) async fn server_requests(&self) -> Result<f64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await?;
        let counted = text.lines().filter(|line| line.starts_with("apiserver_request_total{") && !line.contains("verb=\"WATCH\""));
        Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// Applies what the operator needs and makes it a kubeconfig with the token of its ServiceAccount.
fn operator_kubeconfig(cluster: &Cluster, folder: &Path) -> Result<PathBuf> {
    let kubectl = cluster.kubectl();
    let manifests = weir_e2e::repository().join("deploy/kustomize");
    let rendered = kubectl.run([std::ffi::OsStr::new("kustomize"), manifests.as_os_str()])?;
    let mut items = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&rendered) {
        let object = Value::deserialize(document)?;
        if object.get("kind").and_then(Value::as_str).is_some_and(|kind| KINDS.contains(&kind)) {
            items.push(object);
        }
    }
    let is_namespace = |object: &Value| object.get("kind").and_then(Value::as_str) == Some("Namespace");
    let (first, rest): (Vec<_>, Vec<_>) = items.into_iter().partition(is_namespace);
    for items in [first, rest] {
        kubectl.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    }
    weir_e2e::crds_served(&kubectl)?;
    let token = kubectl.run(["create", "token", "weir", "--namespace", "weir-system", "--duration", "24h"])?;
    let mut config: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(cluster.kubeconfig())?)?;
    *config.pointer_mut("/users/0/user").context("the kubeconfig has no user")? = json!({ "token": token.trim() });
    let path = folder.join("operator.kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}
