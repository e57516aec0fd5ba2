//! Starts everything in order, and ends it in the reverse one. Called by the command line.
//!
//! Order of a start: client → policies' engine → watches (also on a standby, so that it is warm) →
//! all listed once → leadership → actors. Order of an end: actors finish what they write → the Lease
//! is given back → watches and servers stop.

use crate::build::ObjectKind;
use crate::config::Config;
use crate::context::Context;
use crate::index::{Concerned, Index};
use crate::manager::Manager;
use crate::policies::{self, Policies};
use crate::pool::Pool;
use crate::quota::Quotas;
use crate::routing::{self, Tables};
use crate::shell::client;
use crate::shell::events;
use crate::shell::http::{self, Probes};
use crate::shell::leader::election::{InvalidTiming, Timing};
use crate::shell::leader::{self, LeaderOptions, Leadership};
use crate::shell::metrics::Metrics;
use crate::storage::index::StorageIndex;
use crate::storage::watches;
use crate::views::{self, PodView, WorkloadKey, WorkloadKind, WorkloadView};
use crate::watch::{Change, Synced, follow, object_ref};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_core::ids::ObjectRef;
use weir_crds::names;
use weir_crds::{LogProcessor, LogStorage, RoutingTable, WasmPolicy};
use weir_engine::source::oci::OciRegistry;
use weir_engine::{CacheConfig, Engine, EngineConfig};
use weir_intake::{HttpClients, Scraper};

/// Bytes that compiled policies may take on disk.
const CACHE_BYTES: u64 = 128 << 20;

/// How long the actors of a process that lost the leadership wait for it to come back.
const PAUSE: Duration = Duration::from_secs(60);

/// Bytes that artifacts from registries may take on disk, in the folder `oci` beside compiled policies.
const ARTIFACT_BYTES: u64 = 64 << 20;

/// The operator can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the API server.
    #[error("the API server can't be reached: {0}")]
    Client(#[from] client::ClientError),
    /// The Wasm engine can't be set up.
    #[error("the policy engine can't start: {0}")]
    Engine(#[from] weir_engine::EngineError),
    /// The folder for artifacts can't be used.
    #[error("artifacts of registries can't be kept: {0}")]
    Artifacts(#[from] weir_engine::cache::CacheError),
    /// The address is taken or not allowed.
    #[error("{address} can't be listened on ({source}): choose another with --listen")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Leader election can't be set up.
    #[error("leader election can't start: {0}")]
    Leader(#[from] InvalidTiming),
}

/// Runs until `stop` is cancelled.
///
/// # Errors
/// Only at the start: what happens later is retried.
pub async fn run(config: Config, metrics: Arc<Metrics>, stop: CancellationToken) -> Result<(), Error> {
    let client = client::connect(&config.client, &metrics).await?;
    let engine = Engine::new(engine_config(&config))?;
    let registry = match &config.cache_dir {
        Some(folder) => OciRegistry::with_cache(&folder.join("oci"), ARTIFACT_BYTES)?,
        None => OciRegistry::without_cache(),
    };
    let probes = Probes::new();
    let listener = TcpListener::bind(config.listen).await.map_err(|source| Error::Listen { address: config.listen, source })?;
    tracing::info!(address = %config.listen, "serving metrics and probes");
    let servers = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, http::routes(probes.clone(), metrics.clone()), servers.clone()));

    let leadership = if config.leader_elect {
        let namespace = config.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let options = LeaderOptions { namespace, name: config.lease_name.clone(), identity: leader::identity(&config.instance), timing: Timing::default() };
        leader::start(client.clone(), options, metrics.clone())?
    } else {
        metrics.leading(true);
        Leadership::always()
    };
    let (recorder, events_task) = events::start(client.clone(), config.instance.clone(), metrics.clone());
    let start = Instant::now();
    let http_clients = HttpClients::new();
    let context = Arc::new(Context {
        index: parking_lot::RwLock::new(Index::default()),
        storages: parking_lot::RwLock::new(StorageIndex::default()),
        policies: Policies::new(engine, Quotas::new(config.quotas.clone(), metrics.clone()), metrics.clone()),
        tables: Tables::default(),
        registry,
        metrics: metrics.clone(),
        events: recorder,
        scraper: Scraper::new(start),
        http: http_clients,
        leadership: leadership.clone(),
        pool: Pool::new(config.decision_threads),
        beside: Arc::new(Semaphore::new(1)),
        start,
        stop: CancellationToken::new(),
        client: client.clone(),
        config,
    });
    let manager: Arc<Manager<LogProcessor>> = Arc::new(Manager::new(context.clone()));
    let storages: Arc<Manager<LogStorage>> = Arc::new(Manager::new(context.clone()));
    let synced = Synced::default();
    let mut watches = start_watches(&context, &manager, &storages, &synced);
    watches.extend(watches::start(&context, &storages, &synced));

    let gate = probes.gate("watches");
    let beat = probes.beat("main loop", Duration::from_secs(30));
    let mut leading = leadership.subscribe();
    tokio::select! {
        () = stop.cancelled() => {}
        () = synced.wait() => { gate.open(); tracing::info!(took_ms = start.elapsed().as_secs_f64() * 1e3, "all watches have listed once"); }
        () = complain(&synced) => {}
    }
    while !stop.is_cancelled() {
        let is_leader = *leading.borrow_and_update();
        if is_leader {
            manager.lead(leadership.term()).await;
            storages.lead(leadership.term()).await;
        } else {
            manager.pause();
            storages.pause();
        }
        let forget = async { if manager.is_paused() { tokio::time::sleep(PAUSE).await } else { std::future::pending().await } };
        let alive = async {
            loop {
                beat.beat();
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            changed = leading.changed() => if changed.is_err() { break },
            () = forget => { tokio::join!(manager.resign(), storages.resign()); }
            () = alive => {}
        }
    }
    tracing::info!("stopping: actors finish, then the Lease is given back");
    tokio::join!(manager.resign(), storages.resign());
    leadership.release().await;
    context.stop.cancel();
    for watch in watches {
        watch.abort();
    }
    drop((manager, storages));
    drop(context);
    let _ = tokio::time::timeout(Duration::from_secs(2), events_task).await;
    servers.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    Ok(())
}

fn engine_config(config: &Config) -> EngineConfig {
    let defaults = EngineConfig::default();
    EngineConfig {
        cache: config.cache_dir.clone().map(|folder| CacheConfig { folder, max_bytes: CACHE_BYTES }),
        compiler: config.compile.compiler.clone(),
        compile_timeout: config.compile.timeout,
        compile_memory_bytes: config.compile.memory_bytes,
        concurrent_compilations: config.compile.concurrent.unwrap_or(defaults.concurrent_compilations),
        ..defaults
    }
}

/// Says from time to time what a start waits for; never returns.
async fn complain(synced: &Synced) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        tracing::warn!(kinds = ?synced.missing(), "still waiting for the first list of these kinds: are the CRDs applied (`weir crd | kubectl apply -f -`), and may this ServiceAccount list them?");
    }
}

pub(crate) fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(client: &Client, namespace: Option<&str>) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn start_watches(
    context: &Arc<Context>,
    manager: &Arc<Manager<LogProcessor>>,
    storages: &Arc<Manager<LogStorage>>,
    synced: &Synced,
) -> Vec<tokio::task::JoinHandle<()>> {
    let client = &context.client;
    let namespace = context.config.namespace.as_deref();
    let all = watcher::Config::default;
    let ours = || watcher::Config::default().labels(names::LABEL_PROCESSOR);
    let stop = || context.stop.clone();
    let mut tasks = Vec::new();

    let (ctx, woken, stores) = (context.clone(), manager.clone(), storages.clone());
    tasks.push(follow::<Pod>("Pod", api(client, namespace), all(), synced, stop(), move |change| {
        let (concerned, stored) = match change {
            Change::Applied(pod) => {
                let view = PodView::from(&pod);
                let stored = ctx.storages.write().apply_pod(&view);
                (ctx.index.write().apply_pod(view), stored)
            }
            Change::Deleted(pod) => {
                let stored = ctx.storages.write().delete_pod(&pod.namespace, &pod.name);
                (ctx.index.write().delete_pod(&pod.namespace, &pod.name), stored)
            }
        };
        woken.wake(&concerned);
        stores.wake(stored.as_slice());
    }));
    let (ctx, woken) = (context.clone(), manager.clone());
    tasks.push(follow::<Deployment>("Deployment", api(client, namespace), ours(), synced, stop(), move |change| {
        woken.wake(&workload(&ctx, WorkloadKind::Deployment, change, |object| WorkloadView::from(object)));
    }));
    let (ctx, woken) = (context.clone(), manager.clone());
    tasks.push(follow::<StatefulSet>("StatefulSet", api(client, namespace), ours(), synced, stop(), move |change| {
        woken.wake(&workload(&ctx, WorkloadKind::StatefulSet, change, |object| WorkloadView::from(object)));
    }));
    let (ctx, woken) = (context.clone(), manager.clone());
    tasks.push(follow::<HorizontalPodAutoscaler>("HorizontalPodAutoscaler", api(client, namespace), all(), synced, stop(), move |change| {
        let concerned = match change {
            Change::Applied(hpa) => ctx.index.write().apply_autoscaler(&hpa),
            Change::Deleted(hpa) => ctx.index.write().delete_autoscaler(&hpa),
        };
        woken.wake(&concerned);
    }));
    let (ctx, woken, stores) = (context.clone(), manager.clone(), storages.clone());
    tasks.push(follow::<PartialObjectMeta<ConfigMap>>("ConfigMap", api(client, namespace), all(), synced, stop(), move |change| {
        let (map, stored) = match &change {
            Change::Applied(map) => (object_ref(&map.metadata), ctx.storages.write().apply_own(ObjectKind::ConfigMap.as_str(), &map.metadata)),
            Change::Deleted(map) => (map.clone(), ctx.storages.write().delete_own(ObjectKind::ConfigMap.as_str(), map)),
        };
        ctx.policies.config_map_changed(&map);
        ctx.tables.config_map_changed(&map);
        stores.wake(stored.as_slice());
        woken.wake(&own(&ctx, ObjectKind::ConfigMap, change));
    }));
    let (ctx, woken) = (context.clone(), manager.clone());
    tasks.push(follow::<PartialObjectMeta<Service>>("Service", api(client, namespace), ours(), synced, stop(), move |change| {
        woken.wake(&own(&ctx, ObjectKind::Service, change));
    }));
    let (ctx, woken) = (context.clone(), manager.clone());
    tasks.push(follow::<PartialObjectMeta<PodDisruptionBudget>>("PodDisruptionBudget", api(client, namespace), ours(), synced, stop(), move |change| {
        woken.wake(&own(&ctx, ObjectKind::PodDisruptionBudget, change));
    }));
    if namespace.is_none() {
        let ctx = context.clone();
        tasks.push(follow::<PartialObjectMeta<Namespace>>("Namespace", Api::all(client.clone()), all(), synced, stop(), move |change| match change {
            Change::Applied(found) => ctx.policies.namespace(&object_ref(&found.metadata).name, Some(found.metadata.labels.unwrap_or_default())),
            Change::Deleted(gone) => ctx.policies.namespace(&gone.name, None),
        }));
    }
    let ctx = context.clone();
    tasks.push(follow::<DeserializeGuard<WasmPolicy>>("WasmPolicy", api(client, namespace), all(), synced, stop(), move |change| match change {
        Change::Applied(guarded) => {
            if let Some((object, policy)) = parsed(guarded)
                && let policies::Applied::New(entry) = ctx.policies.apply(object, policy)
            {
                tokio::spawn(policies::runner::run(ctx.clone(), entry));
            }
        }
        Change::Deleted(gone) => ctx.policies.delete(&gone),
    }));
    let ctx = context.clone();
    tasks.push(follow::<DeserializeGuard<RoutingTable>>("RoutingTable", api(client, namespace), all(), synced, stop(), move |change| match change {
        Change::Applied(guarded) => {
            if let Some((object, table)) = parsed(guarded)
                && let Some(entry) = ctx.tables.apply(object, table)
            {
                tokio::spawn(routing::actor::run(ctx.clone(), entry));
            }
        }
        Change::Deleted(gone) => ctx.tables.delete(&gone),
    }));
    let woken = manager.clone();
    tasks.push(follow::<DeserializeGuard<LogProcessor>>("LogProcessor", api(client, namespace), all(), synced, stop(), move |change| match change {
        Change::Applied(guarded) => {
            if let Some((object, processor)) = parsed(guarded) {
                woken.apply(object, processor);
            }
        }
        Change::Deleted(gone) => woken.delete(&gone),
    }));
    tasks
}

/// An object of ours, or a line in the log when it does not parse: it must not stop the others.
pub(crate) fn parsed<K: Resource<DynamicType = ()>>(guarded: DeserializeGuard<K>) -> Option<(ObjectRef, K)> {
    match guarded.0 {
        Ok(mut object) => {
            // Never read, and a third of a typical object.
            object.meta_mut().managed_fields = None;
            Some((object_ref(object.meta()), object))
        }
        Err(invalid) => {
            let (kind, object) = (K::kind(&()), object_ref(&invalid.metadata));
            tracing::error!(%kind, %object, error = invalid.error, "this object does not have the form of this version's CRD and is left out: apply the CRDs of this version (`weir crd`) and correct it");
            None
        }
    }
}

/// An object that Weir may have made for a processor: it carries that one's label.
fn own<K>(context: &Context, kind: ObjectKind, change: Change<PartialObjectMeta<K>>) -> Concerned {
    match change {
        Change::Applied(object) => {
            let meta = &object.metadata;
            let Some(processor) = meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_PROCESSOR)) else { return Vec::new() };
            context.index.write().apply_own(kind.as_str(), object_ref(meta), processor, views::mark(meta))
        }
        Change::Deleted(gone) => context.index.write().delete_own(kind.as_str(), &gone),
    }
}

fn workload<K: Resource<DynamicType = ()>>(context: &Context, kind: WorkloadKind, change: Change<K>, view: impl Fn(&K) -> WorkloadView) -> Concerned {
    match change {
        Change::Applied(object) => context.index.write().apply_workload(view(&object)),
        Change::Deleted(gone) => context.index.write().delete_workload(&WorkloadKey::new(kind, gone.namespace, gone.name)),
    }
}
