//! What the operator costs while nothing happens. Touches /proc and metrics.

use super::operator::Operator;
use super::setting::Setting;
use crate::machine::{Memory, megabytes};
use crate::report::Report;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Objects that the promise speaks of.
const PROMISED_FOR: usize = 10_000;
/// Most of one core, in percent.
const CPU: f64 = 50.0;
/// Most resident memory.
const BYTES: u64 = 150_000_000;

/// Figures of one span.
pub(super) struct Rest {
    /// Percent of one core.
    cpu: f64,
    memory: Memory,
    decisions: f64,
    questions: f64,
    /// Requests a second to the API server, without those for the Lease.
    requests: f64,
    lease_requests: f64,
    /// The same as the API server counts them, of all its clients.
    server_requests: f64,
}

impl Rest {
    /// Watches for `span`.
    pub(super) async fn measure(setting: &Setting, operator: &Operator, span: Duration) -> Result<Self> {
        let server_before = setting.server_requests().await?;
        let (before, asked, cpu, begun) = (operator.counters()?, setting.stand_in.asked(), operator.processor_time()?, Instant::now());
        tokio::time::sleep(span).await;
        let (cpu, took) = (operator.processor_time()? - cpu, begun.elapsed().as_secs_f64());
        let (after, memory) = (operator.counters()?, operator.memory()?);
        let server = setting.server_requests().await? - server_before;
        let each_second = |count: f64| count / took;
        Ok(Self {
            cpu: cpu.as_secs_f64() / took * 100.0,
            memory,
            decisions: each_second(after.decisions - before.decisions),
            questions: each_second((setting.stand_in.asked() - asked) as f64),
            requests: each_second(after.requests - before.requests),
            lease_requests: each_second(after.lease_requests - before.lease_requests),
            server_requests: each_second(server),
        })
    }

    /// Reports it, against the promise where there are as many objects as it speaks of.
    pub(super) fn report(&self, report: &mut Report, setting: &Setting, how: &str) {
        let what = format!("{} at 1 s, {how}", setting.title());
        let cpu = format!("{:.1} % of one core", self.cpu);
        let memory = format!("{} resident, {} at most", megabytes(self.memory.resident), megabytes(self.memory.peak));
        if setting.objects >= PROMISED_FOR {
            report.promise(format!("{what}: processor time"), cpu, "≤ 50 % of one core", self.cpu <= CPU);
            report.promise(format!("{what}: memory"), memory, "≤ 150 MB", self.memory.peak <= BYTES);
        } else {
            report.note(format!("{what}: processor time"), cpu);
            report.note(format!("{what}: memory"), memory);
        }
        report.note(format!("{what}: work"), format!("{:.0} decisions/s, {:.0} questions for metrics/s", self.decisions, self.questions));
        let (requests, lease, server) = (self.requests, self.lease_requests, self.server_requests);
        report.note(
            format!("{what}: requests to the API server"),
            format!("{requests:.2}/s and {lease:.1}/s for the Lease; the server counts {server:.1}/s of all clients"),
        );
    }
}
