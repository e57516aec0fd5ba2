//! A registry that means harm, or is just broken: endless answers, wrong digests, redirects in circles, token
//! services elsewhere.

use super::{insecure, request};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use weir_core::ids::Digest;
use weir_engine::source::oci::artifact::{CONFIG, LAYER};
use weir_engine::source::oci::{Credentials, Login, OciAccess, OciError, OciRegistry, OciRequest};

type Answer = Arc<dyn Fn(&Method, &str, &HeaderMap) -> Response + Send + Sync>;

/// Serves `answer` until the test ends; gives host and port.
async fn serve(answer: impl Fn(&Method, &str, &HeaderMap) -> Response + Send + Sync + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let handler = |State(answer): State<Answer>, method: Method, uri: Uri, headers: HeaderMap| async move { answer(&method, &uri.to_string(), &headers) };
    let router = axum::Router::new().fallback(handler).with_state(Arc::new(answer) as Answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

/// Bytes without end, as fast as they are taken.
fn endless() -> Body {
    let chunk = Bytes::from(vec![0; 64 << 10]);
    Body::from_stream(tokio_stream::iter(std::iter::repeat_with(move || Ok::<_, std::convert::Infallible>(chunk.clone()))))
}

fn manifest(layer: &[u8], size: usize) -> String {
    let layer = json!({ "mediaType": LAYER, "digest": Digest::of(layer).to_string(), "size": size });
    let config = json!({ "mediaType": CONFIG, "digest": Digest::of(b"{}").to_string(), "size": 2 });
    json!({ "schemaVersion": 2, "config": config, "layers": [layer] }).to_string()
}

fn pinned(host: &str, manifest: &str) -> OciRequest {
    request(&format!("{host}/a@{}", Digest::of(manifest.as_bytes())))
}

async fn failure(request: &OciRequest) -> OciError {
    let begun = Instant::now();
    let error = super::pull(&OciRegistry::without_cache(), request).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20), "{error} took {:?}", begun.elapsed());
    error
}

#[tokio::test]
async fn an_endless_layer_manifest_or_refusal_ends_at_its_bound() {
    let text = manifest(b"module", 6);
    let served = text.clone();
    let host = serve(move |_, path, _| if path.contains("/manifests/") { served.clone().into_response() } else { endless().into_response() }).await;
    let error = failure(&pinned(&host, &text)).await;
    assert!(matches!(error, OciError::TooLarge { limit: 6, declared: false, .. }), "{error}");

    let host = serve(|_, _, _| endless().into_response()).await;
    let error = failure(&pinned(&host, &text)).await;
    assert!(matches!(error, OciError::TooLarge { declared: false, .. }), "{error}");

    let host = serve(|_, _, _| (StatusCode::BAD_REQUEST, endless()).into_response()).await;
    let error = failure(&pinned(&host, &text)).await;
    assert!(matches!(error, OciError::Refused { status: 400, .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_an_outage() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let held = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let connections = held.clone();
    // Takes connections and says nothing.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.lock().push(stream);
        }
    });
    let asked = request(&format!("{host}/a:1"));
    let begun = Instant::now();
    let error = OciRegistry::without_cache().resolve(&asked).await.unwrap_err();
    assert!(error.is_outage() && begun.elapsed() < Duration::from_secs(60), "{error} after {:?}", begun.elapsed());
    assert_eq!(held.lock().len(), 3, "it was asked three times");
}

#[tokio::test]
async fn a_wrong_manifest_or_a_made_up_digest_is_not_believed() {
    let (wanted, other) = (manifest(b"module", 6), manifest(b"other!", 6));
    let host = serve(move |_, _, _| other.clone().into_response()).await;
    assert_eq!(failure(&pinned(&host, &wanted)).await.reason(), "DigestMismatch");

    // The digest of a tag comes from a header, and is what the manifest is then checked against.
    let (text, lie) = (manifest(b"module", 6), Digest::of(b"lie").to_string());
    let host = serve(move |_, _, _| ([("docker-content-digest", lie.clone())], text.clone()).into_response()).await;
    assert_eq!(failure(&request(&format!("{host}/a:1"))).await.reason(), "DigestMismatch");

    // Without a usable header, the digest is that of the bytes.
    let text = manifest(b"module", 6);
    let digest = Digest::of(text.as_bytes());
    let host = serve(move |_, _, _| ([("docker-content-digest", "sha512:00")], text.clone()).into_response()).await;
    assert_eq!(OciRegistry::without_cache().resolve(&request(&format!("{host}/a:1"))).await.unwrap(), digest);
}

#[tokio::test]
async fn redirects_end_and_what_they_lead_to_is_checked() {
    let circles = Arc::new(AtomicUsize::new(0));
    let counted = circles.clone();
    let host = serve(move |_, path, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        (StatusCode::TEMPORARY_REDIRECT, [("location", path.to_owned())]).into_response()
    })
    .await;
    assert!(failure(&request(&format!("{host}/a:1"))).await.is_outage());
    assert!(circles.load(Ordering::Relaxed) <= 18, "{circles:?}");

    let text = manifest(b"module", 6);
    let store =
        serve(|_, _, headers| if headers.contains_key("authorization") { StatusCode::IM_A_TEAPOT.into_response() } else { "module".into_response() }).await;
    let (served, basic) = (text.clone(), "Basic realm=\"r\"");
    let host = serve(move |_, path, headers| {
        if !headers.contains_key("authorization") {
            (StatusCode::UNAUTHORIZED, [("www-authenticate", basic)]).into_response()
        } else if path.contains("/manifests/") {
            served.clone().into_response()
        } else {
            (StatusCode::TEMPORARY_REDIRECT, [("location", format!("http://{store}/somewhere"))]).into_response()
        }
    })
    .await;
    let login = Login { user: "u".to_owned(), password: "p".to_owned() };
    let access = OciAccess { credentials: Credentials::of(&host, login), ..insecure() };
    let asked = OciRequest::new(&format!("{host}/a@{}", Digest::of(text.as_bytes())), &access, 100).unwrap();
    let pulled = super::pull(&OciRegistry::without_cache(), &asked).await.unwrap();
    assert_eq!(pulled.bytes, "module", "a layer may lie elsewhere, and credentials do not go there");
}

#[tokio::test]
async fn a_token_is_asked_for_where_the_registry_says_and_with_the_login() {
    let text = manifest(b"module", 6);
    let digest = Digest::of(text.as_bytes());
    let tokens = serve(|_, path, headers| {
        let login = headers.get("authorization").and_then(|value| value.to_str().ok()) == Some("Basic dTpw");
        let asked = path.contains("scope=repository%3Aa%3Apull") && path.contains("service=here");
        if login && asked { axum::Json(json!({ "token": "abc" })).into_response() } else { StatusCode::FORBIDDEN.into_response() }
    })
    .await;
    let challenge = format!("Bearer realm=\"http://{tokens}/token\",service=\"here\",scope=\"repository:a:pull\"");
    let host = serve(move |_, path, headers| {
        if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some("Bearer abc") {
            (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge.clone())]).into_response()
        } else if path.contains("/manifests/") {
            text.clone().into_response()
        } else {
            "module".into_response()
        }
    })
    .await;
    let reference = format!("{host}/a@{digest}");
    let login = |password: &str| Credentials::of(&host, Login { user: "u".to_owned(), password: password.to_owned() });
    let asked = |credentials| OciRequest::new(&reference, &OciAccess { credentials, ..insecure() }, 100).unwrap();
    assert_eq!(super::pull(&OciRegistry::without_cache(), &asked(login("p"))).await.unwrap().bytes, "module");
    let error = failure(&asked(login("wrong"))).await;
    assert!(error.reason() == "RegistryUnauthorized" && error.to_string().contains("403"), "{error}");
    assert_eq!(failure(&asked(Credentials::default())).await.reason(), "RegistryUnauthorized");
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again_and_its_words_are_quoted_tamely() {
    let text = manifest(b"module", 6);
    let (count, served) = (AtomicUsize::new(0), text.clone());
    let host = serve(move |_, path, _| match count.fetch_add(1, Ordering::Relaxed) {
        0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        1 => StatusCode::TOO_MANY_REQUESTS.into_response(),
        _ if path.contains("/manifests/") => served.clone().into_response(),
        _ => "module".into_response(),
    })
    .await;
    assert_eq!(super::pull(&OciRegistry::without_cache(), &pinned(&host, &text)).await.unwrap().bytes, "module");

    let loud = json!({ "errors": [{ "code": "DENIED", "message": format!("no\u{1b}[31m\n{}", "x".repeat(5000)) }] }).to_string();
    let host = serve(move |_, _, _| (StatusCode::CONFLICT, loud.clone()).into_response()).await;
    let error = failure(&request(&format!("{host}/a:1@{}", Digest::of(b"x")))).await.to_string();
    assert!(error.contains("DENIED no") && error.len() < 400 && !error.contains(['\u{1b}', '\n']), "{error}");
    let host = serve(|_, _, _| (StatusCode::NOT_FOUND, "<html>internal secrets</html>").into_response()).await;
    let error = failure(&request(&format!("{host}/a:1@{}", Digest::of(b"x")))).await.to_string();
    assert!(!error.contains("secrets"), "{error}");
}
