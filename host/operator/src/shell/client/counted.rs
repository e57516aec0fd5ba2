//! The layer that counts requests by verb and resource, bounds how many wait at a time and gives up
//! on those that get no answer. Touches nothing itself; used by [`super`].

use super::pressure::Pressure;
use crate::shell::metrics::{Metrics, status_word};
use http::{Method, Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::{BoxError, Layer, Service};

/// The API server itself gives up on a request after 60 s (`--request-timeout`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a request asks for, in words of a bounded set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As in RBAC, and `apply` for server-side apply.
    pub verb: &'static str,
    /// The plural of the kind, or `other`.
    pub resource: &'static str,
    /// For example `status`; empty for the object itself.
    pub subresource: &'static str,
}

/// The resources that Weir asks for; any other is counted as `other`, so that labels stay bounded.
const RESOURCES: [&str; 31] = [
    "logprocessors",
    "logstorages",
    "routingtables",
    "retentionpolicies",
    "wasmpolicies",
    "remoteclusters",
    "configmaps",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "endpointslices",
    "events",
    "horizontalpodautoscalers",
    "jobs",
    "leases",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "scaledobjects",
    "secrets",
    "selfsubjectaccessreviews",
    "serviceaccounts",
    "services",
    "statefulsets",
    "storageclasses",
    "subjectaccessreviews",
    "tokenreviews",
];
const SUBRESOURCES: [&str; 5] = ["eviction", "log", "scale", "status", "token"];

fn known(word: &str, words: &[&'static str]) -> &'static str {
    words.iter().find(|known| **known == word).copied().unwrap_or("other")
}

/// Reads verb and resource from a request to the Kubernetes API.
#[must_use]
pub fn asked<B>(request: &Request<B>) -> Asked {
    let mut parts = request.uri().path().split('/').filter(|part| !part.is_empty());
    let prefix = match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.next().and_then(|_group| parts.next()),
        _ => None,
    };
    let mut resource = parts.next();
    let mut name = parts.next();
    let mut subresource = parts.next();
    // `namespaces/NS/pods/POD/status`; but `namespaces/NS` and `namespaces/NS/status` are the Namespace itself.
    if resource == Some("namespaces") && subresource.is_some_and(|part| part != "status" && part != "finalize") {
        resource = subresource;
        name = parts.next();
        subresource = parts.next();
    }
    let resource = match (prefix, resource) {
        (Some(_), Some(resource)) => known(resource, &RESOURCES),
        _ => "discovery",
    };
    let watch = request.uri().query().is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch")));
    let verb = match (request.method().clone(), name.is_some()) {
        _ if watch => "watch",
        (Method::GET, true) => "get",
        (Method::GET, false) if resource == "discovery" => "get",
        (Method::GET, false) => "list",
        (Method::POST, _) => "create",
        (Method::PUT, _) => "update",
        (Method::PATCH, _) if is_apply(request) => "apply",
        (Method::PATCH, _) => "patch",
        (Method::DELETE, true) => "delete",
        (Method::DELETE, false) => "deletecollection",
        _ => "other",
    };
    Asked { verb, resource, subresource: subresource.map_or("", |part| known(part, &SUBRESOURCES)) }
}

fn is_apply<B>(request: &Request<B>) -> bool {
    request.headers().get(http::header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/apply-patch"))
}

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
struct NoAnswer;

/// Wraps a service into [`Counted`].
#[derive(Clone, Debug)]
pub struct CountLayer {
    metrics: Arc<Metrics>,
    pressure: Arc<Pressure>,
}

impl CountLayer {
    /// A layer that lets at most `max_in_flight` requests wait for an answer at one time, at least one.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, max_in_flight: usize) -> Self {
        Self { metrics, pressure: Arc::new(Pressure::new(max_in_flight)) }
    }
}

impl<S> Layer<S> for CountLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted { inner, layer: self.clone() }
    }
}

/// A service that counts what goes through it.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    layer: CountLayer,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let CountLayer { metrics, pressure } = self.layer.clone();
        // The service that was made ready goes, a fresh clone stays.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let what = asked(&request);
        Box::pin(async move {
            let bounded = what.verb != "watch" && what.resource != "leases";
            let place = if bounded { pressure.place().await } else { None };
            metrics.api_request(what.verb, what.resource, what.subresource);
            let start = Instant::now();
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, inner.call(request)).await.unwrap_or_else(|_| Err(NoAnswer.into()));
            let failure = match &answer {
                Ok(response) if response.status().as_u16() < 400 => None,
                Ok(response) => Some(status_word(response.status().as_u16())),
                Err(_) => Some("Transport"),
            };
            let took = start.elapsed();
            if let Some(place) = place {
                pressure.done(place, took, Instant::now());
            }
            metrics.api_answered(what.verb, failure, took);
            answer
        })
    }
}

#[cfg(test)]
#[path = "counted_tests.rs"]
mod tests;
