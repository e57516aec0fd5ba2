//! One namespace of a control plane with an operator of its own, for tests that look closely: it writes
//! through a client instead of kubectl, watches, and counts what the operator does.

use crate::observer::client;
use crate::{Exposer, Observer, Operator, apply_crds};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use weir_cluster::{Cluster, Level, TestNamespace, eventually, shared};

/// How long things may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace and who is at work in it. The operator ends first.
pub struct Plane {
    /// The operator.
    pub operator: Operator,
    /// Follows the namespace.
    pub observer: Observer,
    /// A client of somebody who may do everything.
    pub client: Client,
    /// The namespace.
    pub namespace: TestNamespace,
    /// The cluster.
    pub cluster: &'static Cluster,
}

/// Memory of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Megabytes that it holds.
    pub resident: u64,
    /// Megabytes that it held at most.
    pub peak: u64,
}

impl Plane {
    /// Makes a namespace whose name begins with `name`, and starts an operator with further options.
    ///
    /// # Errors
    /// The cluster or the operator does not start.
    pub async fn start(name: &str, options: &[&str]) -> Result<Self> {
        let cluster = shared(Level::ControlPlane)?;
        apply_crds(cluster)?;
        let namespace = TestNamespace::create(cluster, name)?;
        let operator = Operator::start(cluster, namespace.name(), options)?;
        let client = client(cluster.kubeconfig()).await?;
        let observer = Observer::start(cluster.kubeconfig(), namespace.name()).await?;
        Ok(Self { operator, observer, client, namespace, cluster })
    }

    /// Server-side apply of any object, in the namespace unless it names another.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(object)).await.with_context(|| format!("applying {name}")).map(drop)
    }

    /// Deletes an object; one that is not there is gone already.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn delete(&self, object: &Value) -> Result<()> {
        let (api, name) = self.api(object)?;
        match api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
            other => other.with_context(|| format!("deleting {name}")).map(drop),
        }
    }

    fn api(&self, object: &Value) -> Result<(Api<DynamicObject>, String)> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let types = TypeMeta { api_version: text("/apiVersion").context("no apiVersion")?, kind: text("/kind").context("no kind")? };
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let namespace = text("/metadata/namespace").unwrap_or_else(|| self.namespace.name().to_owned());
        Ok((Api::namespaced_with(self.client.clone(), &namespace, &resource), text("/metadata/name").context("no name")?))
    }

    /// Gives a pod an address, which it keeps for as long as it is ready.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn place(&self, pod: &str, address: &str) -> Result<()> {
        let status = json!({ "status": { "podIP": address, "podIPs": [{ "ip": address }] } });
        self.patch_pod_status(pod, &Patch::Merge(status)).await
    }

    /// Patches the status of a pod.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn patch_pod_status(&self, pod: &str, patch: &Patch<Value>) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace.name());
        api.patch_status(pod, &PatchParams::default(), patch).await.with_context(|| format!("patching the status of pod {pod}")).map(drop)
    }

    /// Calls of a policy so far: each decision that asks it is one.
    ///
    /// # Errors
    /// The operator does not answer.
    pub fn calls(&self, policy: &str) -> Result<u64> {
        self.count("weir_policy_fuel_count", &format!("policy=\"{policy}\""))
    }

    /// A counter of the operator, summed over the series whose labels contain `with`.
    ///
    /// # Errors
    /// The operator does not answer.
    pub fn count(&self, metric: &str, with: &str) -> Result<u64> {
        Ok(whole(self.operator.metric(metric, with)?))
    }

    /// Memory of the operator.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.operator.pid())).context("the operator is gone")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
        };
        Ok(Memory { resident: field("VmRSS:").context("no VmRSS")?, peak: field("VmHWM:").context("no VmHWM")? })
    }

    /// Waits until an address was asked so many more times for a path. A test that has to see that
    /// nothing happens waits for so many occasions.
    ///
    /// # Errors
    /// Nobody asks.
    pub async fn ticks(&self, exposer: &Exposer, host: usize, path: &str, more: usize) -> Result<()> {
        let wanted = exposer.asked(host, path)?.len() + more;
        let asked = async || Ok((exposer.asked(host, path)?.len() >= wanted).then_some(()));
        eventually(format!("{more} more questions for {path}"), PATIENCE, asked).await
    }
}

/// A count that travels as a number with a fraction.
#[must_use]
pub fn whole(count: f64) -> u64 {
    format!("{count:.0}").parse().unwrap_or(0)
}

/// How evenly something happened that should happen once per interval.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often it happened after the first time.
    pub count: u64,
    /// Intervals from the first time to the last.
    pub intervals: u64,
    /// The longest time between two.
    pub longest: Duration,
    /// From the first time to the last.
    pub span: Duration,
}

impl Pace {
    /// Of moments in order.
    #[must_use]
    pub fn of(moments: &[Instant], interval: Duration) -> Self {
        let gaps = moments.windows(2).filter_map(|pair| Some(pair.last()?.duration_since(*pair.first()?)));
        let span = moments.last().zip(moments.first()).map_or(Duration::ZERO, |(last, first)| last.duration_since(*first));
        Self {
            count: u64::try_from(moments.len().saturating_sub(1)).unwrap_or(u64::MAX),
            intervals: whole(span.as_secs_f64() / interval.as_secs_f64()),
            longest: gaps.max().unwrap_or_default(),
            span,
        }
    }
}

/// The value below which this share (0 to 1) of the values lies, in milliseconds.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = f64::from(u32::try_from(sorted.len().saturating_sub(1)).unwrap_or(u32::MAX));
    let at = usize::try_from(whole(last * share)).unwrap_or(0);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
