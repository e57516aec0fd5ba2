//! The volumes of nodes: they grow when the spec asks for it, and go when their node is gone and nothing on
//! them is owed. Touches the network; called by the actor when the size has changed and from time to time.

use super::build::{LABEL_UID, VOLUME};
use super::index::Members;
use super::nodes;
use super::valid::Valid;
use crate::build::covers::quantity;
use crate::context::Context;
use crate::watch::chain;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use weir_core::placement::Ledger;
use weir_crds::conditions::reason;
use weir_crds::names;

/// How the volumes are: reason and sentence of the condition VolumesGrown; `None`: all have their size.
pub(super) type Growth = Option<(&'static str, String)>;

/// Lets volumes grow and go.
pub(super) async fn tend(context: &Context, valid: &Valid, ledger: &Ledger, members: &Members) -> Result<Growth, kube::Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &valid.object.namespace);
    let claims = api.list(&ListParams::default().labels(&format!("{}={}", names::LABEL_STORAGE, valid.object.name))).await?.items;
    let gone = dispensable(valid, ledger, members);
    let (mut growth, mut classes) = (None, BTreeSet::new());
    for claim in claims {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let own = claim.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_UID)) == Some(&valid.uid);
        if own && gone.contains(&name) {
            if context.leadership.is_leader() {
                tracing::info!(object = %valid.object, claim = name, "the node of this volume is gone and nothing on it is owed: the volume goes");
                api.delete(&name, &DeleteParams::background()).await.map(drop)?;
            }
            continue;
        }
        match grow(context, &api, valid, &claim).await? {
            Size::Right => {}
            Size::Growing => {
                growth.get_or_insert_with(|| (reason::GROWING, format!("PersistentVolumeClaim {name} grows to {}", valid.volume.0)));
            }
            Size::Fixed(class) => {
                classes.insert(class);
            }
        }
    }
    if let Some(class) = classes.first() {
        let mend = "set allowVolumeExpansion: true on it, where its provisioner can do that, or write the old size into spec.volume.size";
        growth = Some((reason::NOT_EXPANDABLE, format!("StorageClass {class} does not let volumes grow to {}: {mend}", valid.volume.0)));
    }
    Ok(growth)
}

/// Claims of nodes that are neither there nor wanted, and hold nothing.
fn dispensable(valid: &Valid, ledger: &Ledger, members: &Members) -> BTreeSet<String> {
    if ledger.is_blind() || valid.paused {
        return BTreeSet::new();
    }
    let holds = ledger.holds();
    let needed = nodes::replicas(valid, ledger, members);
    let mut gone = BTreeSet::new();
    for (group, needed) in valid.groups.iter().zip(needed) {
        let live = members.sets.get(&group.name).map_or(u32::MAX, |set| set.replicas);
        // As far as one could have been scaled out to.
        for ordinal in needed.max(live)..=valid.nodes.1.max(needed) {
            let node = group.node(ordinal);
            if !holds.contains_key(node.as_str()) && !members.pods.contains_key(node.as_str()) {
                gone.insert(format!("{VOLUME}-{node}"));
            }
        }
    }
    gone
}

enum Size {
    Right,
    Growing,
    /// The StorageClass does not allow it.
    Fixed(String),
}

async fn grow(context: &Context, api: &Api<PersistentVolumeClaim>, valid: &Valid, claim: &PersistentVolumeClaim) -> Result<Size, kube::Error> {
    let bytes = |text: &str| quantity(&Value::String(text.to_owned()));
    let spec = claim.spec.clone().unwrap_or_default();
    let asked = spec.resources.and_then(|resources| resources.requests?.get("storage").map(|size| size.0.clone()));
    let has = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage").map(|size| size.0.clone()));
    let (Some(wanted), Some(asked)) = (bytes(&valid.volume.0), asked.as_deref().and_then(bytes)) else { return Ok(Size::Right) };
    if asked >= wanted {
        let smaller = has.as_deref().and_then(bytes).is_some_and(|has| has < wanted);
        return Ok(if smaller { Size::Growing } else { Size::Right });
    }
    let class = spec.storage_class_name.unwrap_or_default();
    let classes: Api<StorageClass> = Api::all(context.client.clone());
    let found = if class.is_empty() { None } else { classes.get_opt(&class).await? };
    if found.and_then(|class| class.allow_volume_expansion) != Some(true) {
        return Ok(Size::Fixed(if class.is_empty() { "(none)".to_owned() } else { class }));
    }
    if context.leadership.is_leader() {
        let name = claim.metadata.name.clone().unwrap_or_default();
        let patch = json!({ "spec": { "resources": { "requests": { "storage": valid.volume.0 } } } });
        if let Err(error) = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            tracing::warn!(object = %valid.object, claim = name, error = %chain(&error), "the volume can't grow");
            return Err(error);
        }
    }
    Ok(Size::Growing)
}

#[cfg(test)]
mod tests {
    use super::super::index::SetView;
    use super::super::valid::tests::valid;
    use super::*;
    use weir_core::ids::UnixMs;
    use weir_core::placement::{Epoch, Move};

    #[test]
    fn a_volume_goes_only_with_a_node_that_is_gone_and_holds_nothing() {
        let (mut valid, mut ledger) = (valid(&[], 1), Ledger::new(1, 1));
        ledger.nodes = 2;
        let own = |node: &str| vec![vec![Move { partition: 0, from: None, to: node.to_owned() }]];
        ledger.grant(Epoch(0), UnixMs(0), &own("logs-3")).unwrap();
        let set = |replicas| Members { sets: [("logs".to_owned(), SetView { replicas, claim_size: None })].into(), ..Members::default() };
        let gone = |valid: &Valid, ledger: &Ledger, replicas| dispensable(valid, ledger, &set(replicas)).into_iter().next();
        assert_eq!(gone(&valid, &ledger, 2).as_deref(), Some("storage-logs-4"), "logs-3 owns a partition, so 0 to 3 are needed");
        ledger.grant(Epoch(1), UnixMs(0), &own("logs-0")).unwrap();
        assert_eq!(gone(&valid, &ledger, 2).as_deref(), Some("storage-logs-4"), "logs-3 owned one");
        ledger.trim(UnixMs(i64::MAX), Some(0));
        assert_eq!(gone(&valid, &ledger, 4).as_deref(), Some("storage-logs-4"), "the set still has four");
        assert_eq!(gone(&valid, &ledger, 2).as_deref(), Some("storage-logs-2"));
        assert!(dispensable(&valid, &ledger, &Members::default()).is_empty(), "the set is not known");
        valid.paused = true;
        assert_eq!(gone(&valid, &ledger, 2), None);
    }
}
