//! Plan of an engine whose replicas hold queues: carries out [`weir_core::drain`]. Touches the
//! network: labels and annotations of pods; the workload's replicas are the actor's.

use crate::context::Context;
use crate::index::Members;
use crate::views::{ANNOTATION_CORDONED_AT, COST_CORDONED, COST_DRAINED, PodView};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use weir_core::drain::{Action, DrainPlan, Patience, Replica, plan};
use weir_core::ids::UnixMs;
use weir_crds::names::{ANNOTATION_POD_DELETION_COST, LABEL_DRAINING};
use weir_intake::{Intake, PodState};

/// Plans the way to `wanted` serving replicas.
pub(super) fn plan_for(now: UnixMs, members: &Members, intake: &Intake, (desired, wanted): (u32, u32), quiet: &mut Quiet, limits: Limits) -> DrainPlan {
    let live = || members.pods.values().filter(|pod| !pod.facts.deleting && !pod.finished);
    quiet.busy.retain(|name, _| members.pods.contains_key(name));
    let replicas: Vec<Replica> = live().map(|pod| replica(now, pod, intake, quiet, limits)).collect();
    plan(now, desired, wanted, &replicas, Patience { intake_ms: limits.patience_ms })
}

/// How long a leaving replica is watched.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Clients that hold on to old connections are waited for this long.
    pub(super) patience_ms: i64,
    /// A replica that takes nothing in and has an empty queue may still hold a batch this long.
    pub(super) batch_ms: i64,
}

/// When each leaving replica was last seen to take something in or to hold something.
#[derive(Default)]
pub(super) struct Quiet {
    busy: HashMap<Arc<str>, UnixMs>,
}

fn replica(now: UnixMs, pod: &PodView, intake: &Intake, quiet: &mut Quiet, limits: Limits) -> Replica {
    let sample = intake.pod(&pod.name).filter(|sample| matches!(sample.state, PodState::Measured));
    // A collector that answers and has no queue metric has no queue.
    let backlog = sample.as_ref().map(|sample| if sample.queue.is_nan() { 0.0 } else { sample.backlog.max(sample.queue) });
    let mut intake_rate = sample.as_ref().map(|sample| sample.offered).filter(|rate| rate.is_finite());
    if pod.cordoned.is_some() {
        let still = backlog.is_some_and(|backlog| backlog <= 0.0) && intake_rate.is_some_and(|rate| rate <= 0.0);
        let last = quiet.busy.entry(pod.name.clone()).or_insert(now);
        if !still {
            *last = now;
        } else if now.since(*last) < limits.batch_ms {
            // Not known to be quiet until a batch would have left.
            intake_rate = None;
        }
    }
    Replica {
        name: pod.name.to_string(),
        running: pod.ready(),
        never_started: !pod.started && pod.facts.ready_since.is_none(),
        cordoned: pod.cordoned,
        marked: pod.marked,
        backlog,
        intake: intake_rate,
    }
}

/// Carries out the actions on pods, and returns the replicas that the workload is to have, if they change.
pub(super) async fn carry_out(context: &Context, namespace: &str, now: UnixMs, plan: &DrainPlan) -> Result<Option<u32>, kube::Error> {
    let mut scale = None;
    for action in &plan.actions {
        match action {
            Action::Cordon(pod) => {
                let annotations = json!({ ANNOTATION_CORDONED_AT: now.0.to_string(), ANNOTATION_POD_DELETION_COST: COST_CORDONED });
                mark(context, namespace, pod, json!({ LABEL_DRAINING: "true" }), annotations).await?;
            }
            Action::Uncordon(pod) => {
                let annotations = json!({ ANNOTATION_CORDONED_AT: null, ANNOTATION_POD_DELETION_COST: null });
                mark(context, namespace, pod, json!({ LABEL_DRAINING: "false" }), annotations).await?;
            }
            Action::Mark(pod) => mark(context, namespace, pod, json!({}), json!({ ANNOTATION_POD_DELETION_COST: COST_DRAINED })).await?,
            Action::Scale(to) => scale = Some(*to),
        }
    }
    Ok(scale)
}

async fn mark(context: &Context, namespace: &str, pod: &str, labels: Value, annotations: Value) -> Result<(), kube::Error> {
    if !context.leadership.is_leader() {
        return Ok(());
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let body = json!({ "metadata": { "labels": labels, "annotations": annotations } });
    match api.patch(pod, &PatchParams::default(), &Patch::Merge(body)).await {
        Ok(pod) => {
            context.index.write().apply_pod(PodView::from(&pod));
            Ok(())
        }
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
