//! Record: writes statuses, and Events for conditions that turned. Touches the network; called by the actor.
//! What did not change is not written, and numbers alone at most every 10 s.

use crate::context::Context;
use crate::shell::events::EventType;
use crate::watch::chain;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _};
use serde_json::json;
use std::time::{Duration, Instant};
use weir_crds::conditions::{kind, reason};
use weir_crds::log_storage::LogStorageStatus;
use weir_crds::names::FIELD_MANAGER;
use weir_crds::{GROUP, LogStorage, VERSION};

/// Numbers alone are written at most this often.
const NUMBERS: Duration = Duration::from_secs(10);
/// Any status is written at most this often, unless a decision acted.
const ANY: Duration = Duration::from_secs(1);
/// Writes statuses, and Events for conditions that turned.
pub(super) struct Keeper {
    pub(super) written: LogStorageStatus,
    last: Option<Instant>,
    last_numbers: Option<Instant>,
}

impl Keeper {
    /// Starts from what the API server has.
    pub(super) fn new(storage: &LogStorage) -> Self {
        Self { written: storage.status.clone().unwrap_or_default(), last: None, last_numbers: None }
    }

    /// Writes `status` when it differs and is due.
    pub(super) async fn write(&mut self, context: &Context, storage: &LogStorage, mut status: LogStorageStatus, acted: bool) {
        let waited = |since: Option<Instant>, span: Duration| since.is_none_or(|since| since.elapsed() >= span);
        if !waited(self.last_numbers, NUMBERS) && !acted {
            keep_numbers_quiet(&mut status, &self.written);
        }
        if status == self.written || !(acted || waited(self.last, ANY)) || !context.leadership.is_leader() {
            return;
        }
        let name = storage.metadata.name.clone().unwrap_or_default();
        let api: Api<LogStorage> = Api::namespaced(context.client.clone(), storage.metadata.namespace.as_deref().unwrap_or_default());
        let patch = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "LogStorage", "metadata": { "name": name }, "status": status });
        self.last = Some(Instant::now());
        match api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
            Ok(_) => {
                announce(context, storage, &self.written, &status);
                self.last_numbers = self.last;
                self.written = status;
            }
            Err(kube::Error::Api(error)) if error.code == 404 => {}
            Err(error) => {
                context.metrics.apply_failed("LogStorage", &error);
                tracing::debug!(object = name, error = %chain(&error), "the status could not be written and is tried again");
            }
        }
    }
}

/// Numbers that nobody acts on by themselves wait; states, owners and verdicts do not.
fn keep_numbers_quiet(status: &mut LogStorageStatus, written: &LogStorageStatus) {
    for node in &mut status.nodes {
        if let Some(before) = written.nodes.iter().find(|before| before.name == node.name) {
            node.disk_free_bytes = before.disk_free_bytes;
        }
    }
    for condition in &mut status.conditions {
        if let Some(before) = written.conditions.iter().find(|before| before.type_ == condition.type_)
            && (&before.status, &before.reason) == (&condition.status, &condition.reason)
        {
            condition.message.clone_from(&before.message);
        }
    }
}

/// Says once what turned.
fn announce(context: &Context, storage: &LogStorage, before: &LogStorageStatus, after: &LogStorageStatus) {
    let wanted = [reason::PAUSED, reason::DRY_RUN, reason::NO_POLICY, reason::NODES_STARTING, reason::GROWING, reason::PROGRESSING];
    for condition in after.conditions.iter().filter(|condition| condition.status != "Unknown") {
        let known = before.conditions.iter().find(|known| known.type_ == condition.type_);
        let same = known.is_some_and(|known| known.status == condition.status && known.reason == condition.reason);
        // Good news is only news after bad news, and Ready sums the others up.
        let good = condition.status == "True";
        let summary = condition.type_ == kind::READY && condition.reason == reason::DEGRADED;
        if same || summary || (good && known.is_none_or(|known| known.status != "False")) || wanted.contains(&condition.reason.as_str()) {
            continue;
        }
        let word = if good { format!("{}Again", condition.type_) } else { condition.reason.clone() };
        let event = if good { EventType::Normal } else { EventType::Warning };
        context.events.publish(storage.object_ref(&()), event, &word, "Observe", &condition.message);
    }
}
