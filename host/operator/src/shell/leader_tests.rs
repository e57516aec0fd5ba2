//! The election against a real API server.

use super::candidate::record;
use super::*;
use crate::shell::client::client_for;
use crate::shell::metrics::MetricsOptions;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use weir_cluster::{Cluster, Level, Options, TestNamespace, eventually, shared};

const SOON: Duration = Duration::from_secs(20);

fn metrics() -> Arc<Metrics> {
    Metrics::new(MetricsOptions { version: "0", per_object: false })
}

async fn client(cluster: &Cluster, metrics: &Arc<Metrics>) -> Client {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    client_for(config, 64, metrics).unwrap()
}

async fn candidate(cluster: &Cluster, namespace: &str, pod: &str) -> (Leadership, Arc<Metrics>) {
    let metrics = metrics();
    let options = LeaderOptions { namespace: namespace.to_owned(), name: "weir".to_owned(), identity: identity(pod), timing: Timing::default() };
    (start(client(cluster, &metrics).await, options, metrics.clone()).unwrap(), metrics)
}

async fn leads(leadership: &Leadership) {
    tokio::time::timeout(SOON, leadership.wait_for_leadership()).await.unwrap();
    assert!(leadership.is_leader());
}

async fn standby_knows(standby: &Leadership, cluster: &Cluster, namespace: &str) {
    let api = Api::<Lease>::namespaced(client(cluster, &metrics()).await, namespace);
    let mut first = None;
    // Two renewals by the leader: the standby's watch has seen at least one of them.
    eventually("the leader to renew", SOON, async || {
        let renewed = record(&api.get("weir").await?).renewed;
        Ok((*first.get_or_insert(renewed) != renewed).then_some(()))
    })
    .await
    .unwrap();
    assert!(!standby.is_leader());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_lease_changes_hands_at_once_and_that_of_a_dead_leader_when_it_expires() {
    let cluster = shared(Level::ControlPlane).unwrap();
    let namespace = TestNamespace::create(cluster, "leader").unwrap();
    let (first, counted) = candidate(cluster, namespace.name(), "weir-0").await;
    leads(&first).await;
    assert!(counted.encode().unwrap().contains("weir_leader 1"));
    let (second, _) = candidate(cluster, namespace.name(), "weir-1").await;
    standby_knows(&second, cluster, namespace.name()).await;

    let start = Instant::now();
    first.release().await;
    assert!(!first.is_leader());
    leads(&second).await;
    println!("clean handover: {:?}", start.elapsed());
    assert!(counted.encode().unwrap().contains("weir_leader 0"));

    let (third, _) = candidate(cluster, namespace.name(), "weir-2").await;
    standby_knows(&third, cluster, namespace.name()).await;
    let start = Instant::now();
    drop(second);
    leads(&third).await;
    let took = start.elapsed();
    println!("takeover from a dead leader: {took:?}");
    assert!(took > Duration::from_millis(1000), "nobody may be replaced before the lease expires: {took:?}");

    let lease = Api::<Lease>::namespaced(client(cluster, &metrics()).await, namespace.name()).get("weir").await.unwrap();
    let spec = lease.spec.unwrap();
    assert!(spec.holder_identity.unwrap().starts_with("weir-2_"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(2), Some(2)));
    third.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_deleted_is_made_again() {
    let cluster = shared(Level::ControlPlane).unwrap();
    let namespace = TestNamespace::create(cluster, "leader").unwrap();
    let (leader, _) = candidate(cluster, namespace.name(), "weir-0").await;
    leads(&leader).await;
    let api = Api::<Lease>::namespaced(client(cluster, &metrics()).await, namespace.name());
    api.delete("weir", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the Lease to be there again", SOON, async || Ok(api.get_opt("weir").await?)).await.unwrap();
    leads(&leader).await;
    leader.release().await;
    assert_eq!(record(&api.get("weir").await.unwrap()).holder, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_a_leader_stops_by_its_own_clock_and_leads_again_afterwards() {
    let cluster = Cluster::start(Options::control_plane()).unwrap();
    let (leader, _) = candidate(&cluster, "default", "weir-0").await;
    leads(&leader).await;
    let start = Instant::now();
    cluster.kill_apiserver().unwrap();
    tokio::time::timeout(SOON, leader.wait_for_loss()).await.unwrap();
    println!("leadership lost {:?} after the API server went", start.elapsed());
    assert!(!leader.is_leader());
    cluster.restart_apiserver().unwrap();
    tokio::time::timeout(3 * SOON, leader.wait_for_leadership()).await.unwrap();
    leader.release().await;
}

#[tokio::test]
async fn leadership_without_an_election_holds_until_it_is_released() {
    let leadership = Leadership::always();
    leadership.wait_for_leadership().await;
    assert!(leadership.is_leader() && *leadership.subscribe().borrow());
    leadership.release().await;
    leadership.wait_for_loss().await;
    assert!(!leadership.is_leader());
}
