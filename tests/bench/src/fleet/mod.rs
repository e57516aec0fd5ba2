//! An operator with many objects on a real control plane: what it costs at rest, how soon it decides
//! after a start, a crash and a handover, and how soon replicas follow a spike of the load.
//! Touches the API server of a cluster of its own, processes and the loopback network.
//!
//! | module | what it is |
//! |---|---|
//! | [`setting`] | the cluster, the rights, the policy |
//! | [`population`] | the LogProcessors, and pods where nothing else makes them |
//! | [`stand_in`] | where their load comes from |
//! | [`operator`] | the process that is measured |
//! | [`watch`] | when replicas changed |
//! | [`rest`], [`failover`], [`spike`] | what is measured |

mod failover;
mod operator;
mod population;
mod rest;
mod setting;
mod spike;
mod stand_in;
mod watch;

use crate::report::{Report, progress};
use crate::stats::short;
use anyhow::Result;
use operator::Operator;
use population::Source;
use rest::Rest;
use setting::Setting;
use std::time::Duration;

/// Options of `weir-bench fleet`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many LogProcessors; one round for each number. 1 measures spikes only.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 10_000])]
    objects: Vec<usize>,
    /// Above this many objects, the bench plays the Deployment controller and the kubelet, for which
    /// kube-controller-manager would need half an hour at its 20 requests a second.
    #[arg(long, default_value_t = 1_000)]
    played_above: usize,
}

/// How much is measured.
struct Amount {
    /// Spikes of one object at each interval.
    spikes: u32,
    /// Spikes of all objects at once.
    common_spikes: u32,
    /// How long the operator is watched at rest.
    rest: Duration,
    failovers: u32,
}

/// Measures and reports.
pub(crate) fn run(report: &mut Report, args: &Args, quick: bool) -> Result<()> {
    let amount = if quick {
        Amount { spikes: 5, common_spikes: 1, rest: Duration::from_secs(10), failovers: 1 }
    } else {
        Amount { spikes: 100, common_spikes: 3, rest: Duration::from_secs(60), failovers: 4 }
    };
    let (objects, played_above) = if quick { (vec![1, 20, 50], 20) } else { (args.objects.clone(), args.played_above) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for objects in objects {
        progress(&format!("fleet of {objects}"));
        runtime.block_on(async { if objects == 1 { one(report, &amount).await } else { many(report, objects, objects > played_above, &amount).await } })?;
    }
    report.remark(
        "Fleets: a real etcd, API server and, up to 1,000 objects, controllers and scheduler, on the same two cores as the operator and the \
         bench; pods are played. Each LogProcessor has the engine `template`, one replica, an interval of 1 s and `threshold`. The operator \
         is a release build that watches all namespaces, with the rights and the API priority of its ServiceAccount.",
    );
    Ok(())
}

/// One object, so that nothing but the operator's own path counts.
async fn one(report: &mut Report, amount: &Amount) -> Result<()> {
    let setting = Setting::start(1, false).await?;
    let operator = setting.operator("weir-0")?;
    let mut replicas = 1;
    for (interval, promise) in [("1s", Duration::from_millis(1200)), ("250ms", Duration::from_millis(400))] {
        let metrics = |object| population::metrics(object, interval, Source::Prometheus(interval), &setting.stand_in);
        if replicas == 1 {
            population::create(&setting.client, setting.namespace(), 1, metrics).await?;
            setting.wait_until_ready(&operator).await?;
        } else {
            population::measure_by(&setting.client, setting.namespace(), 1, metrics).await?;
        }
        let times = spike::several(&setting, &operator, &mut replicas, amount.spikes).await?;
        let what = format!("load spike → replicas written, 1 object, interval {interval}");
        report.promise(what, times.to_string(), format!("p99 ≤ {}", short(promise)), times.p99() <= promise);
    }
    report.remark("Spikes: from the moment at which the Prometheus gives the new load to the moment at which a watch shows the new `spec.replicas`.");
    Ok(())
}

/// Many objects, made once and then looked at in turn: a start, at rest, a change of leader, a spike.
async fn many(report: &mut Report, objects: usize, played: bool, amount: &Amount) -> Result<()> {
    let setting = Setting::start(objects, played).await?;
    // A Prometheus is rarely newer than 10 s; asking it every second shows what that costs.
    let every = if played { "10s" } else { "1s" };
    let how = format!("Prometheus asked every {every}");
    let mut first = setting.operator("weir-0")?;
    let metrics = |object| population::metrics(object, "1s", Source::Prometheus(every), &setting.stand_in);
    population::create(&setting.client, setting.namespace(), objects, metrics).await?;
    if played {
        population::play(&setting.client, setting.namespace(), objects, &setting.watch).await?;
    }
    setting.wait_until_ready(&first).await?;
    setting.wait_until_quiet(&first).await;
    first.terminate()?;
    first.wait()?;

    let operator = setting.operator_from_cold(report, &how)?;
    setting.wait_until_quiet(&operator).await;
    Rest::measure(&setting, &operator, amount.rest).await?.report(report, &setting, &how);
    let mut operator = failover::several(report, &setting, operator, &how, amount.failovers).await?;
    if played {
        operator = other_sources(report, &setting, operator, amount).await?;
    }
    let mut replicas = 1;
    let spikes = if played { 1 } else { amount.common_spikes };
    let times = spike::several(&setting, &operator, &mut replicas, spikes).await?;
    let what = format!("load spike of {} at once → replicas written, interval 1 s", setting.title());
    if played {
        report.note(what, times.to_string());
    } else {
        report.promise(what, times.to_string(), "p99 ≤ 1.2 s", times.p99() <= Duration::from_millis(1200));
    }
    Ok(())
}

/// The same objects with a load that is never twice the same, and with others to ask for it.
async fn other_sources(report: &mut Report, setting: &Setting, operator: Operator, amount: &Amount) -> Result<Operator> {
    setting.wait_until_quiet(&operator).await;
    setting.stand_in.waver(0.05);
    let how = "Prometheus asked every 10s, load wavers by ±5 %";
    Rest::measure(setting, &operator, amount.rest).await?.report(report, setting, how);
    setting.stand_in.waver(0.0);
    let pods = "each pod scraped every 1s";
    for (source, how) in [(Source::Prometheus("1s"), "Prometheus asked every 1s"), (Source::Pod, pods)] {
        let metrics = |object| population::metrics(object, "1s", source, &setting.stand_in);
        population::measure_by(&setting.client, setting.namespace(), setting.objects, metrics).await?;
        setting.wait_until_quiet(&operator).await;
        Rest::measure(setting, &operator, amount.rest).await?.report(report, setting, how);
    }
    report.remark(
        "With more than 1,000 objects kube-controller-manager and scheduler are stopped, because the former needs half an hour for that \
         many Deployments: the bench creates each pod and writes the statuses once. Pods have addresses of their own in 127.1.0.0/16 and \
         expose 4 kB.",
    );
    failover::several(report, setting, operator, pods, amount.failovers).await
}
