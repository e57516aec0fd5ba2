//! One state of `spec.engine.otelCollector`, named by its hash. Touches nothing.
//!
//! The hash covers the configuration as it will run and all else in the block: image, arguments,
//! environment, resources. A collector that runs out of memory is mended by `resources`, one that
//! lacks a variable by `env`; were only the configuration hashed, what was refused once would stay
//! refused whatever its user does. For the same reason the ConfigMap of a revision keeps the whole
//! block: a rollback restores the image with the configuration that ran on it, and finds the very
//! ReplicaSet that ran before.

use super::collector::{self, Facts};
use super::routing::{self, Routed};
use super::valid::{Invalid, Notice};
use super::yaml;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use weir_core::ids::Digest;
use weir_crds::log_processor::{ConfigCheck, OtelCollector};
use weir_crds::names::ANNOTATION_CONFIG_HASH;

/// Resource attribute of a collector's own metrics: the hash of the revision that it runs.
pub const INFO_LABEL: &str = "weir.config.hash";
/// Key of the ConfigMap with the collector's configuration.
pub(super) const KEY_CONFIG: &str = "config.yaml";
/// Key of the ConfigMap with the rest of the block.
pub(super) const KEY_ENGINE: &str = "engine.json";
/// What fits a ConfigMap, less some room for its metadata.
const MOST_BYTES: usize = 1_000_000;

/// Hash of a revision: 12 hex digits of a sha256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigHash(String);

/// Text that is no such hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the hash of a configuration: it has 12 hexadecimal digits")]
pub struct InvalidHash(String);

impl ConfigHash {
    /// Hash of a JSON value, whatever the order of its keys.
    #[must_use]
    pub fn of(json: &Value) -> Self {
        Self(Digest::of(yaml::canonical(json).as_bytes()).short())
    }
}

impl FromStr for ConfigHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidHash(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ConfigHash {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// One state of the block.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    hash: ConfigHash,
    /// The block without its configuration.
    engine: OtelCollector,
    /// The configuration as the collector reads it.
    yaml: String,
    /// What the configuration says of ports and probes.
    facts: Facts,
}

impl Revision {
    /// From the spec and the routing table that it names: rewrites the configuration and names the result.
    pub(super) fn from_spec(spec: &OtelCollector, routed: Option<&Routed>) -> Result<(Self, Vec<Notice>), Invalid> {
        let with_table = routed.map(|routed| routing::add(spec, routed)).transpose()?;
        let (spec, mut notices) = with_table.as_ref().map_or((spec, Vec::new()), |(spec, notices)| (spec, notices.clone()));
        let (mut config, found) = collector::rewrite(spec)?;
        notices.extend(found);
        let mut engine = spec.clone();
        engine.config = config.clone();
        let hash = ConfigHash::of(&to_json(&engine));
        engine.config = Map::new();
        collector::stamp(&mut config, INFO_LABEL, hash.as_ref());
        let facts = Facts::of(&config, &mut notices);
        let revision = Self { hash, engine, yaml: yaml::write(&Value::Object(config)), facts };
        let size = revision.yaml.len() + revision.engine_json().len();
        if size > MOST_BYTES {
            return Err(Invalid::new(
                "spec.engine.otelCollector.config",
                format!("the configuration has {size} bytes and a ConfigMap holds 1 MiB: shorten it, or let the collector include parts of it from files"),
            ));
        }
        Ok((revision, notices))
    }

    /// An earlier revision, from the ConfigMap that was written for it.
    ///
    /// # Errors
    /// When the ConfigMap was not written by Weir or was changed.
    pub fn from_config_map(map: &ConfigMap) -> Result<Self, Invalid> {
        let name = map.metadata.name.as_deref().unwrap_or_default();
        let broken = |why: String| Invalid::new(format!("ConfigMap {name}"), format!("{why}: delete it; it is written again when it is needed"));
        let missing = |what: &str| broken(format!("it has no {what}"));
        let text = |key: &str| map.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| missing(key));
        let annotation = map.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION_CONFIG_HASH));
        let hash = annotation.ok_or_else(|| missing(ANNOTATION_CONFIG_HASH))?.parse::<ConfigHash>();
        let hash = hash.map_err(|error| broken(error.to_string()))?;
        let yaml = text(KEY_CONFIG)?.clone();
        let config: Map<String, Value> = serde_yaml_ng::from_str(&yaml).map_err(|error| broken(format!("its {KEY_CONFIG} can't be read ({error})")))?;
        let engine: OtelCollector = serde_json::from_str(text(KEY_ENGINE)?).map_err(|error| broken(format!("its {KEY_ENGINE} can't be read ({error})")))?;
        let facts = Facts::of(&config, &mut Vec::new());
        Ok(Self { hash, engine, yaml, facts })
    }

    /// Its name.
    #[must_use]
    pub const fn hash(&self) -> &ConfigHash {
        &self.hash
    }

    /// How long a gRPC connection may last, in milliseconds; 0: as the collector has it.
    #[must_use]
    pub const fn max_connection_age_ms(&self) -> u64 {
        self.engine.max_connection_age.as_millis()
    }

    /// Whether it is tried before it is rolled out.
    #[must_use]
    pub const fn check(&self) -> ConfigCheck {
        self.engine.config_check
    }

    /// The configuration as the collector reads it.
    #[must_use]
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// What the configuration says of ports and probes.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The block without its configuration.
    pub(super) const fn engine(&self) -> &OtelCollector {
        &self.engine
    }

    /// The block without its configuration, as it is kept in the ConfigMap.
    pub(super) fn engine_json(&self) -> String {
        yaml::canonical(&to_json(&self.engine))
    }
}

/// JSON of a type whose serialisation has no way to fail.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use serde_json::json;

    fn revision(change: impl FnOnce(&mut OtelCollector)) -> Revision {
        let mut spec = fixtures::otlp();
        change(&mut spec);
        Revision::from_spec(&spec, None).unwrap().0
    }

    #[test]
    fn the_hash_of_an_unchanged_spec_never_changes() {
        // A new hash for an old spec would roll every collector of every user on an upgrade of Weir.
        // When a change of what Weir adds is worth that, say so in the change log and write it here.
        assert_eq!(revision(|_| {}).hash().as_ref(), fixtures::OTLP_HASH);
    }

    #[test]
    fn whatever_the_user_changes_in_the_block_gives_another_hash() {
        let first = revision(|_| {});
        for changed in [
            revision(|spec| spec.image = "example/otelcol:2".into()),
            revision(|spec| spec.env = vec![serde_json::from_value(json!({ "name": "A", "value": "b" })).unwrap()]),
            revision(|spec| spec.resources = serde_json::from_value(json!({ "limits": { "memory": "1Gi" } })).unwrap()),
            revision(|spec| spec.config["exporters"]["otlphttp"]["endpoint"] = json!("http://elsewhere")),
        ] {
            assert_ne!(first.hash(), changed.hash());
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let ab: Value = serde_json::from_str(r#"{"a":1,"b":[{"c":2,"d":3}]}"#).unwrap();
        let ba: Value = serde_json::from_str(r#"{"b":[{"d":3,"c":2}],"a":1}"#).unwrap();
        assert_eq!(ConfigHash::of(&ab), ConfigHash::of(&ba));
    }

    #[test]
    fn a_revision_comes_back_whole_from_its_config_map() {
        let made = revision(|spec| spec.args = vec!["--feature-gates=x".into()]);
        let map = super::super::objects::config_map(&fixtures::owner(), &made);
        let map: ConfigMap = serde_json::from_value(map.json).unwrap();
        assert_eq!(Revision::from_config_map(&map).unwrap(), made);
    }

    #[test]
    fn a_config_map_of_someone_else_is_refused_by_name() {
        let map: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "theirs" } })).unwrap();
        assert!(Revision::from_config_map(&map).unwrap_err().to_string().contains("ConfigMap theirs"));
    }
}
