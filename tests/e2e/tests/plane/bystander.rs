//! A LogProcessor that has nothing to do with what is tested beside it. It is measured by scraping, so
//! each of its ticks is seen, and must decide once per interval whatever happens around it.

use anyhow::Result;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use weir_cluster::eventually;
use weir_e2e::exposer::Says;
use weir_e2e::observer::is_ready;
use weir_e2e::plane::{PATIENCE, Pace};
use weir_e2e::{Exposer, Plane, processor, wasm_policy};

const NAME: &str = "bystander";
const PATH: &str = "/bystander";

/// Interval of everything in these tests.
pub(crate) const INTERVAL: Duration = Duration::from_millis(250);

/// The LogProcessor, and when it was looked at first.
pub(crate) struct Bystander {
    exposer: Exposer,
    ticks: usize,
    calls: u64,
}

impl Bystander {
    /// Creates it with a policy of its own and waits until it decides.
    pub(crate) async fn start(plane: &Plane) -> Result<Self> {
        let exposer = Exposer::start(1, Says::Metrics(Arc::new(|| "demo_load 50\n".to_owned()))).await?;
        let mut object = processor(NAME, "", NAME, 5);
        object["spec"]["metrics"] = json!({
            "interval": "250ms", "window": "5s", "staleness": "2s",
            "scrape": { "port": exposer.port(), "path": PATH },
            "series": [{ "name": "offered", "unit": "records/s", "scrape": { "metric": "demo_load", "kind": "Gauge" } }],
        });
        plane.apply(&wasm_policy(NAME, json!({ "builtin": { "name": "threshold" } }), json!({}))).await?;
        plane.apply(&object).await?;
        let pod = plane
            .observer
            .until("the bystander's pod is ready", PATIENCE, |seen| seen.pods_of(NAME).find(|pod| is_ready(pod)).and_then(|pod| pod.metadata.name.clone()));
        plane.place(&pod.await?, &exposer.address(0)?).await?;
        eventually("the bystander decides", PATIENCE, async || Ok((plane.calls(NAME)? >= 3).then_some(()))).await?;
        plane.ticks(&exposer, 0, PATH, 1).await?;
        let (ticks, calls) = (exposer.asked(0, PATH)?.len(), plane.calls(NAME)?);
        Ok(Self { exposer, ticks, calls })
    }

    /// What was wrong with its decisions since it was started.
    pub(crate) async fn end(self, plane: &Plane) -> Result<Vec<String>> {
        plane.ticks(&self.exposer, 0, PATH, 1).await?;
        let moments = self.exposer.asked(0, PATH)?;
        let calls = plane.calls(NAME)? - self.calls;
        // From the last tick that was seen before the count of calls began.
        let pace = Pace::of(moments.get(self.ticks - 1..).unwrap_or_default(), INTERVAL);
        println!(
            "bystander: {} ticks in {} intervals of {INTERVAL:?} ({:.1} s), longest time between two {:.0} ms, {calls} decisions by its policy",
            pace.count,
            pace.intervals,
            pace.span.as_secs_f64(),
            pace.longest.as_secs_f64() * 1e3
        );
        let mut wrong = Vec::new();
        if pace.count != pace.intervals {
            wrong.push(format!("the bystander measured {} times in {} intervals", pace.count, pace.intervals));
        }
        if pace.longest >= 2 * INTERVAL {
            wrong.push(format!("the bystander did nothing for {:?}", pace.longest));
        }
        // The newest tick may not have been decided on yet.
        if calls.abs_diff(pace.count) > 1 {
            wrong.push(format!("the bystander measured {} times and decided {calls} times", pace.count));
        }
        if let Some(replicas) = plane.observer.now().replicas("bystander-collector").filter(|replicas| *replicas != 1) {
            wrong.push(format!("the bystander has {replicas} replicas"));
        }
        Ok(wrong)
    }
}
