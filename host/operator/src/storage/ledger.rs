//! The ConfigMap that holds who owns what, and the map that is made from it. Touches the network; called by
//! the actor. It is written over the version that was read and no other, so of two processes that both
//! believe to lead one fails, and decides again from what the other wrote.

use super::build::{KEY_LEDGER, KEY_MAP, config_map, map_name};
use super::valid::Valid;
use crate::context::Context;
use crate::views::version;
use crate::watch::chain;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use weir_core::ids::UnixMs;
use weir_core::placement::{Epoch, Ledger, Map};
use weir_crds::LogStorage;
use weir_crds::conditions::reason;
use weir_crds::names::FIELD_MANAGER;

/// What keeps the ledger from being read or written: reason of a condition, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The ledger as the API server has it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) ledger: Ledger,
    /// The map that was made from it, once every partition had an owner.
    pub(super) map: Option<Map>,
    /// What the ConfigMap has; `None`: there is none yet.
    resource_version: Option<String>,
}

fn api(context: &Context, valid: &Valid) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), &valid.object.namespace)
}

/// Reads the ledger. Where there is none, the one that a new LogStorage begins with; where there was one,
/// the one that goes on with the epochs that its readers have seen.
pub(super) async fn read(context: &Context, valid: &Valid, storage: &LogStorage, now: UnixMs) -> Result<Kept, Fault> {
    let name = map_name(&valid.object.name);
    let failed = |error: kube::Error| Fault { reason: reason::APPLY_FAILED, message: format!("ConfigMap {name} can't be read: {}", chain(&error)) };
    let Some(found) = api(context, valid).get_opt(&name).await.map_err(failed)? else {
        return Ok(Kept { ledger: first(valid, storage, now), map: None, resource_version: None });
    };
    let ours = found.metadata.owner_references.iter().flatten().any(|owner| owner.uid == valid.uid);
    if !ours {
        let message = format!("ConfigMap {name} exists and does not belong to this LogStorage: delete or rename it");
        return Err(Fault { reason: reason::NAME_TAKEN, message });
    }
    let data = found.data.unwrap_or_default();
    let (ledger, map) = parse(valid, data.get(KEY_LEDGER).map(String::as_str), data.get(KEY_MAP).map(String::as_str)).map_err(|why| {
        let epoch = storage.status.as_ref().and_then(|status| status.map.as_ref()).map_or(0, |map| map.epoch);
        let mend = format!(
            "put {KEY_LEDGER} back as it was, or delete the ConfigMap: then partitions get owners anew from epoch {} on, and no node is removed until retention has passed",
            epoch.saturating_add(1)
        );
        Fault { reason: reason::MAP_LOST, message: format!("{KEY_LEDGER} of ConfigMap {name} can't be read, and nothing is moved: {why}; {mend}") }
    })?;
    Ok(Kept { ledger, map, resource_version: found.metadata.resource_version })
}

fn parse(valid: &Valid, ledger: Option<&str>, map: Option<&str>) -> Result<(Ledger, Option<Map>), String> {
    let ledger = Ledger::from_json(ledger.ok_or("the key is missing")?).map_err(|error| error.to_string())?;
    let partitions = ledger.mirrors().first().map_or(0, weir_core::placement::Ownership::len);
    if (ledger.mirrors().len(), partitions) != (valid.mirrors, valid.partitions) {
        return Err(format!("it is of {partitions} partitions in {} mirrors", ledger.mirrors().len()));
    }
    // The map follows from the ledger: one that can't be read is made anew.
    Ok((ledger, map.and_then(|map| Map::from_json(map).ok())))
}

fn first(valid: &Valid, storage: &LogStorage, now: UnixMs) -> Ledger {
    let mut ledger = Ledger::new(valid.partitions, valid.mirrors);
    let status = storage.status.as_ref();
    if let Some(map) = status.and_then(|status| status.map.as_ref()) {
        ledger = ledger.after_loss(now, map.version, Epoch(map.epoch));
    }
    let each = |total: u32| total / u32::try_from(valid.mirrors).unwrap_or(1).max(1);
    let known = status.and_then(|status| status.desired_nodes).map(each).filter(|nodes| *nodes > 0);
    ledger.nodes = known.or(valid.pin).unwrap_or(valid.nodes.0).clamp(valid.nodes.0, valid.nodes.1);
    ledger
}

/// Writes a ledger and its map in place of `kept`.
pub(super) async fn write(context: &Context, valid: &Valid, kept: &Kept, ledger: Ledger, map: Option<Map>) -> Result<Kept, Fault> {
    let name = map_name(&valid.object.name);
    let failed = |why: String| Fault { reason: reason::APPLY_FAILED, message: format!("ConfigMap {name} can't be written: {why}") };
    if !context.leadership.is_leader() {
        return Err(failed("this process no longer leads".to_owned()));
    }
    let text = ledger.to_json().map_err(|error| failed(error.to_string()))?;
    let map_text = map.as_ref().map(Map::to_json).transpose().map_err(|error| failed(error.to_string()))?;
    let object = config_map(valid, map_text.as_deref(), &text, kept.resource_version.as_deref());
    let written = if kept.resource_version.is_some() {
        api(context, valid).patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object.json)).await
    } else {
        let body = serde_json::from_value(object.json).map_err(|error| failed(error.to_string()))?;
        api(context, valid).create(&PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }, &body).await
    };
    let written = written.map_err(|error| {
        context.metrics.apply_failed("ConfigMap", &error);
        failed(chain(&error))
    })?;
    Ok(Kept { ledger, map, resource_version: written.metadata.resource_version })
}

impl Kept {
    /// A ledger that no API server has, for tests.
    #[cfg(test)]
    pub(super) const fn of(ledger: Ledger, map: Option<Map>) -> Self {
        Self { ledger, map, resource_version: None }
    }

    /// True when the watches show a later version of the ConfigMap than the one that was written: somebody
    /// else has changed or deleted it.
    pub(super) fn is_outdated(&self, seen: Option<u64>) -> bool {
        let own = self.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
        seen.zip(own).is_some_and(|(seen, own)| seen > own)
    }

    /// Takes over the version that the API server has now, so that the next write puts back what is known.
    pub(super) async fn renew(&mut self, context: &Context, valid: &Valid) -> Result<Renewed, Fault> {
        let name = map_name(&valid.object.name);
        let failed = |error: kube::Error| Fault { reason: reason::APPLY_FAILED, message: format!("ConfigMap {name} can't be read: {}", chain(&error)) };
        let Some(found) = api(context, valid).get_opt(&name).await.map_err(failed)? else {
            self.resource_version = None;
            return Ok(Renewed::Changed);
        };
        let data = found.data.clone().unwrap_or_default();
        self.resource_version = (version(&found.metadata) > 0).then(|| found.metadata.resource_version.clone()).flatten();
        let known = self.ledger.to_json().ok();
        if data.get(KEY_LEDGER) == known.as_ref() && data.get(KEY_MAP) == self.map.as_ref().and_then(|map| map.to_json().ok()).as_ref() {
            return Ok(Renewed::Same);
        }
        let newer = parse(valid, data.get(KEY_LEDGER).map(String::as_str), data.get(KEY_MAP).map(String::as_str)).ok();
        if let Some((ledger, map)) = newer.filter(|(ledger, _)| ledger.epoch() > self.ledger.epoch()) {
            // Whoever led meanwhile has decided: that stands.
            (self.ledger, self.map) = (ledger, map);
            return Ok(Renewed::Same);
        }
        Ok(Renewed::Changed)
    }
}

/// What became of a ConfigMap that somebody has touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// What is known stands in it.
    Same,
    /// It has to be written again.
    Changed,
}
