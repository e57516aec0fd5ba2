//! Configuration of the collector engine: gathers what [`crate::build::rollout`] judges, and carries
//! its step out. Touches the network; called by the actor, only while something is under way.

use super::facts::{self, Said};
use crate::build::rollout::{Confirmed, PROVEN_MS, Progress, Rejected, State, Step, step};
use crate::build::{
    ANNOTATION_GIVEN_AT, ANNOTATION_LAST_GOOD, ANNOTATION_LIVE, ANNOTATION_ROLLED_BACK, CheckOutcome, ConfigHash, LABEL_CONFIG_CHECK, LABEL_TEMPLATE,
    ObjectKind, Owner, Revision, Valid, check_job_name, check_outcome, config_map_name, validation_job,
};
use crate::conditions::Status;
use crate::context::Context;
use crate::ensure::{ApplyError, Ensured};
use crate::index::Members;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use std::time::Duration;
use weir_core::health::Finding;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_crds::log_processor::ConfigCheck;
use weir_crds::names::{ANNOTATION_CONFIG_HASH, LABEL_PROCESSOR};
use weir_intake::{Intake, PodState};

/// A configuration under way is looked at this often.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// One that is still to prove itself is looked at this often.
const PROVING: Duration = Duration::from_secs(10);

/// What is to be deployed.
pub(super) struct Outcome {
    /// What the spec asked for when it was judged.
    pub(super) desired: ConfigHash,
    /// The step that was judged.
    pub(super) step: Step,
    /// The revision to put back, when it is not the desired one.
    pub(super) earlier: Option<Revision>,
    /// Nothing is under way: no check runs, nothing rolls, replicas confirm what they run.
    pub(super) at_rest: bool,
    /// When to look again even if nothing changes.
    pub(super) look_again: Option<Duration>,
    /// Replicas that say themselves that they run the workload's revision; `None`: they are not asked.
    pub(super) confirmed: Option<u32>,
    /// The desired revision was accepted by its check: no need to ask again.
    accepted: Option<ConfigHash>,
}

/// What the actor knows.
pub(super) struct Known<'a> {
    pub(super) valid: &'a Valid,
    /// The desired one.
    pub(super) revision: &'a Revision,
    pub(super) members: &'a Members,
    pub(super) findings: &'a [Finding],
    /// `None`: replicas are not measured.
    pub(super) intake: Option<&'a Intake>,
    pub(super) rejected: Option<&'a Rejected>,
    /// What came of the last time.
    pub(super) before: Option<&'a Outcome>,
}

/// Judges, starts a check when one is due, and reads back an earlier revision when it is needed.
pub(super) async fn run(context: &Context, known: &Known<'_>, ensured: &mut Ensured) -> Result<Outcome, ApplyError> {
    let Known { valid, revision, members, findings, intake, rejected, before } = *known;
    let owner = &valid.owner;
    let annotation = |name: &str| members.workload.as_ref().and_then(|workload| workload.annotations.get(name)?.parse::<ConfigHash>().ok());
    let running = members.workload.as_ref().and_then(|workload| workload.config_hash.as_ref()?.parse::<ConfigHash>().ok());
    let (last_good, rolled_back) = (annotation(ANNOTATION_LAST_GOOD), annotation(ANNOTATION_ROLLED_BACK));
    let said = intake.map(|intake| confirmation(intake, members, running.as_ref()));
    let progress = facts::progress(context.now(), members, findings, said);
    // A configuration that has already proven itself is not checked again.
    let proven = last_good.as_ref() == Some(revision.hash());
    let accepted_before = before.is_some_and(|before| before.accepted.as_ref() == Some(revision.hash()));
    let job = if accepted_before {
        CheckOutcome::Accepted
    } else if proven || revision.check() == ConfigCheck::Skip {
        CheckOutcome::None
    } else {
        outcome_of_check(context, valid, revision).await?
    };
    // Old ones are cleared away once the desired one has proven itself. Until then, the last good one can
    // be put back only if its ConfigMap is still there.
    let due = !proven && (last_good.is_some() || matches!(progress, Progress::Settled { ready_ms } if ready_ms >= PROVEN_MS));
    let (existing, jobs) = if due { leftovers(context, valid).await? } else { (Vec::new(), Vec::new()) };
    let confirmed = said.map(|(confirmed, _)| confirmed);
    let step = step(&State {
        desired: revision.hash(),
        check: revision.check(),
        running: running.as_ref(),
        last_good: last_good.as_ref(),
        rolled_back: rolled_back.as_ref(),
        rejected,
        job: &job,
        progress: &progress,
        confirmed,
        existing: &existing,
        jobs: &jobs,
    });
    if step.start_check
        && let Some(job) = validation_job(valid, env!("CARGO_PKG_VERSION"))
    {
        ensured.forget(ObjectKind::Job.as_str());
        ensured.ensure(context, &owner.uid, &job).await?;
    }
    let earlier = match &step.deploy {
        Some(hash) if hash != revision.hash() => read_back(context, &owner.object_ref(), hash).await?,
        _ => None,
    };
    for hash in &step.garbage_jobs {
        delete::<Job>(context, &owner.namespace, &check_job_name(&owner.name, hash)).await;
    }
    for hash in &step.garbage_config_maps {
        delete::<ConfigMap>(context, &owner.namespace, &config_map_name(&owner.name, hash)).await;
    }
    let waiting_for_check = matches!(job, CheckOutcome::Running { .. } | CheckOutcome::Inconclusive(_)) || step.start_check;
    let changing = step.last_good != last_good || step.deploy.as_ref() != running.as_ref();
    let at_rest = !waiting_for_check && !changing && step.garbage_jobs.is_empty() && step.garbage_config_maps.is_empty();
    let accepted = matches!(job, CheckOutcome::Accepted).then(|| revision.hash().clone());
    // What no watch tells: replicas confirm in their metrics, and time alone proves a configuration.
    let serves = step.deploy.as_ref() == Some(revision.hash()) && progress != Progress::Idle;
    let at_rest = at_rest && !(serves && step.confirmed.status != Status::True);
    let unproven = serves && step.last_good.as_ref() != Some(revision.hash());
    let look_again = if !at_rest { Some(UNDER_WAY) } else { unproven.then_some(PROVING) };
    Ok(Outcome { desired: revision.hash().clone(), step, earlier, at_rest, look_again, confirmed: confirmed.map(|confirmed| confirmed.replicas), accepted })
}

fn failed(kind: &'static str, name: &str) -> impl FnOnce(kube::Error) -> ApplyError {
    move |source| ApplyError::Api { kind, name: name.to_owned(), source: Box::new(source) }
}

async fn outcome_of_check(context: &Context, valid: &Valid, revision: &Revision) -> Result<CheckOutcome, ApplyError> {
    let owner = &valid.owner;
    let name = check_job_name(&owner.name, revision.hash());
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &owner.namespace);
    let Some(job) = jobs.get_opt(&name).await.map_err(failed("Job", &name))? else { return Ok(CheckOutcome::None) };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &owner.namespace);
    let found = pods.list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"))).await.map_err(failed("Pod", &name))?;
    Ok(check_outcome(&job, found.items.first()))
}

/// Hashes of the ConfigMaps and check Jobs that exist.
async fn leftovers(context: &Context, valid: &Valid) -> Result<(Vec<ConfigHash>, Vec<ConfigHash>), ApplyError> {
    let owner = &valid.owner;
    let hash = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| meta.annotations.as_ref()?.get(ANNOTATION_CONFIG_HASH)?.parse().ok();
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &owner.namespace);
    let of_processor = ListParams::default().labels(&format!("{LABEL_PROCESSOR}={}", owner.name));
    let maps = maps.list_metadata(&of_processor).await.map_err(failed("ConfigMap", &owner.name))?;
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &owner.namespace);
    let of_checks = ListParams::default().labels(&format!("{LABEL_CONFIG_CHECK}={}", owner.name));
    let jobs = jobs.list_metadata(&of_checks).await.map_err(failed("Job", &owner.name))?;
    Ok((maps.items.iter().filter_map(|map| hash(&map.metadata)).collect(), jobs.items.iter().filter_map(|job| hash(&job.metadata)).collect()))
}

/// An earlier revision of a processor, from the ConfigMap that was written for it.
pub(super) async fn read_back(context: &Context, processor: &ObjectRef, hash: &ConfigHash) -> Result<Option<Revision>, ApplyError> {
    let name = config_map_name(&processor.name, hash);
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &processor.namespace);
    let found = maps.get_opt(&name).await.map_err(failed("ConfigMap", &name))?;
    Ok(found.and_then(|map| match Revision::from_config_map(&map) {
        Ok(revision) => Some(revision),
        Err(error) => {
            tracing::error!(config_map = name, %error, "the last good configuration can't be read back");
            None
        }
    }))
}

async fn delete<K>(context: &Context, namespace: &str, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        Err(error) => tracing::warn!(name, error = %crate::watch::chain(&error), "a leftover could not be deleted and stays until the next pass"),
    }
}

/// Replicas whose own metrics name the configuration that the workload has, and those that name another.
fn confirmation(intake: &Intake, members: &Members, running: Option<&ConfigHash>) -> Said {
    let of = members.workload.as_ref().map_or(0, |workload| workload.replicas);
    let heard = intake.pods().filter(|sample| matches!(sample.state, PodState::Measured | PodState::Starting));
    let (replicas, others) = heard.filter_map(|sample| sample.info.first()?.as_deref()).fold((0_u32, 0_u32), |(replicas, others), hash| {
        if running.is_some_and(|running| running.as_ref() == hash) { (replicas + 1, others) } else { (replicas, others + 1) }
    });
    (Confirmed { replicas, of }, others)
}

/// When the pods were given what they should run: as the workload says, unless it is something new.
pub(super) fn given_at(members: &Members, deploy: Option<&ConfigHash>, now: UnixMs) -> i64 {
    let workload = members.workload.as_ref().filter(|workload| workload.config_hash.as_deref() == deploy.map(AsRef::<str>::as_ref));
    workload.and_then(|workload| workload.annotations.get(ANNOTATION_GIVEN_AT)?.parse().ok()).unwrap_or(now.0)
}

/// After the ConfigMap that pods have mounted was changed in place: tells them, and once all is well
/// clears those of earlier templates away.
pub(super) async fn in_place(
    context: &Context,
    owner: &Owner,
    members: &Members,
    outcome: &Outcome,
    (live, template): (&str, &ConfigHash),
    cleared: &mut Option<String>,
) -> Result<(), ApplyError> {
    if let Some(hash) = &outcome.step.deploy {
        nudge(context, members, template, hash).await?;
    }
    if outcome.at_rest && outcome.step.confirmed.status == Status::True && cleared.as_deref() != Some(live) {
        clear_live(context, owner, live).await?;
        *cleared = Some(live.to_owned());
    }
    Ok(())
}

/// Lets the kubelets of pods that read their configuration anew look at their ConfigMap now: by
/// themselves they take up to a minute, at a change of the pod they do it at once.
async fn nudge(context: &Context, members: &Members, template: &ConfigHash, hash: &ConfigHash) -> Result<(), ApplyError> {
    let newest = members.pods.values().filter(|pod| pod.labels.get(LABEL_TEMPLATE) == Some(template.as_ref()));
    let behind = newest.filter(|pod| !pod.finished && !pod.facts.deleting && pod.config_hash.as_deref() != Some(hash.as_ref()));
    let patch = serde_json::json!({ "metadata": { "annotations": { ANNOTATION_CONFIG_HASH: hash.as_ref() } } });
    let nudges = behind.map(|pod| {
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &pod.namespace);
        let patch = &patch;
        async move {
            match api.patch(&pod.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
                answer => answer.map(drop).map_err(failed("Pod", &pod.name)),
            }
        }
    });
    futures::future::try_join_all(nudges).await.map(drop)
}

/// Deletes ConfigMaps that pods of earlier templates had mounted.
async fn clear_live(context: &Context, owner: &Owner, kept: &str) -> Result<(), ApplyError> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &owner.namespace);
    let of_processor = ListParams::default().labels(&format!("{LABEL_PROCESSOR}={}", owner.name));
    let found = maps.list_metadata(&of_processor).await.map_err(failed("ConfigMap", &owner.name))?;
    let live = found.items.iter().filter(|map| map.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ANNOTATION_LIVE)));
    for name in live.filter_map(|map| map.metadata.name.as_deref()).filter(|name| *name != kept) {
        delete::<ConfigMap>(context, &owner.namespace, name).await;
    }
    Ok(())
}
