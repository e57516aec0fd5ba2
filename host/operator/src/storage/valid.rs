//! The border: turns the spec of a LogStorage into a type that later steps trust. Touches nothing; called
//! first in each pass of an actor. Nothing after it reads the raw spec again.

use super::engine::{self, StoreEngine};
use crate::build::names::fit_in;
use serde_json::{Value, json};
use std::sync::Arc;
use weir_core::ids::ObjectRef;
use weir_core::placement::{ChurnLimits, FailoverRules};
use weir_core::snapshot::Mode;
use weir_crds::{Duration, LogStorage, PolicyRef};

/// Longest name of a StatefulSet: its pods carry it with eleven characters more in a label.
const LONGEST: usize = 52;

/// The StatefulSet of one zone, or of all.
///
/// One for each zone, because volumes can't leave theirs: which zone a node is in is known before its pod
/// is, each zone grows and shrinks by itself (a StatefulSet gives up only its last pod), and the mirrors have
/// zones of their own. A topology spread over one StatefulSet could promise none of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name of the StatefulSet.
    pub name: String,
    /// Its zone; `None` where none are configured.
    pub zone: Option<String>,
    /// Its mirror, from 0 on.
    pub mirror: usize,
}

impl Group {
    /// Name of a node.
    #[must_use]
    pub fn node(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name)
    }
}

/// A LogStorage that later steps trust.
#[derive(Clone)]
pub struct Valid {
    /// Which one.
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
    /// What runs.
    pub engine: Arc<dyn StoreEngine>,
    /// The StatefulSets.
    pub groups: Vec<Group>,
    /// Copies of every record.
    pub mirrors: usize,
    /// Partitions.
    pub partitions: usize,
    /// Fewest and most nodes of each mirror.
    pub nodes: (u32, u32),
    /// Nodes by hand.
    pub pin: Option<u32>,
    /// How long records are kept, in milliseconds and as the engine's flag.
    pub retention: (i64, String),
    /// Size and StorageClass of the volumes.
    pub volume: (String, Option<String>),
    /// Who proposes owners.
    pub policy: Option<PolicyRef>,
    /// What may move.
    pub limits: ChurnLimits,
    /// When a node is lost.
    pub failover: FailoverRules,
    /// Whether decisions take effect.
    pub mode: Mode,
    /// Nothing changes.
    pub paused: bool,
}

/// A spec that asks for something that can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The schema does not let it in.
    #[error("spec.engine: set exactly one engine, for example victoriaLogs")]
    NoEngine,
    /// The schema does not let it in.
    #[error("spec.zones: list at least one zone for each of the {0} mirrors")]
    TooFewZones(usize),
}

/// Takes the spec in.
///
/// # Errors
/// What can't be done, with what to change.
pub fn validate(storage: &LogStorage) -> Result<Valid, Invalid> {
    let spec = &storage.spec;
    let mirrors = usize::try_from(spec.mirrors.max(1)).unwrap_or(1);
    let name = storage.metadata.name.clone().unwrap_or_default();
    let groups = groups(&name, spec.zones.as_deref(), mirrors);
    if (0..mirrors).any(|mirror| groups.iter().all(|group| group.mirror != mirror)) {
        return Err(Invalid::TooFewZones(mirrors));
    }
    let guardrails = &spec.placement.guardrails;
    let quarantine = &spec.failover.quarantine;
    Ok(Valid {
        object: ObjectRef::new(storage.metadata.namespace.clone().unwrap_or_default(), name),
        uid: storage.metadata.uid.clone().unwrap_or_default(),
        engine: engine::of(spec.engine.choice().ok_or(Invalid::NoEngine)?).into(),
        groups,
        mirrors,
        partitions: usize::try_from(spec.partitions).unwrap_or(1),
        nodes: (spec.nodes.min, spec.nodes.max.max(spec.nodes.min)),
        pin: spec.nodes.pin,
        retention: (spec.retention.as_millis(), spec.retention.to_string()),
        volume: (spec.volume.size.clone(), spec.volume.storage_class_name.clone()),
        policy: spec.placement.policy_ref.clone(),
        limits: ChurnLimits {
            max_moves_per_step: guardrails.max_moves_per_step,
            max_moves_per_hour: guardrails.max_moves_per_hour,
            min_interval_ms: ms(guardrails.min_interval),
        },
        failover: FailoverRules {
            node_timeout_ms: ms(spec.failover.node_timeout),
            losses: quarantine.losses,
            window_ms: ms(quarantine.window),
            quarantine_ms: ms(quarantine.time),
        },
        mode: match spec.mode {
            weir_crds::log_processor::Mode::Enforce => Mode::Enforce,
            weir_crds::log_processor::Mode::DryRun => Mode::DryRun,
        },
        paused: spec.paused,
    })
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn groups(name: &str, zones: Option<&[String]>, mirrors: usize) -> Vec<Group> {
    match zones.filter(|zones| !zones.is_empty()) {
        None => vec![Group { name: fit_in(name.to_owned(), LONGEST), zone: None, mirror: 0 }],
        Some(zones) => {
            let of = |(index, zone): (usize, &String)| {
                let tidy: String = zone.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                Group { name: fit_in(format!("{name}-{tidy}"), LONGEST), zone: Some(zone.clone()), mirror: index % mirrors }
            };
            zones.iter().enumerate().map(of).collect()
        }
    }
}

impl Valid {
    /// How many of the `nodes` of each mirror run in each group: as evenly as possible, the first zones
    /// have one more.
    #[must_use]
    pub fn spread(&self, nodes: u32) -> Vec<u32> {
        let count = |mirror: usize| u32::try_from(self.groups.iter().filter(|group| group.mirror == mirror).count()).unwrap_or(1).max(1);
        let mut seen = vec![0_u32; self.mirrors];
        let share = |group: &Group| {
            let (all, place) = (count(group.mirror), seen.get_mut(group.mirror));
            let before = place.as_ref().map_or(0, |place| **place);
            if let Some(place) = place {
                *place = before.saturating_add(1);
            }
            nodes / all + u32::from(before < nodes % all)
        };
        self.groups.iter().map(share).collect()
    }

    /// The reference that makes Kubernetes delete an object with the LogStorage.
    #[must_use]
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": format!("{}/{}", weir_crds::GROUP, weir_crds::VERSION),
            "kind": "LogStorage", "name": self.object.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }

    /// The policy, with its namespace.
    #[must_use]
    pub fn policy_object(&self) -> Option<ObjectRef> {
        let reference = self.policy.as_ref()?;
        Some(ObjectRef::new(reference.namespace.as_deref().unwrap_or(&self.object.namespace), &reference.name))
    }
}

impl std::fmt::Debug for Valid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Valid").field("object", &self.object).field("groups", &self.groups).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use weir_crds::log_storage::{LogStorageSpec, StorageEngine, VictoriaLogs};

    /// A LogStorage `logs` in these zones, with two to eight nodes.
    pub(crate) fn storage(zones: &[&str], mirrors: u32) -> LogStorage {
        let engine = StorageEngine { victoria_logs: Some(VictoriaLogs { image: "victoria-logs:1".into(), port: 9428, ..VictoriaLogs::default() }) };
        let mut storage = LogStorage::new("logs", LogStorageSpec { engine, mirrors, partitions: 8, ..LogStorageSpec::default() });
        storage.spec.zones = (!zones.is_empty()).then(|| zones.iter().map(|zone| (*zone).to_owned()).collect());
        (storage.spec.nodes.min, storage.spec.nodes.max) = (2, 8);
        storage.spec.volume.size = "10Gi".into();
        (storage.metadata.namespace, storage.metadata.uid) = (Some("team".into()), Some("uid-1".into()));
        storage
    }

    pub(crate) fn valid(zones: &[&str], mirrors: u32) -> Valid {
        validate(&storage(zones, mirrors)).unwrap()
    }

    #[test]
    fn each_zone_has_a_stateful_set_and_mirrors_have_zones_of_their_own() {
        let names = |valid: &Valid| valid.groups.iter().map(|group| (group.name.clone(), group.mirror)).collect::<Vec<_>>();
        assert_eq!(names(&valid(&[], 1)), [("logs".to_owned(), 0)]);
        assert_eq!(names(&valid(&["eu-1a", "EU_1b", "c"], 2)), [("logs-eu-1a".to_owned(), 0), ("logs-eu-1b".to_owned(), 1), ("logs-c".to_owned(), 0)]);
        assert_eq!(validate(&storage(&["a"], 2)).unwrap_err(), Invalid::TooFewZones(2));
    }

    #[test]
    fn nodes_are_spread_evenly_over_the_zones_of_each_mirror() {
        assert_eq!(valid(&[], 1).spread(5), [5]);
        assert_eq!(valid(&["a", "b", "c"], 1).spread(5), [2, 2, 1]);
        assert_eq!(valid(&["a", "b", "c"], 2).spread(3), [2, 3, 1]);
    }
}
