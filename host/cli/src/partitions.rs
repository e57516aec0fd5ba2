//! `weir partitions`: which node of a LogStorage owns which partitions, and who did before. Touches the API
//! server. As a plugin of kubectl it is `kubectl weir partitions`.

use crate::cluster::{self, blocking};
use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use weir_core::ids::UnixMs;
use weir_core::placement::Ledger;
use weir_crds::LogStorage;
use weir_crds::log_storage::{LogStorageStatus, NodeStatus};
use weir_operator::storage::build::{KEY_LEDGER, map_name};

/// Which LogStorage, and how much of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    storage: cluster::Args,
    /// All owners of this partition, present and former, with the times of each: where its records are.
    #[arg(long)]
    partition: Option<usize>,
}

/// Prints the owners.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = &args.storage.name;
    let (storage, ledger) = blocking(async {
        let api = args.storage.api::<LogStorage>().await?;
        let storage = api.get_opt(name).await?.with_context(|| format!("there is no LogStorage {name} in this namespace: see `kubectl get logstorages -A`"))?;
        let map = args.storage.api::<ConfigMap>().await?.get_opt(&map_name(name)).await?;
        let text = map.and_then(|map| map.data?.remove(KEY_LEDGER));
        let text = text.with_context(|| format!("LogStorage {name} has no owners yet (ConfigMap {}): see its conditions", map_name(name)))?;
        Ok((storage, Ledger::from_json(&text)?))
    })?;
    let text = match args.partition {
        Some(partition) => owners(&ledger, partition)?,
        None => map(&ledger, &storage.status.unwrap_or_default())?,
    };
    crate::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Every node with its partitions.
fn map(ledger: &Ledger, status: &LogStorageStatus) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "epoch {}, version {}, {} nodes wanted", ledger.epoch().0, ledger.version, ledger.nodes)?;
    let known: BTreeMap<&str, &NodeStatus> = status.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    for (mirror, ownership) in ledger.mirrors().iter().enumerate() {
        if ledger.mirrors().len() > 1 {
            writeln!(text, "\nmirror {mirror}")?;
        }
        let mut owned: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut nobody = Vec::new();
        for partition in 0..ownership.len() {
            match ownership.owner(partition) {
                Some(node) => owned.entry(node).or_default().push(partition),
                None => nobody.push(partition),
            }
        }
        writeln!(text, "{:<24} {:<12} {:<11} {:>10} {:>7}  PARTITIONS", "NODE", "ZONE", "STATE", "PARTITIONS", "WEIGHT")?;
        for (node, partitions) in owned {
            let of = known.get(node);
            writeln!(
                text,
                "{node:<24} {:<12} {:<11} {:>10} {:>7}  {}",
                of.and_then(|node| node.zone.as_deref()).unwrap_or("-"),
                of.map_or("-", |node| node.state.as_str()),
                partitions.len(),
                of.and_then(|node| node.weight).map_or_else(|| "-".to_owned(), |weight| format!("{weight:.2}")),
                ranges(&partitions)
            )?;
        }
        if !nobody.is_empty() {
            writeln!(text, "{:<24} {:<12} {:<11} {:>10} {:>7}  {}", "(no owner)", "-", "-", nobody.len(), "-", ranges(&nobody))?;
        }
    }
    Ok(text)
}

/// Every owner that a partition had, as long as its records are kept.
fn owners(ledger: &Ledger, partition: usize) -> anyhow::Result<String> {
    let mut text = String::new();
    for (mirror, ownership) in ledger.mirrors().iter().enumerate() {
        anyhow::ensure!(partition < ownership.len(), "there are the partitions 0 to {}", ownership.len().saturating_sub(1));
        if ledger.mirrors().len() > 1 {
            writeln!(text, "mirror {mirror}")?;
        }
        writeln!(text, "{:>6}  {:<24} {:<30} UNTIL", "EPOCH", "NODE", "FROM")?;
        for owner in ownership.owners(partition) {
            writeln!(text, "{:>6}  {:<24} {:<30} {}", owner.epoch.0, owner.node, when(owner.from), owner.until.map_or_else(|| "now".to_owned(), when))?;
        }
    }
    Ok(text)
}

fn when(at: UnixMs) -> String {
    weir_operator::conditions::time(at).0.to_string()
}

/// `0-3,7,9-10`.
fn ranges(sorted: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in sorted {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let texts: Vec<String> = runs.into_iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") }).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::placement::{Epoch, Move};

    #[test]
    fn nodes_are_listed_with_their_partitions_and_a_partition_with_its_owners() {
        let mut ledger = Ledger::new(5, 1);
        let to = |partition: u32, from: Option<&str>, node: &str| Move { partition, from: from.map(str::to_owned), to: node.to_owned() };
        let first = (0..4).map(|partition| to(partition, None, if partition == 2 { "logs-1" } else { "logs-0" })).collect();
        ledger.grant(Epoch(0), UnixMs(0), &[first]).unwrap();
        ledger.grant(Epoch(1), UnixMs(60_000), &[vec![to(3, Some("logs-0"), "logs-1")]]).unwrap();
        let status = LogStorageStatus {
            nodes: vec![NodeStatus { name: "logs-0".into(), state: "Ready".into(), weight: Some(1.2), ..NodeStatus::default() }],
            ..LogStorageStatus::default()
        };
        let text = map(&ledger, &status).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0].join(" "), "epoch 2, version 0, 0 nodes wanted");
        assert_eq!(
            rows[2..],
            [vec!["logs-0", "-", "Ready", "2", "1.20", "0-1"], vec!["logs-1", "-", "-", "2", "-", "2-3"], vec!["(no", "owner)", "-", "-", "1", "-", "4"],]
        );
        let text = owners(&ledger, 3).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1..], [vec!["1", "logs-0", "1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z"], vec!["2", "logs-1", "1970-01-01T00:01:00Z", "now"]]);
        assert!(owners(&ledger, 5).unwrap_err().to_string().contains("0 to 4"));
    }
}
