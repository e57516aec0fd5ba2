use super::*;
use crate::shell::client::client_for;
use crate::shell::metrics::MetricsOptions;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kube::api::ListParams;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use std::time::Duration;
use weir_cluster::{Level, TestNamespace, eventually, shared};

#[test]
fn a_note_is_cut_at_a_whole_character() {
    assert_eq!(cut("zürich", 2), "z");
    assert_eq!(cut("zürich", 3), "zü");
    assert_eq!(cut("short", NOTE), "short");
    assert_eq!(cut(&"ß".repeat(600), NOTE).len(), 1024);
    assert_eq!(cut(&format!("x{}", "ß".repeat(600)), NOTE).len(), 1023);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_written_once_and_then_counted_and_each_sentence_is_kept() {
    let cluster = shared(Level::ControlPlane).unwrap();
    let namespace = TestNamespace::create(cluster, "events").unwrap();
    let metrics = Metrics::new(MetricsOptions { version: "0", per_object: false });
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = client_for(config, 64, &metrics).unwrap();

    let object = ConfigMap { metadata: ObjectMeta { name: Some("edge".into()), ..ObjectMeta::default() }, ..ConfigMap::default() };
    let object = Api::<ConfigMap>::namespaced(client.clone(), namespace.name()).create(&PostParams::default(), &object).await.unwrap();
    let regarding = object.object_ref(&());
    let (recorder, task) = start(client.clone(), "weir-0", metrics.clone());
    let normal = |note: &str| recorder.publish(regarding.clone(), EventType::Normal, "Scaled", "Scale", note);
    let warning = || recorder.publish(regarding.clone(), EventType::Warning, "MetricsUnreachable", "Observe", "ü".repeat(2000));
    normal("2 to 4 replicas");
    normal("4 to 7 replicas");
    warning();
    warning();
    warning();
    // Once the first ones are written, the same words again are a count.
    let written = |count: usize| metrics.encode().unwrap().contains(&format!("weir_events_total{{outcome=\"written\"}} {count}\n"));
    eventually("three Events to be written", Duration::from_secs(20), async || Ok(written(3).then_some(()))).await.unwrap();
    normal("2 to 4 replicas");
    drop(recorder);
    task.await.unwrap();
    assert!(written(4), "what waits is written before the task ends");

    let events = Api::<Event>::namespaced(client, namespace.name()).list(&ListParams::default()).await.unwrap();
    let mut told: Vec<_> = events
        .iter()
        .filter(|event| event.regarding.as_ref().is_some_and(|regarding| regarding.uid == object.metadata.uid))
        .map(|event| (event.type_.clone().unwrap(), event.note.clone().unwrap(), event.series.as_ref().map(|series| series.count)))
        .collect();
    told.sort();
    let expected = [("Normal", "2 to 4 replicas".to_owned(), Some(2)), ("Normal", "4 to 7 replicas".to_owned(), None), ("Warning", "ü".repeat(512), None)];
    assert_eq!(told, expected.map(|(type_, note, count)| (type_.to_owned(), note, count)));
    assert!(metrics.encode().unwrap().contains("weir_events_total{outcome=\"repeated\"} 2"));
    // `kubectl describe` finds them.
    let described = namespace.kubectl().run(["describe", "configmap", "edge"]).unwrap();
    assert!(described.contains("4 to 7 replicas") && described.contains("weir.dev/operator"), "{described}");
}
