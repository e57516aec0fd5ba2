//! The stage: a cluster with the operator, the platform that it runs, and the load on it.

use crate::load::Load;
use crate::screen::{Screen, Tone};
use crate::view::{POLICY, PROCESSOR, WORKLOAD};
use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::time::Duration;
use weir_cluster::{Cluster, Kubectl, Options, wait_until};
use weir_e2e::manifests::{METRICS, OTLP, STORE, gateway, merge, store};
use weir_e2e::observer::Seen;
use weir_e2e::platform::{InCluster, cluster_ip, install, load_images, rolled_out};
use weir_e2e::{Observer, Operator, apply_crds, component, config_map, machine, processor, wasm_policy};

/// Where the platform runs.
const NAMESPACE: &str = "logs";
const STORES: [&str; 2] = ["victorialogs-low", "victorialogs-high"];
/// Most replicas.
const MOST: u32 = 5;

/// The operator: as pods, or as a process where pods are fake.
enum Runs {
    Pods(InCluster),
    Process(Operator),
}

/// Everything that scenes act on. Dropping it ends the cluster.
pub(crate) struct Stage {
    /// kubectl in the platform's namespace.
    pub(crate) kubectl: Kubectl,
    /// What the namespace holds.
    pub(crate) observer: Observer,
    /// What is offered.
    pub(crate) load: Load,
    /// Addresses of the stores; none where pods are fake.
    pub(crate) stores: Vec<String>,
    operator: Runs,
    /// Pods whose metrics are closed, by uid.
    closed: Mutex<Vec<String>>,
    // Last: everything above talks to it.
    _cluster: Cluster,
}

impl Stage {
    /// Builds it up.
    ///
    /// # Errors
    /// A part does not start; the error shows why.
    pub(crate) async fn set_up(screen: &Screen, real: bool) -> Result<Self> {
        let say = |text: &str| screen.say(Tone::Plain, &format!("  {:>4.0} s  {text}", screen.seconds()));
        if real {
            say("starting Kubernetes with two nodes, all on this machine");
        } else {
            say("starting a Kubernetes control plane with a fake node (containers need root)");
        }
        let cluster = Cluster::start(if real { Options::nodes(2) } else { Options::control_plane() })?;
        let kubectl = cluster.kubectl().in_namespace(NAMESPACE);
        cluster.kubectl().run(["create", "namespace", NAMESPACE])?;
        let operator = if real {
            say("loading images: Weir, OpenTelemetry Collector, VictoriaLogs");
            load_images(&cluster)?;
            for (name, node) in STORES.into_iter().zip(["node-1", "node-2"]) {
                kubectl.apply(&store(NAMESPACE, name, node).to_string())?;
            }
            say("installing the operator: kubectl apply -k deploy/kustomize");
            Runs::Pods(install(&cluster)?)
        } else {
            apply_crds(&cluster)?;
            say("starting the operator as a process");
            Runs::Process(Operator::start(&cluster, NAMESPACE, &[])?)
        };
        let observer = Observer::start(cluster.kubeconfig(), NAMESPACE).await?;
        say("applying a ConfigMap with a rule (threshold.wasm), a WasmPolicy and a LogProcessor");
        kubectl.apply(&config_map(POLICY, &component("threshold")?).to_string())?;
        kubectl.apply(&wasm_policy(POLICY, json!({ "configMap": { "name": POLICY } }), json!({})).to_string())?;
        let (load, stores) = if real {
            rolled_out(&kubectl, &STORES)?;
            kubectl.apply(&collectors().to_string())?;
            let target = format!("{}:{OTLP}", cluster_ip(&kubectl, PROCESSOR)?);
            say("waiting until the collector's own validate has accepted its configuration and a replica runs");
            observer.until("a replica is ready", Duration::from_secs(90), |seen| ready(seen, 1)).await.with_context(|| Self::state(&kubectl))?;
            let run = format!("demo-{}", jiff::Timestamp::now().as_second());
            let mut stores = Vec::new();
            for name in STORES {
                stores.push(format!("http://{}:{STORE}", cluster_ip(&kubectl, name)?));
            }
            (Load::send(&run, &target)?, stores)
        } else {
            let load = Load::model().await?;
            if let Load::Modelled(model) = &load {
                kubectl.apply(&played(&model.url()).to_string())?;
            }
            (load, Vec::new())
        };
        let stage = Self { kubectl, observer, load, stores, operator, closed: Mutex::default(), _cluster: cluster };
        let steady = stage.observer.until("the LogProcessor is Ready", Duration::from_secs(60), |seen| {
            seen.condition(PROCESSOR, "Ready").filter(|(status, ..)| *status == "True").map(drop)
        });
        steady.await.with_context(|| stage.story())?;
        say("the LogProcessor is Ready");
        Ok(stage)
    }

    /// Pods run.
    #[must_use]
    pub(crate) fn real(&self) -> bool {
        matches!(self.operator, Runs::Pods(_))
    }

    /// Ships a component under the policy's ConfigMap, as `kubectl apply` of a file would.
    ///
    /// # Errors
    /// It has not been built, or is refused.
    pub(crate) fn ship(&self, name: &str) -> Result<()> {
        self.kubectl.apply(&config_map(POLICY, &component(name)?).to_string()).map(drop)
    }

    /// Cuts the operator off the metrics, or lets it read them again.
    ///
    /// # Errors
    /// A replica's port can't be closed or opened.
    pub(crate) fn set_metrics(&self, readable: bool) -> Result<()> {
        match &self.load {
            Load::Modelled(model) => model.set_silent(!readable),
            Load::Sent(_) => {
                let mut closed = self.closed.lock();
                if readable {
                    for uid in closed.drain(..) {
                        machine::close_port(&uid, METRICS, false)?;
                    }
                } else {
                    let uids: Vec<String> = self.observer.now().pods_of(PROCESSOR).filter_map(|pod| pod.metadata.uid.clone()).collect();
                    for uid in uids {
                        machine::close_port(&uid, METRICS, true)?;
                        closed.push(uid);
                    }
                }
            }
        }
        Ok(())
    }

    /// Decisions of the operator so far.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn decisions(&self) -> Result<f64> {
        match &self.operator {
            Runs::Pods(operator) => operator.metric("weir_decisions_total", ""),
            Runs::Process(operator) => operator.metric("weir_decisions_total", ""),
        }
    }

    /// Waits until the operator has decided `more` times.
    ///
    /// # Errors
    /// Not within 30 s.
    pub(crate) fn wait_decisions(&self, more: f64) -> Result<()> {
        let before = self.decisions()?;
        wait_until("more decisions", Duration::from_secs(30), || Ok((self.decisions()? >= before + more).then_some(())))
    }

    /// What a person would look at when something is wrong.
    #[must_use]
    pub(crate) fn story(&self) -> String {
        let log = match &self.operator {
            Runs::Pods(operator) => operator.log(),
            Runs::Process(operator) => operator.log(),
        };
        format!("{}\n{log}", Self::state(&self.kubectl))
    }

    fn state(kubectl: &Kubectl) -> String {
        kubectl.run(["get", "lp,wp,deploy,pods,events", "-o", "wide"]).unwrap_or_default() + &kubectl.run(["get", "lp", "-o", "yaml"]).unwrap_or_default()
    }
}

/// Some when all replicas that are asked for are ready.
pub(crate) fn complete(seen: &Seen) -> Option<()> {
    ready(seen, usize::try_from(asked(seen)).unwrap_or(usize::MAX))
}

/// Some when at least `replicas` are ready.
pub(crate) fn ready(seen: &Seen, replicas: usize) -> Option<()> {
    (seen.pods_of(PROCESSOR).filter(|pod| weir_e2e::observer::is_ready(pod)).count() >= replicas).then_some(())
}

/// Replicas that are asked for.
pub(crate) fn asked(seen: &Seen) -> i32 {
    seen.replicas(WORKLOAD).unwrap_or(0)
}

fn guardrails() -> Value {
    json!({ "scaling": { "guardrails": {
        "scaleUp": { "maxReplicasPerStep": 2 },
        "scaleDown": { "stabilizationWindow": "5s", "maxReplicasPerStep": 2, "cooldown": "5s" },
    } } })
}

fn collectors() -> Value {
    let mut object = gateway(PROCESSOR, STORES, POLICY, MOST);
    merge(&mut object, json!({ "spec": guardrails() }));
    object
}

/// The same where pods are fake: plain pods, and a Prometheus that knows the load.
fn played(prometheus: &str) -> Value {
    let mut object = processor(PROCESSOR, prometheus, POLICY, MOST);
    merge(
        &mut object,
        json!({ "spec": {
        "engine": { "template": { "metadata": { "annotations": { "test.weir.dev/ready-after": "2s" } } } },
        "capacityPerReplica": { "recordsPerSecond": 500 },
        "metrics": {
            "interval": "1s", "window": "20s", "staleness": "4s",
            "series": [{ "name": "offered", "unit": "records/s", "prometheus": { "query": "weir_model_offered" } }],
        },
    } }),
    );
    merge(&mut object, json!({ "spec": guardrails() }));
    object
}
