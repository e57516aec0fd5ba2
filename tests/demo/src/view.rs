//! How things stand, as text: out of what the watches have seen, the load, and the replicas' own metrics.

use crate::screen::Panel;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use weir_e2e::http;
use weir_e2e::manifests::METRICS;
use weir_e2e::observer::{Seen, is_draining, is_ready};

/// The LogProcessor that is shown.
pub(crate) const PROCESSOR: &str = "gateway";
/// Its Deployment.
pub(crate) const WORKLOAD: &str = "gateway-collector";
/// The WasmPolicy that it names.
pub(crate) const POLICY: &str = "scaling-rule";

/// One replica.
struct Replica {
    name: String,
    address: Option<SocketAddr>,
    word: &'static str,
    rate: Option<f64>,
    queue: Option<f64>,
}

/// Counters that the replicas' own metrics told last, for rates.
#[derive(Default)]
pub(crate) struct Memory {
    before: BTreeMap<String, (Instant, f64)>,
}

/// How things stand, taken out of what is seen.
pub(crate) struct View {
    replicas: Vec<Replica>,
    asked: i32,
    decision: String,
    sentence: String,
    clamps: String,
    digest: String,
    troubles: Vec<(String, String)>,
}

impl View {
    /// Takes what is needed.
    pub(crate) fn of(seen: &Seen) -> Self {
        let status = seen.processors.get(PROCESSOR).and_then(|processor| processor.status.as_ref());
        let last = status.and_then(|status| status.last_decision.as_ref());
        let clamps: Vec<String> = last.iter().flat_map(|last| &last.clamps).map(|clamp| format!("{} {}→{}", clamp.guardrail, clamp.from, clamp.to)).collect();
        Self {
            replicas: seen.pods.values().filter(|pod| is_of(pod)).map(replica).collect(),
            asked: seen.replicas(WORKLOAD).unwrap_or(0),
            decision: last.map_or_else(|| "none yet".to_owned(), |last| format!("{}→{} {}", last.from, last.to, last.reason)),
            sentence: last.map(|last| last.message.clone()).unwrap_or_default(),
            clamps: if clamps.is_empty() { String::new() } else { format!(" [clamped: {}]", clamps.join(", ")) },
            digest: status.and_then(|status| status.summary.as_ref()?.digest.clone()).unwrap_or_else(|| "-".to_owned()),
            troubles: troubles(seen),
        }
    }

    /// Number of replicas that serve.
    pub(crate) fn ready(&self) -> usize {
        self.count("ready")
    }

    fn count(&self, word: &str) -> usize {
        self.replicas.iter().filter(|replica| replica.word == word).count()
    }

    /// Asks the replicas for their rates and queues. Blocks.
    pub(crate) fn measure(&mut self, memory: &mut Memory) {
        for replica in &mut self.replicas {
            let Some(address) = replica.address else { continue };
            let Ok((200, body)) = http::get_within(address, "/metrics", Duration::from_millis(150)) else { continue };
            replica.queue = http::sum(&body, "otelcol_exporter_queue_size", "");
            let total = http::sum(&body, "otelcol_receiver_accepted_log_records", "").unwrap_or(0.0);
            let now = Instant::now();
            if let Some((at, before)) = memory.before.insert(replica.name.clone(), (now, total)) {
                replica.rate = Some(((total - before) / now.duration_since(at).as_secs_f64().max(0.1)).max(0.0));
            }
        }
        memory.before.retain(|name, _| self.replicas.iter().any(|replica| replica.name == *name));
    }

    /// Draws it.
    pub(crate) fn panel(&self, frame: &Frame<'_>) -> Panel {
        let Self { asked, decision, clamps, digest, .. } = self;
        let (ready, starting, draining) = (self.ready(), self.count("starting"), self.count("draining") + self.count("ending"));
        let clock = clock(frame.seconds);
        let offered = thousands(frame.offered);
        let mut line = format!("{clock}  {offered:>5} records/s  {asked} asked, {ready} ready");
        if draining > 0 {
            let queued: f64 = self.replicas.iter().filter_map(|replica| replica.queue).sum();
            line += &format!(", {draining} leaving, {} batches queued", thousands(queued));
        }
        line += &format!("  last {decision}{clamps}  by {digest}");
        for (name, text) in &self.troubles {
            line += &format!("  ! {name} {}", text.split(':').next().unwrap_or_default());
        }
        let mut lines = vec![
            format!("── {} {}", frame.scene, "─".repeat(70_usize.saturating_sub(frame.scene.chars().count()))),
            format!("  {clock}   offered {offered} records/s   replicas: {asked} asked, {ready} ready, {starting} starting, {draining} leaving"),
            format!("  last decision  {decision}{clamps}   by policy {digest}"),
            format!("                 {}", self.sentence),
        ];
        lines.extend(self.replicas.iter().map(Replica::line));
        if self.troubles.is_empty() {
            lines.push("  all conditions are as they should be".to_owned());
        }
        lines.extend(self.troubles.iter().map(|(name, text)| format!("  ! {name} {text}")));
        Panel { lines, line }
    }
}

impl Replica {
    fn line(&self) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), thousands);
        let tail = self.name.rsplit('-').next().unwrap_or_default();
        let bar = "▪".repeat((0..12).take_while(|step| self.rate.is_some_and(|rate| rate > f64::from(*step) * 50.0)).count());
        format!("  replica {tail:<6} {:<9} {:>5} records/s  queue {:>3}  {bar}", self.word, number(self.rate), number(self.queue))
    }
}

/// True for a pod of the LogProcessor that is shown, also while it ends.
pub(crate) fn is_of(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(weir_crds::names::LABEL_PROCESSOR)).is_some_and(|name| name == PROCESSOR)
}

fn replica(pod: &Pod) -> Replica {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref());
    let word = if pod.metadata.deletion_timestamp.is_some() {
        "ending"
    } else if is_draining(pod) {
        "draining"
    } else if is_ready(pod) {
        "ready"
    } else {
        "starting"
    };
    Replica { address: ip.and_then(|ip| format!("{ip}:{METRICS}").parse().ok()), name, word, rate: None, queue: None }
}

/// What the panel shows besides.
pub(crate) struct Frame<'a> {
    /// The scene's title.
    pub(crate) scene: &'a str,
    /// Seconds since the beginning.
    pub(crate) seconds: f64,
    /// Records/s that are offered now.
    pub(crate) offered: f64,
}

/// Conditions that are not as they should be: name, and reason with message.
fn troubles(seen: &Seen) -> Vec<(String, String)> {
    let of_processor = seen.processors.get(PROCESSOR).and_then(|processor| processor.status.as_ref()).map(|status| &status.conditions);
    let of_policy = seen.policies.get(POLICY).and_then(|policy| policy.status.as_ref()).map(|status| &status.conditions);
    let all = of_processor.into_iter().flatten().chain(of_policy.into_iter().flatten());
    let bad = all.filter(|condition| condition.status == "False" && condition.type_ != "Ready");
    bad.map(|condition| (format!("{}=False", condition.type_), format!("{}: {}", condition.reason, condition.message))).collect()
}

fn clock(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    format!("{:02}:{:02}", whole / 60, whole % 60)
}

/// A rounded number with separators.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0.0, 999.4, 1_000.0, 1_234_567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
