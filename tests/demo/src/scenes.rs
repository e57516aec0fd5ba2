//! The scenes: each does one thing to the platform, waits for what Weir makes of it, and says in a
//! sentence what was seen. An error is a scene that did not work.

use crate::load::DAY;
use crate::screen::{Screen, Tone};
use crate::stage::{Stage, asked, complete, ready};
use crate::view::{POLICY, PROCESSOR, is_of, thousands};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};
use weir_e2e::observer::Seen;
use weir_loadgen::Checker;

/// Records/s of the surge: four replicas by the first rule, five by the second.
const SURGE: &str = "1380";
const PATIENCE: Duration = Duration::from_secs(60);

/// A scene that did not work shows at most this many characters.
const LONGEST: usize = 3_000;

/// (a) A surge, and replicas for it.
pub(crate) async fn surge(stage: &Stage, screen: &Screen) -> Result<String> {
    say(screen, "From one second to the next ten times the records arrive. One replica is declared to carry 500 a second.");
    // Some seconds of an ordinary day, so that rules have something to compare with.
    stage.wait_decisions(5.0)?;
    let before = stage.observer.now().scaled.len();
    let begun = Instant::now();
    stage.load.follow(SURGE)?;
    let first = stage
        .observer
        .until("more replicas are asked for", PATIENCE, |seen| seen.scaled.get(before..)?.iter().find(|scaled| scaled.replicas > 1).cloned())
        .await?;
    let written = first.at.duration_since(begun).as_secs_f64();
    say(screen, &format!("{written:.2} s after the surge began, spec.replicas of the Deployment was {}.", first.replicas));
    stage.observer.until("four replicas are ready", PATIENCE, |seen| ready(seen, 4)).await?;
    let all = begun.elapsed().as_secs_f64();
    Ok(format!("surge to spec.replicas written: {written:.2} s; four replicas ready after {all:.1} s"))
}

/// (b) Another rule while all runs.
pub(crate) async fn swap(stage: &Stage, screen: &Screen) -> Result<String> {
    say(screen, "kubectl apply of the ConfigMap with another rule, surge-guard: half as much again in reserve. Nothing restarts.");
    let old = digest(&stage.observer.now()).context("no policy has decided yet")?;
    let begun = Instant::now();
    stage.ship("examples/surge-guard")?;
    let applied = begun.elapsed().as_secs_f64();
    let new = stage.observer.until("the new rule decides", PATIENCE, |seen| digest(seen).filter(|digest| *digest != old)).await?;
    let took = begun.elapsed().as_secs_f64();
    Ok(format!("{old} → {new}: the status told of the first decision by the new rule after {took:.2} s ({applied:.2} s of them kubectl)"))
}

/// (c) A rule that is broken.
pub(crate) async fn broken(stage: &Stage, screen: &Screen) -> Result<String> {
    say(screen, "kubectl apply of a rule that traps. It is tried on the latest real snapshots first, so it never gets to decide.");
    let running = digest(&stage.observer.now()).context("no policy has decided yet")?;
    stage.ship("fixtures/traps")?;
    let refused = stage.observer.until("the broken rule is refused", PATIENCE, |seen| latest(seen).filter(|(status, ..)| status == "False")).await?;
    say(screen, &format!("WasmPolicy {POLICY}: LatestAccepted=False, {}: {}", refused.1, refused.2));
    stage.wait_decisions(2.0)?;
    let still = digest(&stage.observer.now());
    ensure!(still.as_deref() == Some(running.as_str()), "{running} should still decide, but {still:?} does");
    stage.ship("examples/surge-guard")?;
    stage.observer.until("the good rule is accepted again", PATIENCE, |seen| latest(seen).filter(|(status, ..)| status == "True")).await?;
    Ok(format!("refused with {}; {running} went on deciding", refused.1))
}

/// (d) No metrics.
pub(crate) async fn blind(stage: &Stage, screen: &Screen) -> Result<String> {
    let how = if stage.real() { "the metrics port of every replica is closed by iptables inside the pod" } else { "the Prometheus server answers 503" };
    say(screen, &format!("Metrics are cut off: {how}. No news is not a load of zero."));
    stage.observer.until("all replicas are ready", PATIENCE, complete).await?;
    let replicas = asked(&stage.observer.now());
    stage.set_metrics(false)?;
    let seen = in_the_dark(stage, screen).await;
    stage.set_metrics(true)?;
    let still = seen?;
    ensure!(still >= replicas, "{replicas} replicas became {still} while nothing was known");
    let begun = Instant::now();
    let back = stage
        .observer
        .until("metrics are ready again", PATIENCE, |seen| seen.condition(PROCESSOR, "MetricsReady").filter(|(status, ..)| *status == "True").map(drop));
    back.await?;
    Ok(format!("{still} replicas held; MetricsReady again {:.1} s after the cut was mended", begun.elapsed().as_secs_f64()))
}

/// Waits until the replicas are held and some more decisions were made; how many replicas there are then.
async fn in_the_dark(stage: &Stage, screen: &Screen) -> Result<i32> {
    let condition = |seen: &Seen| {
        seen.condition(PROCESSOR, "MetricsReady").filter(|(status, ..)| *status == "False").map(|(_, reason, message)| format!("{reason}: {message}"))
    };
    let sentence = stage.observer.until("the replicas are held", PATIENCE, condition).await?;
    say(screen, &format!("MetricsReady=False, {sentence}"));
    stage.wait_decisions(4.0)?;
    Ok(asked(&stage.observer.now()))
}

/// (e) The surge ends.
pub(crate) async fn calm(stage: &Stage, screen: &Screen) -> Result<String> {
    say(
        screen,
        "The surge is over. Weir takes its time: the rule remembers the last peak, and the guardrails let two replicas go per step, with five seconds between steps.",
    );
    if stage.real() {
        say(screen, "A replica that leaves is taken out of the Service, empties its queue to the stores, and only then is deleted.");
    }
    let (before, from) = {
        let seen = stage.observer.now();
        (seen.deleted.len(), asked(&seen))
    };
    let begun = Instant::now();
    stage.load.follow(DAY)?;
    let first = stage
        .observer
        .until("a replica leaves", PATIENCE, |seen| (asked(seen) < from || seen.pods_of(PROCESSOR).any(weir_e2e::observer::is_draining)).then_some(()));
    first.await?;
    let patience = begun.elapsed().as_secs_f64();
    let done = |seen: &Seen| {
        (asked(seen) == 1 && seen.pods.values().filter(|pod| is_of(pod)).count() == 1).then(|| seen.deleted.get(before..).unwrap_or_default().to_vec())
    };
    let deleted = stage.observer.until("one replica is left", Duration::from_secs(150), done).await?;
    let took = begun.elapsed().as_secs_f64();
    if stage.real() {
        let hasty: Vec<&str> = deleted.iter().filter(|deleted| !deleted.drained).map(|deleted| deleted.pod.as_str()).collect();
        ensure!(hasty.is_empty(), "deleted without having left the Service first: {hasty:?}");
    }
    let drained = if stage.real() { ", each drained first" } else { "" };
    Ok(format!("first replica left after {patience:.1} s, {from} → 1 after {took:.1} s{drained}"))
}

/// (f) Every record counts.
pub(crate) async fn count(stage: &Stage, screen: &Screen) -> Result<String> {
    let Some(report) = stage.load.finish().await else {
        say(screen, "Pods are fake here, so no records were sent. As root, this scene counts them in both stores.");
        return Ok("nothing to count without containers".to_owned());
    };
    say(screen, "The generator stops. Each record has a number: which of those that a collector acknowledged are in one of the two stores?");
    let verdict = Checker::new(&stage.stores, &report.run).check(&report).await?;
    for node in &verdict.nodes {
        say(
            screen,
            &format!(
                "{}: {} records{}",
                node.url,
                thousands(as_float(node.records)),
                node.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
            ),
        );
    }
    let counted = format!(
        "{} acknowledged, {} found, {} missing, {} twice",
        thousands(as_float(verdict.acked)),
        thousands(as_float(verdict.distinct)),
        verdict.missing,
        verdict.duplicates
    );
    ensure!(report.all_acked(), "{counted}; not all was acknowledged: {:?}", report.records);
    ensure!(verdict.complete() && verdict.distinct == verdict.acked, "{counted}; {:?}", verdict.problems);
    Ok(counted)
}

/// Shortens what a failed scene has to tell.
pub(crate) fn brief(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain("…".chars()).collect() }
}

fn say(screen: &Screen, text: &str) {
    screen.say(Tone::Plain, &format!("  {text}"));
}

fn as_float(count: u64) -> f64 {
    count as f64
}

/// The digest of the policy that made the last decision.
fn digest(seen: &Seen) -> Option<String> {
    seen.processors.get(PROCESSOR)?.status.as_ref()?.summary.as_ref()?.digest.clone()
}

/// LatestAccepted of the policy: status, reason, message.
fn latest(seen: &Seen) -> Option<(String, String, String)> {
    let status = seen.policies.get(POLICY)?.status.as_ref()?;
    let found = status.conditions.iter().find(|condition| condition.type_ == "LatestAccepted")?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}
