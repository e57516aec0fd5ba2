//! Follows LogStorages, and what belongs to them besides pods and ConfigMaps, which [`crate::run`] follows for
//! all. Touches the network.

use crate::build::ObjectKind;
use crate::context::Context;
use crate::manager::Manager;
use crate::run::{api, parsed};
use crate::watch::{Change, Synced, follow};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher;
use std::sync::Arc;
use weir_crds::{LogStorage, names};

/// Starts all of them.
pub(crate) fn start(context: &Arc<Context>, storages: &Arc<Manager<LogStorage>>, synced: &Synced) -> Vec<tokio::task::JoinHandle<()>> {
    let (client, namespace) = (&context.client, context.config.namespace.as_deref());
    let ours = || watcher::Config::default().labels(names::LABEL_STORAGE);
    let stop = || context.stop.clone();
    let (ctx, woken) = (context.clone(), storages.clone());
    let sets = follow::<StatefulSet>("StatefulSet of LogStorages", api(client, namespace), ours(), synced, stop(), move |change| {
        let concerned = match change {
            Change::Applied(set) => ctx.storages.write().apply_set(&set),
            Change::Deleted(gone) => ctx.storages.write().delete_own(ObjectKind::StatefulSet.as_str(), &gone),
        };
        woken.wake(concerned.as_slice());
    });
    let (ctx, woken) = (context.clone(), storages.clone());
    let own =
        follow::<DeserializeGuard<LogStorage>>("LogStorage", api(client, namespace), watcher::Config::default(), synced, stop(), move |change| match change {
            Change::Applied(guarded) => {
                if let Some((object, storage)) = parsed(guarded) {
                    woken.apply(object, storage);
                }
            }
            Change::Deleted(gone) => {
                woken.delete(&gone);
                ctx.storages.write().forget(&gone);
            }
        });
    let small = [
        follow_own::<Deployment>(context, storages, ObjectKind::Deployment, "Deployment of LogStorages", synced),
        follow_own::<Service>(context, storages, ObjectKind::Service, "Service of LogStorages", synced),
        follow_own::<PodDisruptionBudget>(context, storages, ObjectKind::PodDisruptionBudget, "PodDisruptionBudget of LogStorages", synced),
    ];
    [sets, own].into_iter().chain(small).collect()
}

/// Follows the versions of one kind of object that Weir makes for LogStorages.
fn follow_own<K>(
    context: &Arc<Context>,
    storages: &Arc<Manager<LogStorage>>,
    kind: ObjectKind,
    title: &'static str,
    synced: &Synced,
) -> tokio::task::JoinHandle<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + Send + 'static,
{
    let (ctx, woken) = (context.clone(), storages.clone());
    let ours = watcher::Config::default().labels(names::LABEL_STORAGE);
    let api = api::<PartialObjectMeta<K>>(&context.client, context.config.namespace.as_deref());
    follow(title, api, ours, synced, context.stop.clone(), move |change: Change<PartialObjectMeta<K>>| {
        let concerned = match change {
            Change::Applied(object) => ctx.storages.write().apply_own(kind.as_str(), &object.metadata),
            Change::Deleted(gone) => ctx.storages.write().delete_own(kind.as_str(), &gone),
        };
        woken.wake(concerned.as_slice());
    })
}
