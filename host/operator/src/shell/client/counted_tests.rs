use super::*;
use crate::shell::metrics::MetricsOptions;
use rstest::rstest;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use tower::{ServiceBuilder, ServiceExt};

#[rstest]
#[case("GET", "/api/v1/namespaces/logs/pods?labelSelector=a%3Db", "list", "pods", "")]
#[case("GET", "/api/v1/pods?watch=true&resourceVersion=7", "watch", "pods", "")]
#[case("GET", "/api/v1/namespaces/logs", "get", "namespaces", "")]
#[case("GET", "/api/v1/namespaces", "list", "namespaces", "")]
#[case("GET", "/api/v1/namespaces/logs/status", "get", "namespaces", "status")]
#[case("GET", "/apis/weir.dev/v1alpha1/logprocessors", "list", "logprocessors", "")]
#[case("PATCH", "/apis/weir.dev/v1alpha1/namespaces/logs/logprocessors/edge/status", "patch", "logprocessors", "status")]
#[case("PUT", "/apis/apps/v1/namespaces/logs/deployments/edge/scale", "update", "deployments", "scale")]
#[case("POST", "/apis/events.k8s.io/v1/namespaces/logs/events", "create", "events", "")]
#[case("POST", "/api/v1/namespaces/logs/pods/edge-0/eviction", "create", "pods", "eviction")]
#[case("DELETE", "/api/v1/namespaces/logs/configmaps/edge", "delete", "configmaps", "")]
#[case("DELETE", "/api/v1/namespaces/logs/configmaps", "deletecollection", "configmaps", "")]
#[case("GET", "/version", "get", "discovery", "")]
#[case("GET", "/apis/apps/v1", "get", "discovery", "")]
#[case("GET", "/apis/example.com/v1/namespaces/logs/anything/x/strange", "get", "other", "other")]
fn verb_and_resource_are_read_from_a_request(#[case] method: &str, #[case] uri: &str, #[case] verb: &str, #[case] resource: &str, #[case] subresource: &str) {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    let what = asked(&request);
    assert_eq!((what.verb, what.resource, what.subresource), (verb, resource, subresource));
}

#[test]
fn server_side_apply_is_told_from_other_patches_by_its_content_type() {
    let request = Request::builder()
        .method("PATCH")
        .uri("/apis/apps/v1/namespaces/logs/deployments/edge")
        .header("content-type", "application/apply-patch+yaml")
        .body(())
        .unwrap();
    assert_eq!(asked(&request).verb, "apply");
}

/// Answers after everything that can has started; says how many were inside at most.
async fn most_at_once(uri: &'static str, limit: usize, requests: usize) -> usize {
    let metrics = Metrics::new(MetricsOptions { version: "0", per_object: false });
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = {
        let (inside, most) = (inside.clone(), most.clone());
        tower::service_fn(move |_: Request<()>| {
            let (inside, most) = (inside.clone(), most.clone());
            async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                inside.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(()))
            }
        })
    };
    let service = ServiceBuilder::new().layer(CountLayer::new(metrics.clone(), limit)).map_err(BoxError::from).service(server);
    let calls = (0..requests).map(|_| service.clone().oneshot(Request::get(uri).body(()).unwrap()));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert!(metrics.encode().unwrap().lines().any(|line| line.starts_with("weir_api_requests_total{") && line.ends_with(&format!(" {requests}"))));
    most.load(Ordering::SeqCst)
}

#[tokio::test]
async fn no_more_requests_wait_at_a_time_than_allowed() {
    assert_eq!(most_at_once("/api/v1/namespaces/logs/pods", 3, 20).await, 3);
}

#[tokio::test]
async fn leases_and_watches_do_not_queue_behind_other_requests() {
    assert_eq!(most_at_once("/apis/coordination.k8s.io/v1/namespaces/weir/leases/weir", 3, 20).await, 20);
    assert_eq!(most_at_once("/api/v1/pods?watch=true", 3, 20).await, 20);
}
