//! Lets the collector read its configuration anew once the mounted file has changed. Touches files,
//! processes and, to see that the collector is there, the network; called by [`crate::run`] and by tests.
//!
//! Kubernetes changes a mounted ConfigMap by exchanging the link `..data`, so the folder is watched and
//! not the file. A collector reads its configuration again on SIGHUP, and keeps its queues. The signal is
//! sent only to a collector that answers: one that has not got so far yet would end by it, and reads
//! the newest file anyway.
//!
//! The pod shares its process namespace between its containers, and both run as the same user, so
//! the agent sees the collector's process and needs no privilege to signal it.

use crate::Options;
use crate::drain::Reading;
use crate::fetch::fetch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use notify::{RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often the file is looked at without notice.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long notices are gathered before one look answers all of them.
const BURST: Duration = Duration::from_millis(50);

/// Watches until the process ends.
pub async fn run(options: &Options, file: &Path) {
    let noticed = Arc::new(Notify::new());
    let _watcher = watch(file, &noticed);
    let mut known = tokio::fs::read(file).await.ok();
    let mut told: Option<String> = None;
    loop {
        if tokio::time::timeout(LOOK_EVERY, noticed.notified()).await.is_ok() {
            tokio::time::sleep(BURST).await;
        }
        // A file that is gone for a moment is no change.
        let Some(found) = tokio::fs::read(file).await.ok().filter(|found| known.as_ref() != Some(found)) else { continue };
        match reload(options, file).await {
            Ok(processes) => {
                tracing::info!(processes, bytes = found.len(), "the configuration has changed, and the collector reads it anew");
                (known, told) = (Some(found), None);
            }
            Err(why) if told.as_ref() != Some(&why) => {
                tracing::warn!(why, "the configuration has changed, and the collector does not read it yet");
                told = Some(why);
            }
            Err(_) => {}
        }
    }
}

/// Wakes at each change in the file's folder. Without it the file is looked at all the same.
fn watch(file: &Path, noticed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let wake = noticed.clone();
    let watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| wake.notify_one());
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(file.parent().unwrap_or(file), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching.inspect_err(|error| tracing::warn!(%error, "changes of the configuration are seen a second late")).ok()
}

/// Signals the collector; how many processes that were.
async fn reload(options: &Options, file: &Path) -> Result<usize, String> {
    match fetch(&options.metrics_hosts, options.metrics_port).await {
        Reading::Seen { .. } => {}
        Reading::Refused => return Err("the collector does not listen yet".to_owned()),
        Reading::Unreadable(why) => return Err(format!("the collector's metrics can't be read: {why}")),
    }
    let processes = collectors(file).map_err(|error| format!("processes can't be listed: {error}"))?;
    if processes.is_empty() {
        return Err("no process runs with this configuration: the pod has to share its process namespace".to_owned());
    }
    for process in &processes {
        kill(*process, Signal::SIGHUP).map_err(|error| format!("process {process} can't be signalled ({error}): it has to run as the same user"))?;
    }
    Ok(processes.len())
}

/// Processes that were started with the file as their configuration.
fn collectors(file: &Path) -> std::io::Result<Vec<Pid>> {
    let processes = std::fs::read_dir("/proc")?.filter_map(Result::ok);
    let found = processes.filter_map(|entry| {
        let process: i32 = entry.file_name().to_str()?.parse().ok()?;
        // One that has ended meanwhile has no command line any more.
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        runs_with(&line, file).then(|| Pid::from_raw(process))
    });
    Ok(found.collect())
}

/// Whether a command line, its arguments ended by zeros, names the file as `--config`.
fn runs_with(line: &[u8], file: &Path) -> bool {
    let wanted = format!("--config={}", file.display());
    line.split(|byte| *byte == 0).any(|argument| argument == wanted.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::a_collector(b"/otelcol\0--config=/etc/otelcol/config.yaml\0", true)]
    #[case::with_more(b"/otelcol\0--feature-gates=x\0--config=/etc/otelcol/config.yaml\0--set=a=b\0", true)]
    #[case::another_file(b"/otelcol\0--config=/etc/otelcol/config.yaml.old\0", false)]
    #[case::the_agent(b"/weir\0agent\0--reload=/etc/otelcol/config.yaml\0", false)]
    #[case::a_kernel_thread(b"", false)]
    fn a_collector_is_known_by_its_configuration(#[case] line: &[u8], #[case] is: bool) {
        assert_eq!(runs_with(line, Path::new("/etc/otelcol/config.yaml")), is);
    }
}
