//! Room for modules in a namespace's quota ([`crate::quota`]). Touches nothing but memory; called by
//! [`super::runner`] and [`super::rollout`] before a module takes over or goes on trial.
//!
//! A policy that finds no room is looked at again as soon as another one of its namespace gives some up.

use super::status::Report;
use super::{Entry, Policies};
use crate::context::Context;
use std::sync::atomic::Ordering;
use weir_core::ids::Digest;
use weir_core::quota::Exceeded;
use weir_core::scaling::ScalingPolicy as _;
use weir_crds::conditions::reason;
use weir_engine::Policy;

impl Policies {
    /// Wakes the policies of a namespace that found no room.
    pub(super) fn made_room(&self, namespace: &str) {
        for entry in self.entries.read().values().filter(|entry| entry.object.namespace == namespace) {
            if entry.awaits_room.load(Ordering::Relaxed) {
                entry.source_changed.notify_one();
            }
        }
    }
}

/// Whether a policy may have a module at all. False: the report says why not.
pub(super) fn is_there(context: &Context, entry: &Entry, report: &mut Report) -> bool {
    match context.policies.quotas.room(&entry.object.namespace, &entry.place) {
        Ok(()) => true,
        Err(exceeded) => refused(context, entry, None, exceeded, report),
    }
}

/// Makes room for a module that takes over (`replaces`) or goes on trial. False: there is none, and the report
/// says why.
pub(super) fn make(context: &Context, entry: &Entry, new: &Policy, replaces: bool, report: &mut Report) -> bool {
    if give(context, entry, &entry.modules(Some(new))).is_ok() {
        return true;
    }
    // Rather no module to go back to than not the newest one.
    let previous = entry.fallbacks.write().previous.take();
    let least = entry.modules(Some(new));
    let least = if replaces { least.last().map_or(&[][..], std::slice::from_ref) } else { &least };
    match give(context, entry, least) {
        Ok(made_room) => {
            if made_room {
                context.policies.made_room(&entry.object.namespace);
            }
            true
        }
        Err(exceeded) => {
            entry.fallbacks.write().previous = previous;
            refused(context, entry, Some(new), exceeded, report)
        }
    }
}

/// Gives a policy modules, unless it is gone meanwhile.
fn give(context: &Context, entry: &Entry, modules: &[(Digest, u64)]) -> Result<bool, Exceeded> {
    let (quotas, namespace) = (&context.policies.quotas, &entry.object.namespace);
    let given = quotas.give(namespace, &entry.place, modules);
    // Who deletes it says so first and takes what it has afterwards.
    if entry.stop.is_cancelled() {
        quotas.remove(namespace, &entry.place);
    }
    given
}

fn refused(context: &Context, entry: &Entry, module: Option<&Policy>, exceeded: Exceeded, report: &mut Report) -> bool {
    entry.awaits_room.store(true, Ordering::Relaxed);
    context.metrics.quota_refused(&entry.object.namespace, exceeded.resource);
    context.metrics.policy_rejected(reason::QUOTA_EXCEEDED);
    tracing::warn!(policy = %entry.object, %exceeded, "the namespace's quota has no room for this module");
    report.refused(context.now(), module.map(|module| module.stamp().digest), reason::QUOTA_EXCEEDED, &exceeded.to_string());
    false
}

/// Takes in what a policy holds now, and gives up what it does not hold any more.
pub(super) fn settle(context: &Context, entry: &Entry) {
    let (policies, namespace) = (&context.policies, &entry.object.namespace);
    let give = || give(context, entry, &entry.modules(None));
    let made_room = if entry.running().is_none() {
        // Who waits for room keeps its place in the line.
        let waits = entry.awaits_room.load(Ordering::Relaxed) || entry.stop.is_cancelled();
        !waits && policies.quotas.has_nothing(namespace, &entry.place)
    } else {
        give().or_else(|_| {
            entry.fallbacks.write().previous = None;
            give()
        }) == Ok(true)
    };
    if made_room {
        policies.made_room(namespace);
    }
}
