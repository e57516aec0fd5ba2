//! Instant queries against a local server: what counts as a number and what is an error that says why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Server, response};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;
use weir_core::ids::UnixMs;
use weir_intake::{Auth, HttpClients, PromAnswer, PromClient, PromError, PromOptions};

const JSON: &str = "Content-Type: application/json\r\n";
const NOW: UnixMs = UnixMs(1_700_000_000_500);

fn client(server: &Server, change: impl FnOnce(&mut PromOptions)) -> PromClient {
    let mut options = PromOptions { url: format!("http://{}/", server.addr), ..PromOptions::default() };
    change(&mut options);
    PromClient::new(&HttpClients::new(), &options).unwrap()
}

async fn asked(status: &str, body: &str) -> Result<PromAnswer, PromError> {
    let server = Server::fixed(response(status, JSON, body.as_bytes())).await;
    client(&server, |_| {}).instant("up", NOW).await
}

#[rstest]
#[case::vector(r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1700000000.25,"3.5"]}]}}"#, Some(3.5))]
#[case::scalar(r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"1e9"]}}"#, Some(1e9))]
#[case::infinite(r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"+Inf"]}}"#, Some(f64::INFINITY))]
#[case::empty(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, None)]
#[case::with_more(r#"{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"7"],"group":1}],"stats":{}},"infos":["x"]}"#, Some(7.0))]
#[tokio::test]
async fn a_single_number_is_read_and_an_empty_result_is_missing(#[case] body: &str, #[case] value: Option<f64>) {
    assert_eq!(asked("200 OK", body).await.unwrap().value, value);
}

#[tokio::test]
async fn nan_is_handed_on_as_nan() {
    let answer = asked("200 OK", r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"NaN"]}}"#).await.unwrap();
    assert!(answer.value.unwrap().is_nan());
}

#[tokio::test]
async fn warnings_of_a_partial_result_are_kept() {
    let body = r#"{"status":"success","warnings":["store a is down"],"data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"1"]}]}}"#;
    assert_eq!(asked("200 OK", body).await.unwrap().warnings, ["store a is down"]);
}

#[tokio::test]
async fn several_series_are_an_error_that_shows_two_of_them() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"a"},"value":[1,"1"]},{"metric":{"pod":"b"},"value":[1,"2"]},{"metric":{},"value":[1,"2"]}]}}"#;
    let error = asked("200 OK", body).await.unwrap_err();
    assert_eq!(error.to_string(), r#"the query gives 3 series instead of one, the first two {pod="a"} and {pod="b"}; aggregate them, for example with sum()"#);
}

#[rstest]
#[case("400 Bad Request", r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, "QueryRefused")]
#[case("503 Service Unavailable", r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#, "QueryRefused")]
#[case("200 OK", r#"{"status":"error","errorType":"execution","error":"many-to-many"}"#, "QueryRefused")]
#[case("401 Unauthorized", "no", "Unauthorized")]
#[case("502 Bad Gateway", "<html>", "BadStatus")]
#[case("200 OK", "<html>", "Malformed")]
#[case("200 OK", r#"{"status":"success"}"#, "Malformed")]
#[case("200 OK", r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"many"]}}"#, "Malformed")]
#[case("200 OK", r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, "WrongResultType")]
#[case("200 OK", r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1700000000,{}]}]}}"#, "WrongResultType")]
#[case("200 OK", r#"{"status":"success","data":{"resultType":"scalar","result":[1699990000,"1"]}}"#, "Stale")]
#[case("200 OK", r#"{"status":"success","data":{"resultType":"scalar","result":[1800000000,"1"]}}"#, "Stale")]
#[case("200 OK", r#"{"status":"success","data":{"resultType":"scalar","result":[1e300,"1"]}}"#, "Stale")]
#[tokio::test]
async fn what_is_no_number_is_an_error_with_its_reason(#[case] status: &str, #[case] body: &str, #[case] reason: &str) {
    let error = asked(status, body).await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
}

#[tokio::test]
async fn query_credentials_and_headers_are_sent_and_never_shown() {
    let server = Server::raw(|mut stream, head| async move {
        let lower = head.to_ascii_lowercase();
        let all = head.starts_with("POST /prom/api/v1/query HTTP/1.1\r\n")
            && head.ends_with("query=sum%28rate%28x%7Ba%3D%22b+%26%22%7D%5B1m%5D%29%29&timeout=5000ms")
            && lower.contains("authorization: basic dtpw\r\n")
            && lower.contains("x-scope-orgid: team\r\n");
        let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"1"]}}"#;
        stream.write_all(&response(if all { "200 OK" } else { "404 Not Found" }, JSON, body.as_bytes())).await.unwrap();
    })
    .await;
    let client = client(&server, |options| {
        options.url.push_str("prom/");
        options.auth = Auth::Basic { user: "u".into(), password: "p".into() };
        options.headers = vec![("X-Scope-OrgID".into(), "team".into())];
    });
    assert_eq!(client.instant(r#"sum(rate(x{a="b &"}[1m]))"#, NOW).await.unwrap().value, Some(1.0));
    let shown = format!("{client:?}").to_ascii_lowercase();
    assert!(!shown.contains("dtpw") && !shown.contains("team"), "{shown}");
}

#[tokio::test]
async fn an_answer_without_end_stops_at_the_limit() {
    let server = Server::raw(|mut stream, _| async move {
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}\r\n").as_bytes()).await.unwrap();
        while stream.write_all(&[b' '; 4_096]).await.is_ok() {}
    })
    .await;
    assert_eq!(client(&server, |_| {}).instant("up", NOW).await.unwrap_err(), PromError::TooLarge(1 << 20));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_a_timeout() {
    let server = Server::raw(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(client(&server, |_| {}).instant("up", NOW).await.unwrap_err(), PromError::Timeout(5_000));
}

#[tokio::test]
async fn nobody_listening_is_unreachable_with_its_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = PromOptions { url: format!("http://127.0.0.1:{port}"), ..PromOptions::default() };
    let error = PromClient::new(&HttpClients::new(), &options).unwrap().instant("up", NOW).await.unwrap_err();
    assert_eq!(error.reason(), "ConnectionRefused", "{error}");
}

#[rstest]
#[case("prometheus:9090")]
#[case("ftp://prometheus")]
#[case("http://user:secret@prometheus")]
#[case("")]
fn a_url_that_cannot_be_used_is_refused(#[case] url: &str) {
    let options = PromOptions { url: url.into(), ..PromOptions::default() };
    let error = PromClient::new(&HttpClients::new(), &options).unwrap_err();
    assert_eq!(error.reason(), "BadAddress");
    assert!(!error.to_string().contains("secret"));
}
