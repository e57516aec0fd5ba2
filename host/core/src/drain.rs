//! Which replicas go first at a scale-down, and when they may. Touches nothing; the plan step of an
//! engine whose replicas hold records in a queue.
//!
//! A collector's queue dies with its pod. So a scale-down takes three steps, each safe to stop after:
//! 1. **cordon**: the emptiest replicas leave the Service's endpoints (a label) and become the
//!    cheapest to delete (`controller.kubernetes.io/pod-deletion-cost`);
//! 2. **wait** until a cordoned replica takes in nothing any more and its queue is empty;
//! 3. **mark and delete**: it becomes cheaper still, and once the mark is seen in the watch, the
//!    workload's replicas go down by the number of marked ones.
//!
//! A replica whose queue can't be seen is not empty. A rising load takes cordoned replicas back in,
//! which is the fastest scale-up there is. All state is on the pods, so a restart loses nothing.

use crate::ids::UnixMs;

/// What the plan needs to know of one replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Name of the pod.
    pub name: String,
    /// Ready, or cordoned and running: it may hold records.
    pub running: bool,
    /// It never ran, so its queue is empty by definition.
    pub never_started: bool,
    /// Since when it is cordoned.
    pub cordoned: Option<UnixMs>,
    /// It is marked as drained.
    pub marked: bool,
    /// Records that wait in its queues; `None`: not known.
    pub backlog: Option<f64>,
    /// Records/s that it still takes in; `None`: not known.
    pub intake: Option<f64>,
}

/// One step of a scale-down on one pod, or on the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the pod out of the endpoints and make it cheap to delete.
    Cordon(String),
    /// Put the pod back.
    Uncordon(String),
    /// The pod is empty: make it the cheapest.
    Mark(String),
    /// Set the workload's replicas.
    Scale(u32),
}

/// What to do now, and what is waited for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DrainPlan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Cordoned replicas that are not empty yet.
    pub waiting: Vec<String>,
}

/// How long a replica may still be sent to by clients that hold on to old connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this many milliseconds a cordoned replica with an empty queue counts as drained even
    /// while some client still sends: its shutdown refuses that client, who then goes elsewhere.
    pub intake_ms: i64,
}

/// Plans the way from `replicas` of a workload that asks for `desired` to `wanted` serving ones.
///
/// `desired` counts the cordoned replicas too. Replicas that are being deleted are not passed in.
#[must_use]
pub fn plan(now: UnixMs, desired: u32, wanted: u32, replicas: &[Replica], patience: Patience) -> DrainPlan {
    let mut plan = DrainPlan::default();
    let cordoned: Vec<&Replica> = replicas.iter().filter(|replica| replica.cordoned.is_some()).collect();
    let surplus = usize::try_from(desired.saturating_sub(wanted)).unwrap_or(usize::MAX);

    if wanted >= desired {
        plan.actions.extend(cordoned.iter().map(|replica| Action::Uncordon(replica.name.clone())));
        if wanted > desired {
            plan.actions.push(Action::Scale(wanted));
        }
        return plan;
    }
    if cordoned.len() > surplus {
        let mut back = cordoned.clone();
        // The fullest go back to work: the emptiest are nearest to being gone.
        back.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then_with(|| a.name.cmp(&b.name)));
        plan.actions.extend(back.iter().take(cordoned.len() - surplus).map(|replica| Action::Uncordon(replica.name.clone())));
        return plan;
    }
    let mut candidates: Vec<&Replica> = replicas.iter().filter(|replica| replica.cordoned.is_none()).collect();
    candidates.sort_by(|a, b| worth(a).total_cmp(&worth(b)).then_with(|| a.name.cmp(&b.name)));
    plan.actions.extend(candidates.iter().take(surplus - cordoned.len()).map(|replica| Action::Cordon(replica.name.clone())));

    let mut gone = 0_u32;
    for replica in &cordoned {
        if !drained(now, replica, patience) {
            plan.waiting.push(replica.name.clone());
        } else if replica.marked {
            gone = gone.saturating_add(1);
        } else {
            plan.actions.push(Action::Mark(replica.name.clone()));
        }
    }
    // A ReplicaSet deletes replicas that are not ready before it looks at deletion costs. While
    // one is down that was not chosen, the count stays: it may hold records.
    let others_ready = candidates.iter().all(|replica| replica.running || replica.never_started);
    if gone > 0 && others_ready {
        plan.actions.push(Action::Scale(desired.saturating_sub(gone).max(wanted)));
    }
    plan
}

fn drained(now: UnixMs, replica: &Replica, patience: Patience) -> bool {
    if replica.never_started {
        return true;
    }
    let empty = replica.backlog.is_some_and(|backlog| backlog <= 0.0);
    let quiet = replica.intake.is_some_and(|intake| intake <= 0.0);
    let waited = replica.cordoned.is_some_and(|since| now.since(since) >= patience.intake_ms);
    empty && (quiet || waited)
}

/// How much would have to drain before the replica may go; what is not known comes last.
fn worth(replica: &Replica) -> f64 {
    if replica.never_started { -1.0 } else { replica.backlog.unwrap_or(f64::INFINITY) }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
