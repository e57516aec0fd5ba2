//! Compiled tables in the cluster: immutable ConfigMaps, named by their content. Touches the network;
//! called by [`super::actor`].
//!
//! The last good table is what an operator goes on with that starts while its RoutingTable can't be
//! compiled. A ConfigMap whose content does not have its hash is not trusted, and is written again.

use crate::build::Routed;
use crate::context::Context;
use crate::watch::chain;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};
use std::collections::BTreeMap;
use weir_core::ids::Digest;
use weir_core::routing::Table;
use weir_crds::RoutingTable;
use weir_crds::names::{LABEL_MANAGED_BY, LABEL_PART_OF, LABEL_ROUTING_TABLE, MANAGED_BY, PART_OF};
use weir_crds::routing_table::AppliedTable;

const KEY: &str = "table.json";

fn api(context: &Context, table: &RoutingTable) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), table.metadata.namespace.as_deref().unwrap_or_default())
}

/// Name of the ConfigMap of a compiled table.
pub(super) fn name(table: &RoutingTable, hash: &str) -> String {
    format!("{}-table-{hash}", table.name_any())
}

fn content(map: &ConfigMap) -> Option<&str> {
    map.data.as_ref()?.get(KEY).map(String::as_str)
}

fn hash(json: &str) -> String {
    Digest::of(json.as_bytes()).short()
}

/// Writes a compiled table down, unless it is there already.
pub(super) async fn write(context: &Context, table: &RoutingTable, json: &str) -> Result<(), kube::Error> {
    let api = api(context, table);
    let name = name(table, &hash(json));
    if let Some(found) = api.get_opt(&name).await? {
        if content(&found) == Some(json) {
            return Ok(());
        }
        tracing::warn!(config_map = name, "this ConfigMap does not hold what its name says, and is written again");
        api.delete(&name, &DeleteParams::default()).await?;
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: table.metadata.namespace.clone(),
            labels: Some(BTreeMap::from([
                (LABEL_ROUTING_TABLE.to_owned(), table.name_any()),
                (LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned()),
                (LABEL_PART_OF.to_owned(), PART_OF.to_owned()),
            ])),
            owner_references: table.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), json.to_owned())])),
        immutable: Some(true),
        ..ConfigMap::default()
    };
    api.create(&PostParams { field_manager: Some(weir_crds::names::FIELD_MANAGER.to_owned()), ..PostParams::default() }, &map).await.map(drop)
}

/// Reads back the table that a status tells of; `None` when it is gone or was changed.
pub(super) async fn read(context: &Context, table: &RoutingTable, applied: &AppliedTable) -> Result<Option<Routed>, kube::Error> {
    let Some(map) = api(context, table).get_opt(&applied.config_map).await? else { return Ok(None) };
    let Some(json) = content(&map).filter(|json| hash(json) == applied.hash) else {
        tracing::warn!(config_map = applied.config_map, "this ConfigMap does not hold what its name says, and is not used");
        return Ok(None);
    };
    match Table::from_json(json) {
        Ok(table) => Ok(Some(Routed { table, version: applied.version, hash: applied.hash.clone() })),
        Err(error) => {
            tracing::error!(config_map = applied.config_map, %error, "the last good routing table can't be read back");
            Ok(None)
        }
    }
}

/// Deletes the ConfigMaps of all tables but one.
pub(super) async fn clear(context: &Context, table: &RoutingTable, kept: &str) {
    let api = api(context, table);
    let of_table = ListParams::default().labels(&format!("{LABEL_ROUTING_TABLE}={}", table.name_any()));
    let failed = |error: &kube::Error| tracing::warn!(error = %chain(error), "compiled tables of before could not be deleted and stay until the next change");
    let found = match api.list_metadata(&of_table).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let ours = |meta: &ObjectMeta| meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == table.metadata.uid.as_ref());
    for old in found.items.iter().filter(|old| ours(&old.metadata)).map(kube::ResourceExt::name_any).filter(|name| name != kept) {
        match api.delete(&old, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(error)) if error.code == 404 => {}
            Err(error) => failed(&error),
        }
    }
}
