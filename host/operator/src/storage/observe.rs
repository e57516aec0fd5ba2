//! Observe: asks every node of one LogStorage for its metrics. Touches the network; called by the actor at
//! each tick.

use super::index::Members;
use super::nodes::Answers;
use super::valid::Valid;
use crate::context::Context;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_intake::{Profile, Readings, ScrapeError, ScrapeOptions, ScrapeTarget};

/// Share of a tick that the answers of all nodes may take.
const SHARE_OF_TICK: f64 = 0.8;

struct Target {
    ip: String,
    target: ScrapeTarget,
    readings: Readings,
}

/// Asks the nodes of one LogStorage.
pub(super) struct Observer {
    profile: Profile,
    options: Arc<ScrapeOptions>,
    targets: HashMap<String, Target>,
}

impl Observer {
    /// As the spec says, once per `tick`.
    pub(super) fn new(valid: &Valid, tick: Duration) -> Self {
        let timeout = tick.mul_f64(SHARE_OF_TICK).as_millis();
        let options = ScrapeOptions {
            port: valid.engine.port(),
            path: valid.engine.metrics_path().to_owned(),
            timeout_ms: u32::try_from(timeout).unwrap_or(u32::MAX),
            ..ScrapeOptions::default()
        };
        Self { profile: valid.engine.profile(), options: Arc::new(options), targets: HashMap::new() }
    }

    /// Asks all nodes that have an address, at the same time; `None` for one that did not answer.
    pub(super) async fn ask(&mut self, context: &Context, valid: &Valid, members: &Members) -> Answers {
        let address = |name: &str| members.pods.get(name).filter(|pod| !pod.facts.deleting && !pod.finished).and_then(|pod| pod.ip.as_deref());
        self.targets.retain(|name, target| address(name) == Some(target.ip.as_str()));
        for (name, ip) in members.pods.keys().filter_map(|name| Some((name, address(name)?))) {
            if !self.targets.contains_key(name.as_ref())
                && let Ok(target) = ScrapeTarget::new(&context.http, ip, &self.options)
            {
                self.targets.insert(name.to_string(), Target { ip: ip.to_owned(), target, readings: Readings::default() });
            }
        }
        let profile = &self.profile;
        let asked = self.targets.iter_mut().map(|(name, target)| async move {
            let begun = Instant::now();
            let result = context.scraper.scrape(&target.target, profile, &mut target.readings).await;
            context.metrics.scraped(result.as_ref().err().map_or("ok", ScrapeError::reason), begun.elapsed());
            (name.clone(), result.is_ok().then(|| valid.engine.vitals(profile, &target.readings)))
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }
}
