//! The map of a storage: which of its nodes takes the records of which partition. Touches the network.

use crate::context::Context;
use crate::storage::build::{KEY_MAP, map_name};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use weir_core::placement::Map;
use weir_core::routing::Found;

/// Reads the map of a storage; a map that is missing or broken is a sentence on why.
pub(super) async fn of_storage(context: &Context, namespace: &str, storage: &str) -> Result<Found, kube::Error> {
    let name = map_name(storage);
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    let Some(map) = api.get_opt(&name).await? else {
        return Ok(Err(format!("LogStorage {storage} has published no map (ConfigMap {name}): create the LogStorage, or wait until its nodes are placed")));
    };
    let text = map.data.as_ref().and_then(|data| data.get(KEY_MAP));
    let Some(text) = text else { return Ok(Err(format!("ConfigMap {name} has no key {KEY_MAP}: delete it, and LogStorage {storage} writes it again"))) };
    Ok(Map::from_json(text).map_err(|error| format!("ConfigMap {name}: {error}; delete it, and LogStorage {storage} writes it again")))
}
