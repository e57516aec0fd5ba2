//! `weir policy status`, `promote`, `abort` and `rollback`: the trial of a new module in a cluster. Touches
//! the API server. As a plugin of kubectl (the program under the name `kubectl-weir`), it is `kubectl weir
//! policy …`. A word is written into the spec, so whoever reads the object sees it; the operator acts.

use crate::cluster::{Args, blocking};
use crate::print;
use anyhow::{Context as _, bail};
use kube::Api;
use kube::api::{Patch, PatchParams};
use std::fmt::Write as _;
use std::process::ExitCode;
use weir_crds::WasmPolicy;
use weir_crds::conditions::kind;
use weir_crds::wasm_policy::{OnTrial, Strategy, TrialOutcome};

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The module on trial, or the one that was dropped last, takes over.
    Promote,
    /// The module on trial is dropped.
    Abort,
    /// The module that runs is dropped, and the one before takes over.
    RollBack,
}

async fn find(api: &Api<WasmPolicy>, name: &str) -> anyhow::Result<WasmPolicy> {
    api.get_opt(name).await?.with_context(|| format!("there is no WasmPolicy {name} in this namespace: see `kubectl get wasmpolicies -A`"))
}

/// Prints what runs, what is on trial, and how earlier trials ended.
pub(crate) fn status(args: &Args) -> anyhow::Result<ExitCode> {
    let policy = blocking(async { find(&args.api().await?, &args.name).await })?;
    print(&told(&policy)?);
    Ok(ExitCode::SUCCESS)
}

fn told(policy: &WasmPolicy) -> anyhow::Result<String> {
    let mut text = String::new();
    let Some(status) = &policy.status else { return Ok("the operator has not looked at it yet\n".to_owned()) };
    match &status.running {
        Some(running) => writeln!(text, "runs      {} {}  {}", running.name, running.version, running.digest)?,
        None => writeln!(text, "runs      nothing")?,
    }
    if let Some(trial) = &status.candidate {
        on_trial(trial, &mut text)?;
    }
    if let Some(latest) = status.conditions.iter().find(|condition| condition.type_ == kind::LATEST_ACCEPTED) {
        writeln!(text, "newest    {}: {}", latest.reason, latest.message)?;
    }
    if let Some(open) = status.conditions.iter().find(|condition| condition.type_ == kind::BREAKER_OPEN && condition.status == "True") {
        writeln!(text, "breaker   open since {}: {}", open.last_transition_time.0, open.message)?;
    }
    for ended in &status.history {
        writeln!(text, "history   {}  {:<10} {} {}: {}", ended.time.0, ended.outcome.as_str(), ended.version, short(&ended.digest), ended.message)?;
    }
    Ok(text)
}

fn on_trial(trial: &OnTrial, text: &mut String) -> anyhow::Result<()> {
    let how = trial.step.map_or_else(|| "Shadow".to_owned(), |step| format!("Canary, step {step}, {} % of the objects", trial.percent));
    writeln!(text, "on trial  {}  {}", trial.version, trial.digest)?;
    writeln!(text, "          {how}, since {}", trial.since.0)?;
    writeln!(text, "          {} calls, {} refusals, {} failures, p99 {} µs", trial.calls, trial.refusals, trial.failures, trial.p99_microseconds)?;
    let all = trial.differences;
    writeln!(
        text,
        "          {} snapshots compared ({} left out): {} more, {} fewer, {} refuses, {} fails, {} answers",
        trial.compared, trial.skipped, all.more, all.fewer, all.refuses, all.fails, all.answers
    )?;
    for found in &trial.latest {
        writeln!(text, "          {} {} decision {}: {} → {}", found.kind, found.object, found.decision, found.current, found.candidate)?;
    }
    Ok(())
}

fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// Writes a word into the spec.
pub(crate) fn say(args: &Args, word: Word) -> anyhow::Result<ExitCode> {
    blocking(async {
        let api = args.api().await?;
        let policy = find(&api, &args.name).await?;
        let digest = meant(&policy, word)?;
        let (field, other) = if word == Word::Promote { ("promote", "abort") } else { ("abort", "promote") };
        let mut rollout = serde_json::json!({ field: digest });
        // The other word about the same module would speak against this one.
        let named = policy.spec.rollout.as_ref().and_then(|rollout| if word == Word::Promote { rollout.abort.as_ref() } else { rollout.promote.as_ref() });
        if named == Some(&digest)
            && let Some(fields) = rollout.as_object_mut()
        {
            fields.insert(other.to_owned(), serde_json::Value::Null);
        }
        let patch = Patch::Merge(serde_json::json!({ "spec": { "rollout": rollout } }));
        api.patch(&args.name, &PatchParams { field_manager: Some("kubectl-weir".to_owned()), ..PatchParams::default() }, &patch).await?;
        print(&format!("spec.rollout.{field}: {digest}\n"));
        Ok(ExitCode::SUCCESS)
    })
}

/// The digest that a word is about.
fn meant(policy: &WasmPolicy, word: Word) -> anyhow::Result<String> {
    let status = policy.status.as_ref().context("the operator has not looked at this WasmPolicy yet")?;
    let trial = status.candidate.as_ref().map(|trial| trial.digest.clone());
    match word {
        Word::Abort => trial.context("no module is on trial; `rollback` drops the one that runs"),
        Word::Promote => {
            let dropped = || status.history.first().filter(|last| last.outcome != TrialOutcome::Promoted).map(|last| last.digest.clone());
            trial.or_else(dropped).context("no module is on trial, and none was dropped last")
        }
        Word::RollBack => {
            if policy
                .spec
                .rollout
                .as_ref()
                .is_none_or(|rollout| rollout.strategy == Strategy::Immediate && rollout.abort.is_none() && status.history.is_empty())
            {
                bail!("modules are only rolled back where spec.rollout asks for trials: set it, or ship the module before again");
            }
            status.running.as_ref().map(|running| running.digest.clone()).context("no module runs")
        }
    }
}
