//! The routing table that a LogProcessor names: followed, put into its configuration, and reported
//! back on. Touches the network only to read back what runs while the table can't be used.
//!
//! A table that is missing or was never compiled changes nothing: replicas go on with what they run, and
//! are scaled as before. Only a LogProcessor that has no workload yet waits for it.

use super::actor::Actor;
use super::rollout;
use crate::build::{ConfigHash, Revision, Routed, workload_name};
use crate::conditions::Status;
use crate::index::Members;
use crate::routing::{Published, Usage};
use crate::views::{WorkloadKey, WorkloadKind};
use std::sync::Arc;
use tokio::sync::watch;
use weir_core::ids::ObjectRef;
use weir_crds::conditions::reason;
use weir_intake::{Intake, PodState};

/// A table that is followed.
pub(super) struct Followed {
    table: ObjectRef,
    news: watch::Receiver<Published>,
    /// The table, when it can be used.
    pub(super) routed: Option<Arc<Routed>>,
    /// The condition RoutingTableReady.
    pub(super) said: (Status, &'static str, String),
}

/// Returns when something new is published of the table; never when none is followed.
pub(super) async fn changed(followed: &mut Option<Followed>) {
    let news = match followed {
        Some(followed) => followed.news.changed().await,
        None => std::future::pending().await,
    };
    if news.is_err() {
        // The operator ends.
        std::future::pending::<()>().await;
    }
}

impl Followed {
    fn renew(&mut self) {
        let name = &self.table.name;
        let not = |why: &'static str, message: String| (None, (Status::False, why, format!("{message}; replicas stay on what they run")));
        (self.routed, self.said) = match &*self.news.borrow_and_update() {
            Published::Ready(routed) => {
                let said = format!("RoutingTable {name} has version {} ({})", routed.version, routed.hash);
                (Some(routed.clone()), (Status::True, reason::AS_EXPECTED, said))
            }
            Published::NotFound => {
                not(reason::ROUTING_TABLE_NOT_FOUND, format!("there is no RoutingTable {name} in this namespace: create it, or correct spec.routingTableRef"))
            }
            Published::Refused(why) => not(reason::ROUTING_TABLE_NOT_READY, format!("RoutingTable {name} could not be compiled yet: {why}")),
            Published::PartOf(parent) => {
                not(reason::ROUTING_TABLE_NOT_READY, format!("RoutingTable {name} is part of {parent}: name that one in spec.routingTableRef"))
            }
            Published::Starting => (None, (Status::Unknown, reason::STARTING, format!("RoutingTable {name} is being compiled"))),
        };
    }
}

impl Actor {
    /// Follows the table that the spec names now, and takes in what is published of it. What runs is
    /// given back where it has to stay, because the table can't be used.
    pub(super) async fn follow_table(&mut self) -> Option<Revision> {
        let named = self.processor.spec.routing_table_ref.as_ref().map(|table| ObjectRef::new(self.object.namespace.clone(), table.name.clone()));
        if self.routing.as_ref().map(|followed| &followed.table) != named.as_ref() {
            self.leave_table();
            self.routing = named.map(|table| {
                let news = self.context.tables.follow(&table);
                Followed { table, news, routed: None, said: (Status::Unknown, reason::STARTING, String::new()) }
            });
        }
        let followed = self.routing.as_mut()?;
        followed.renew();
        if followed.routed.is_some() {
            return None;
        }
        // It may not be registered yet, so its members are not known.
        let key = WorkloadKey::new(WorkloadKind::Deployment, self.object.namespace.clone(), workload_name(&self.object.name));
        let workload = self.context.index.read().workload(&key)?;
        let running = workload.config_hash.as_ref()?.parse::<ConfigHash>().ok()?;
        rollout::read_back(&self.context, &self.object, &running).await.ok().flatten()
    }

    /// The LogProcessor does not name its table any more.
    pub(super) fn leave_table(&mut self) {
        if let Some(followed) = self.routing.take() {
            self.context.tables.report(&followed.table, &self.object, None);
        }
    }

    /// Tells the table how it fares here.
    pub(super) fn report_on_table(&self, members: &Members) {
        let Some(followed) = &self.routing else { return };
        let intake = self.measure.as_ref().map(|measure| &measure.intake).filter(|intake| intake.pods().next().is_some() || members.pods.is_empty());
        let step = self.config.as_ref().map(|outcome| &outcome.step);
        let trouble = self.trouble.as_ref().map(|trouble| (trouble.reason.to_owned(), trouble.message.clone()));
        let refused = || {
            let fatal = [reason::CONFIG_REJECTED, reason::ROLLED_BACK, reason::DEGRADED];
            let mut verdicts = step.into_iter().flat_map(|step| [&step.accepted, &step.confirmed]);
            let found = verdicts.find(|verdict| verdict.status == Status::False && fatal.contains(&verdict.reason));
            found.map(|verdict| (verdict.reason.to_owned(), verdict.message.clone()))
        };
        let usage = Usage {
            desired: members.workload.as_ref().map_or(0, |workload| workload.replicas),
            confirmed: intake.map(|intake| followed.routed.as_ref().map_or(0, |routed| confirming(intake, routed))),
            trouble: trouble.or_else(refused),
        };
        self.context.tables.report(&followed.table, &self.object, Some(usage));
    }
}

/// Replicas whose own metrics name this version and hash.
fn confirming(intake: &Intake, routed: &Routed) -> u32 {
    let version = routed.version.to_string();
    let confirms = |sample: &weir_intake::PodSample<'_>| {
        let said = |at: usize| sample.info.get(at).and_then(Option::as_deref);
        matches!(sample.state, PodState::Measured | PodState::Starting) && said(1) == Some(version.as_str()) && said(2) == Some(routed.hash.as_str())
    };
    u32::try_from(intake.pods().filter(confirms).count()).unwrap_or(u32::MAX)
}
