//! Metrics of real pods that go wrong: one of five is silent, one starts to count from zero. In both
//! cases a sum over the pods would fall, and the replicas must not.

use crate::setting::{PATIENCE, Setting};
use anyhow::Result;
use serde_json::{Value, json};
use weir_e2e::{condition, machine};

/// Five pods, each with a counter that gains 60 a second, of which one replica can carry 100: the
/// five are kept as they are. busybox serves the counter.
fn exporters() -> Value {
    let script = r#"
mkdir -p /tmp/www/cgi-bin
read up _ < /proc/uptime; echo "${up%.*}${up#*.}" > /tmp/begun
cat > /tmp/www/cgi-bin/metrics <<'END'
#!/bin/sh
read up _ < /proc/uptime; now="${up%.*}${up#*.}"; read begun < /tmp/begun
printf 'Content-Type: text/plain; version=0.0.4\r\n\r\n# TYPE demo_records counter\ndemo_records %d\n' $(( (now - begun) * 6 / 10 ))
END
chmod +x /tmp/www/cgi-bin/metrics
exec httpd -f -p 9100 -h /tmp/www"#;
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": "edge" },
        "spec": {
            "engine": { "template": { "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "main", "image": "weir.local/busybox:test", "imagePullPolicy": "Never", "args": ["-c", script],
                    "readinessProbe": { "tcpSocket": { "port": 9100 }, "periodSeconds": 1 },
                }],
            } } },
            "replicas": { "min": 1, "max": 8 },
            "capacityPerReplica": { "recordsPerSecond": 100, "learn": false },
            "metrics": {
                "interval": "1s", "window": "20s", "staleness": "4s",
                "scrape": { "port": 9100, "path": "/cgi-bin/metrics", "timeout": "800ms" },
                "series": [{ "name": "offered", "unit": "records/s", "scrape": { "metric": "demo_records", "kind": "Counter" } }],
            },
            "scaling": { "policyRef": { "name": "rule" }, "guardrails": { "scaleDown": { "stabilizationWindow": "1s" } } },
        },
    })
}

/// Five pods that decide on themselves, and the place in the list of changes from which on there must be none.
async fn five(setting: &Setting, down: u32) -> Result<usize> {
    setting.quick_rule(down)?;
    let mut object = exporters();
    object["spec"]["replicas"]["min"] = json!(5);
    setting.apply(&object)?;
    setting.settled("edge", 5).await?;
    setting.condition("edge", "MetricsReady", "True", "AsExpected").await?;
    object["spec"]["replicas"]["min"] = json!(1);
    setting.apply(&object)?;
    setting.more_decisions(5.0)?;
    let seen = setting.observer.now();
    anyhow::ensure!(seen.replicas("edge-collector") == Some(5), "300 records/s and 5 replicas of 100 should stay: {:?}\n{}", seen.scaled, setting.story());
    Ok(seen.scaled.len())
}

fn first_uid(setting: &Setting) -> String {
    setting.observer.now().pods_of("edge").next().and_then(|pod| pod.metadata.uid.clone()).unwrap()
}

fn changes(setting: &Setting, from: usize) -> Vec<i32> {
    setting.observer.now().scaled[from..].iter().filter(|scaled| scaled.workload == "edge-collector").map(|scaled| scaled.replicas).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_silent_pod_of_five_holds_the_replicas() -> Result<()> {
    let Some(setting) = Setting::new("silent").await? else { return Ok(()) };
    let from = five(&setting, 2).await?;
    // Its port is closed to all but the pod itself; the kubelet's probe comes from the node, so it
    // would also notice: the process is stopped instead, and the kernel goes on accepting for it.
    let uid = first_uid(&setting);
    machine::signal(&uid, "httpd", "STOP")?;
    let held = setting
        .until("the replicas are held", PATIENCE, |seen| {
            seen.condition("edge", "MetricsReady").filter(|(status, ..)| *status == "False").map(|(_, reason, message)| format!("{reason}: {message}"))
        })
        .await;
    setting.more_decisions(5.0)?;
    machine::signal(&uid, "httpd", "CONT")?;
    println!("{}", held?);
    assert_eq!(changes(&setting, from), Vec::<i32>::new(), "{}", setting.story());
    setting.condition("edge", "MetricsReady", "True", "AsExpected").await?;
    setting.more_decisions(5.0)?;
    assert_eq!(changes(&setting, from), Vec::<i32>::new(), "{}", setting.story());
    setting.nothing_forbidden()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_starts_over_scales_nothing() -> Result<()> {
    let Some(setting) = Setting::new("reset").await? else { return Ok(()) };
    // A replica that restarts is not ready for some seconds: what it carried is no less demand meanwhile,
    // and a rate from a counter that fell would be seen.
    let from = five(&setting, 2).await?;
    machine::signal(&first_uid(&setting), "httpd", "KILL")?;
    let restarted = |seen: &weir_e2e::observer::Seen| {
        let restarts = |pod: &k8s_openapi::api::core::v1::Pod| {
            pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first().map(|container| container.restart_count))
        };
        (seen.pods_of("edge").filter(|pod| restarts(pod) == Some(1) && weir_e2e::observer::is_ready(pod)).count() == 1).then_some(())
    };
    setting.until("the container runs again", PATIENCE, restarted).await?;
    setting.more_decisions(15.0)?;
    let status = setting.kubectl().json(["get", "lp", "edge"])?;
    assert_eq!(changes(&setting, from), Vec::<i32>::new(), "{}", setting.story());
    assert!(status.pointer("/status/rates/offered").and_then(Value::as_f64).is_some_and(|rate| rate >= 0.0), "{status}");
    assert!(condition(&status, "MetricsReady").is_some_and(|(is, ..)| is == "True"), "{status}");
    setting.nothing_forbidden()
}
