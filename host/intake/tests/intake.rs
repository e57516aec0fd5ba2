//! From bodies to windows, with time as an argument: rates, resets, pods that come and go, estimates, health.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use rstest::rstest;
use std::sync::Arc;
use weir_core::ids::UnixMs;
use weir_intake::exposition::Format;
use weir_intake::*;

const START: i64 = 1_700_000_000_000;

/// An object with pods whose bodies are given as text, one second per tick.
struct Bench {
    profile: Arc<Profile>,
    intake: Intake,
    second: i64,
}

enum Answer<'a> {
    Body(&'a str),
    Silent,
    Pending,
}
use Answer::{Body, Pending, Silent};

impl Bench {
    fn new(profile: Profile, options: IntakeOptions) -> Self {
        let profile = Arc::new(profile);
        Self { intake: Intake::new(profile.clone(), options).unwrap(), profile, second: 0 }
    }

    fn otel() -> Self {
        Self::new(Profile::otel_collector(&OtelOptions::default(), &[]).unwrap(), IntakeOptions::default())
    }

    fn now(&self) -> UnixMs {
        UnixMs(START + self.second * 1_000)
    }

    /// One tick; pods have been ready for long.
    fn tick(&mut self, pods: &[(&str, Answer<'_>)]) -> MetricsHealth {
        self.tick_as(pods, 1, UnixMs(0))
    }

    fn tick_as(&mut self, pods: &[(&str, Answer<'_>)], incarnation: u64, ready_since: UnixMs) -> MetricsHealth {
        self.second += 1;
        let mono = Mono(u64::try_from(self.second).unwrap() * 1_000_000);
        let error = ScrapeError::Refused(8888);
        let mut readings: Vec<Readings> = pods.iter().map(|_| Readings::new()).collect();
        for (slot, (_, answer)) in readings.iter_mut().zip(pods) {
            if let Body(body) = answer {
                slot.read(mono, Format::Text, body.as_bytes(), &self.profile).unwrap();
            }
        }
        let reports: Vec<PodReport<'_>> = pods
            .iter()
            .zip(&readings)
            .map(|((pod, answer), readings)| PodReport {
                pod,
                incarnation,
                ready_since,
                outcome: match answer {
                    Body(_) => PodOutcome::Scraped(readings),
                    Silent => PodOutcome::Failed(&error),
                    Pending => PodOutcome::Pending,
                },
            })
            .collect();
        let observation = Observation { now: self.now(), mono, pods: &reports, queries: &[] };
        self.intake.observe(&observation).clone()
    }

    fn latest(&self, series: &str) -> Option<f64> {
        self.intake.window().latest(series)
    }
}

/// A collector's body; `send` requests wait.
fn body(accepted: u64, refused: u64, sent: u64, queue: u64) -> String {
    format!(
        "otelcol_process_uptime 1e6\notelcol_process_memory_rss 5e7\notelcol_process_cpu_seconds 3\n\
         otelcol_receiver_accepted_log_records{{receiver=\"otlp\",transport=\"grpc\"}} {accepted}\n\
         otelcol_receiver_refused_log_records{{receiver=\"otlp\",transport=\"grpc\"}} {refused}\n\
         otelcol_exporter_sent_log_records{{exporter=\"otlphttp\"}} {sent}\n\
         otelcol_exporter_queue_size{{data_type=\"logs\",exporter=\"otlphttp\"}} {queue}\n\
         otelcol_exporter_queue_size{{data_type=\"traces\",exporter=\"otlphttp\"}} 77\n\
         otelcol_exporter_queue_capacity{{data_type=\"logs\",exporter=\"otlphttp\"}} 1000\n"
    )
}

fn reason(health: &MetricsHealth) -> &'static str {
    match health {
        MetricsHealth::Ready => "Ready",
        MetricsHealth::NotReady { reason, .. } => reason.as_str(),
    }
}

fn sentence(health: MetricsHealth) -> String {
    match health {
        MetricsHealth::Ready => String::new(),
        MetricsHealth::NotReady { sentence, .. } => sentence,
    }
}

#[test]
fn the_first_read_gives_no_rate_and_the_second_does() {
    let mut bench = Bench::otel();
    assert_eq!(reason(&bench.tick(&[("a", Body(&body(1_000, 0, 900, 0)))])), "MetricsMissing");
    assert_eq!(bench.latest("accepted"), None);
    assert_eq!(bench.intake.pod("a").unwrap().state, PodState::Starting);
    assert!(bench.tick(&[("a", Body(&body(1_500, 50, 1_400, 0)))]).is_ready());
    for (series, value) in [
        ("accepted", 500.0),
        ("refused", 50.0),
        ("offered", 550.0),
        ("sent", 500.0),
        ("backlog", 0.0),
        ("queue", 0.0),
        ("queue-capacity", 1_000.0),
        ("skew", 1.0),
        ("cpu", 0.0),
        ("failed", 0.0),
    ] {
        assert_eq!(bench.latest(series), Some(value), "{series}");
    }
    let pod = bench.intake.pod("a").unwrap();
    assert_eq!((pod.accepted_total, pod.offered, pod.state, pod.age_ms), (1_500.0, 550.0, PodState::Measured, 0));
    let window = bench.intake.window();
    assert_eq!(window.times, [START + 1_000, START + 2_000]);
    assert!(window.series.iter().all(|series| series.values.len() == 2 && series.values[0].is_nan()));
}

#[test]
fn a_counter_that_drops_counts_from_zero_and_never_backwards() {
    let mut bench = Bench::otel();
    let two = |a: u64, b: u64| {
        format!(
            "otelcol_process_memory_rss 1\notelcol_receiver_accepted_log_records{{receiver=\"a\"}} {a}\notelcol_receiver_accepted_log_records{{receiver=\"b\"}} {b}\n"
        )
    };
    bench.tick(&[("p", Body(&two(1_000, 5_000)))]);
    bench.tick(&[("p", Body(&two(1_100, 200)))]);
    assert_eq!(bench.latest("accepted"), Some(300.0), "100 of one child and 200 since the other began anew");
    assert_eq!(bench.intake.counts().resets, 1);
}

#[test]
fn a_counter_that_appears_in_a_pod_that_was_read_before_began_at_zero() {
    let mut bench = Bench::otel();
    let idle = "otelcol_process_uptime 5\n";
    bench.tick(&[("p", Body(idle))]);
    bench.tick(&[("p", Body("otelcol_process_uptime 6\n"))]);
    assert_eq!(bench.latest("offered"), Some(0.0), "an idle collector has no counters yet: zero, not missing");
    bench.tick(&[("p", Body("otelcol_process_uptime 7\notelcol_receiver_accepted_log_records_total{receiver=\"otlp\"} 400\n"))]);
    assert_eq!(bench.latest("offered"), Some(400.0));
}

#[rstest]
#[case::uptime_fell(2, 1)]
#[case::other_incarnation(1_000, 2)]
fn a_restart_counts_from_zero_even_when_the_new_value_is_higher(#[case] uptime: u64, #[case] incarnation: u64) {
    let mut bench = Bench::otel();
    let text = |uptime: u64, n: u64| format!("otelcol_process_uptime {uptime}\notelcol_receiver_accepted_log_records {n}\n");
    let (first, second, third) = (text(998, 100), text(999, 200), text(uptime, 900));
    bench.tick(&[("p", Body(&first))]);
    bench.tick(&[("p", Body(&second))]);
    bench.tick_as(&[("p", Body(&third))], incarnation, UnixMs(0));
    assert_eq!(bench.latest("accepted"), Some(900.0));
}

#[test]
fn a_later_created_time_is_a_reset_although_the_value_rose() {
    let spec = SeriesSpec {
        name: "lines".into(),
        unit: "1/s".into(),
        source: Source::Scrape { metric: "lines_total".into(), labels: vec![], kind: Kind::Counter, aggregate: Aggregate::Sum },
    };
    let mut bench = Bench::new(Profile::custom(&[spec]).unwrap(), IntakeOptions::default());
    for (value, created) in [(100, 10.0), (150, 10.0), (180, 99.0)] {
        bench.tick(&[("p", Body(&format!("lines_total {value}\nlines_created {created}\n")))]);
    }
    // the first `_created` is learnt from the second read on
    assert_eq!(bench.intake.window().get("lines").unwrap().values[1..], [50.0, 180.0]);
}

#[test]
fn a_gap_between_reads_is_averaged_over_its_length() {
    let mut bench = Bench::otel();
    bench.tick(&[("p", Body(&body(0, 0, 0, 0)))]);
    bench.tick(&[("p", Body(&body(100, 0, 100, 0)))]);
    assert_eq!(reason(&bench.tick(&[("p", Silent)])), "MetricsUnreachable");
    assert_eq!(reason(&bench.tick(&[("p", Silent)])), "MetricsUnreachable");
    assert!(bench.tick(&[("p", Body(&body(700, 0, 700, 0)))]).is_ready());
    let values = bench.intake.window().get("accepted").unwrap().values.clone();
    assert_eq!((values[1], values[4]), (100.0, 200.0));
    assert!(values[2].is_nan() && values[3].is_nan());
}

#[test]
fn one_silent_pod_of_five_is_held_and_said_so_and_one_of_six_is_estimated() {
    for (count, held) in [(5, true), (6, false)] {
        let mut bench = Bench::otel();
        let names: Vec<String> = (0..count).map(|n| format!("collector-{n}")).collect();
        for n in 0..2 {
            let text = body(n * 100, 0, 0, 0);
            let pods: Vec<_> = names.iter().map(|name| (name.as_str(), Body(text.as_str()))).collect();
            bench.tick(&pods);
        }
        let text = body(200, 0, 0, 0);
        let pods: Vec<_> = names.iter().map(|name| (name.as_str(), if name == "collector-2" { Silent } else { Body(text.as_str()) })).collect();
        let health = bench.tick(&pods);
        if held {
            assert_eq!(reason(&health), "MetricsPartial");
            let sentence = sentence(health);
            assert!(
                sentence
                    .starts_with("1 of 5 ready pods gave no usable metrics: ConnectionRefused (collector-2): connection refused: nothing listens on port 8888"),
                "{sentence}"
            );
            assert!(sentence.ends_with("; held from a share of 0.2 on"), "{sentence}");
            assert_eq!(bench.latest("offered"), None, "a held slot is missing, not low");
        } else {
            assert!(health.is_ready());
            assert_eq!(bench.latest("offered"), Some(600.0), "the silent pod counts as the others");
            assert_eq!(bench.intake.counts().estimated, 1);
            assert_eq!(bench.intake.pod("collector-2").unwrap().state, PodState::Missing("ConnectionRefused"));
        }
    }
}

#[test]
fn the_busiest_pod_counts_with_its_last_value_while_it_is_silent() {
    let options = IntakeOptions { max_missing_share: 0.9, ..IntakeOptions::default() };
    let mut bench = Bench::new(Profile::otel_collector(&OtelOptions::default(), &[]).unwrap(), options);
    let (idle, busy) = (|n: u64| body(n * 10, 0, 0, 0), |n: u64| body(n * 1_000, 0, 0, 0));
    for n in 0..2 {
        bench.tick(&[("a", Body(&idle(n))), ("b", Body(&busy(n)))]);
    }
    assert_eq!(bench.latest("offered"), Some(1_010.0));
    assert!((bench.latest("skew").unwrap() - 1_000.0 / 505.0).abs() < 1e-5);
    for n in 2..7 {
        bench.tick(&[("a", Body(&idle(n))), ("b", Silent)]);
        assert_eq!(bench.latest("offered"), Some(1_010.0), "second {n}");
    }
    bench.tick(&[("a", Body(&idle(7))), ("b", Silent)]);
    assert_eq!(bench.latest("offered"), Some(20.0), "after the staleness of 5 s its last value is of no use");
}

#[test]
fn a_new_pod_is_not_missing_within_its_grace_and_is_afterwards() {
    let mut bench = Bench::otel();
    let old = |n: u64| body(n * 100, 0, n * 100, 0);
    bench.tick(&[("old", Body(&old(1)))]);
    for n in 2..12 {
        let now = bench.now();
        assert!(bench.tick_as(&[("old", Body(&old(n)))], 1, now).is_ready());
    }
    let ready_since = UnixMs(bench.now().0);
    for n in 12..21 {
        let health = bench.tick_as(&[("new", Silent), ("old", Body(&old(n)))], 1, ready_since);
        assert!(health.is_ready(), "{health:?}");
    }
    assert_eq!(bench.intake.pod("new").unwrap().state, PodState::Starting);
    let health = bench.tick_as(&[("new", Silent), ("old", Body(&old(21)))], 1, ready_since);
    assert_eq!(reason(&health), "MetricsPartial", "10 s after it became ready");
}

#[test]
fn a_pod_that_joins_does_not_make_demand_dip() {
    let mut bench = Bench::otel();
    let text = |uptime: f64, n: u64| format!("otelcol_process_uptime {uptime}\notelcol_receiver_accepted_log_records {n}\n");
    bench.tick(&[("a", Body(&text(100.0, 0)))]);
    bench.tick(&[("a", Body(&text(101.0, 1_000)))]);
    bench.tick(&[("a", Body(&text(102.0, 1_500))), ("b", Body(&text(4.0, 2_000)))]);
    assert_eq!(bench.latest("offered"), Some(1_000.0), "500 of the one, 2,000 in 4 s of the other");
    bench.tick(&[("a", Body(&text(103.0, 2_000))), ("b", Body(&text(5.0, 2_500)))]);
    assert_eq!(bench.latest("offered"), Some(1_000.0));
}

#[test]
fn a_pod_that_goes_does_not_make_demand_dip_and_is_counted_once_when_its_load_moves() {
    let mut bench = Bench::otel();
    let text = |n: u64| body(n, 0, n, 0);
    for n in 0..3 {
        bench.tick(&[("a", Body(&text(n * 400))), ("b", Body(&text(n * 600)))]);
    }
    assert_eq!(bench.latest("offered"), Some(1_000.0));
    bench.tick(&[("b", Body(&text(1_800)))]);
    assert_eq!(bench.latest("offered"), Some(1_000.0), "its clients have not found b yet");
    assert_eq!(bench.latest("accepted"), Some(600.0), "what is processed is what is seen to be");
    assert!(bench.intake.pod("a").is_none() && bench.intake.pods().count() == 1);
    bench.tick(&[("b", Body(&text(2_800)))]);
    assert_eq!(bench.latest("offered"), Some(1_000.0), "they have");
    bench.tick(&[("b", Body(&text(4_200)))]);
    assert_eq!(bench.latest("offered"), Some(1_400.0), "and more came");
    for n in 6..12 {
        bench.tick(&[("b", Body(&text(n * 700)))]);
    }
    bench.tick(&[("b", Body(&text(11 * 700 + 100)))]);
    assert_eq!(bench.latest("offered"), Some(500.0), "at most what it carried is kept");
    bench.tick(&[("b", Body(&text(11 * 700 + 200)))]);
    assert_eq!(bench.latest("offered"), Some(100.0), "10 s after its last answer it is no part of the sum");
    let health = bench.tick(&[]);
    assert_eq!((reason(&health), sentence(health)), ("MetricsMissing", "no pod is ready".to_owned()));
}

#[test]
fn a_pod_that_comes_back_within_its_grace_goes_on_where_it_was() {
    let mut bench = Bench::otel();
    let text = |n: u64| body(n, 0, n, 0);
    for n in 0..3 {
        bench.tick(&[("a", Body(&text(n * 400))), ("b", Body(&text(n * 600)))]);
    }
    bench.tick(&[("b", Body(&text(1_800)))]);
    let now = bench.now();
    let health = bench.tick_as(&[("a", Body(&text(300))), ("b", Body(&text(2_400)))], 2, now);
    assert!(health.is_ready(), "{health:?}");
    assert_eq!(bench.latest("offered"), Some(300.0 / 2.0 + 2_400.0), "another incarnation: both count from zero, a over two seconds");
}

#[test]
fn values_that_are_all_nan_are_invalid() {
    let mut bench = Bench::otel();
    let nan = "otelcol_process_memory_rss NaN\notelcol_receiver_accepted_log_records NaN\notelcol_receiver_refused_log_records +Inf\n";
    bench.tick(&[("p", Body(nan))]);
    let health = bench.tick(&[("p", Body(nan))]);
    assert_eq!(reason(&health), "MetricsInvalid");
    assert_eq!(bench.intake.counts().invalid, 3);
    assert!(bench.intake.window().series.iter().all(|series| series.values.iter().all(|value| value.is_nan())));
}

#[test]
fn a_body_without_any_wanted_metric_is_missing() {
    let mut bench = Bench::otel();
    bench.tick(&[("p", Body("go_goroutines 8\n"))]);
    let health = bench.tick(&[("p", Body("go_goroutines 8\n"))]);
    assert_eq!(reason(&health), "MetricsMissing");
    assert!(sentence(health).contains("NoWantedMetric (p): the answer holds none of the wanted metrics"));
}

#[test]
fn a_pod_whose_clock_is_an_hour_off_or_goes_back_is_stale_and_one_without_timestamps_never_is() {
    let stamped = |bench: &Bench, n: u64, off: i64| format!("otelcol_receiver_accepted_log_records {n} {}\n", bench.now().0 + 1_000 + off);
    let mut bench = Bench::otel();
    for n in 0..3 {
        let text = stamped(&bench, n * 10, -3_600_000);
        assert_ne!(reason(&bench.tick(&[("p", Body(&text))])), "Ready");
    }
    assert_eq!(reason(bench.intake.health()), "MetricsStale");
    assert_eq!(bench.intake.counts().stale, 1);

    let mut bench = Bench::otel();
    for n in 0..2 {
        let text = stamped(&bench, n * 10, 0);
        bench.tick(&[("p", Body(&text))]);
    }
    assert!(bench.intake.health().is_ready());
    let text = stamped(&bench, 20, -2_000);
    assert_eq!(reason(&bench.tick(&[("p", Body(&text))])), "MetricsStale", "backwards");
    let text = stamped(&bench, 30, -1_000);
    assert!(bench.tick(&[("p", Body(&text))]).is_ready(), "a small, steady offset is no reason to hold");
    assert_eq!(bench.latest("accepted"), Some(10.0), "20 in 2 s of the operator's time");
}

#[test]
fn a_pending_pod_keeps_its_last_values_until_they_are_stale() {
    let mut bench = Bench::otel();
    bench.tick(&[("p", Body(&body(0, 0, 0, 0)))]);
    bench.tick(&[("p", Body(&body(100, 0, 0, 0)))]);
    for _ in 0..5 {
        assert!(bench.tick(&[("p", Pending)]).is_ready());
        assert_eq!(bench.latest("offered"), Some(100.0));
    }
    let health = bench.tick(&[("p", Pending)]);
    assert_eq!(reason(&health), "MetricsStale");
}

#[test]
fn no_ready_pod_is_missing_and_never_zero() {
    let mut bench = Bench::otel();
    let health = bench.tick(&[]);
    assert_eq!((reason(&health), sentence(health.clone()).as_str()), ("MetricsMissing", "no pod is ready"));
    assert_eq!(bench.latest("offered"), None);
}

#[test]
fn a_series_that_comes_twice_in_one_body_is_counted_once() {
    let mut bench = Bench::otel();
    bench.tick(&[("p", Body("otelcol_receiver_accepted_log_records 100\notelcol_receiver_accepted_log_records 100\n"))]);
    bench.tick(&[("p", Body("otelcol_receiver_accepted_log_records 150\notelcol_receiver_accepted_log_records 150\n"))]);
    assert_eq!(bench.latest("accepted"), Some(50.0));
    assert_eq!(bench.intake.counts().duplicates, 1);
}

#[test]
fn records_that_wait_are_told_from_flow_since_the_queue_was_empty() {
    let mut bench = Bench::otel();
    bench.tick(&[("p", Body(&body(0, 0, 0, 0)))]);
    bench.tick(&[("p", Body(&body(1_000, 0, 400, 6)))]);
    assert_eq!((bench.latest("backlog"), bench.latest("queue")), (Some(600.0), Some(6.0)));
}

/// Bodies of a real collector 0.149, at its defaults and at level detailed with all suffixes: three requests of three records wait.
#[rstest]
#[case::defaults(include_str!("data/otelcol-0.149-normal.txt"), "5.092249924")]
#[case::detailed_with_suffixes(include_str!("data/otelcol-0.149-detailed-suffixes.txt"), "otelcol_process_uptime")]
fn a_real_collectors_body_is_understood_with_and_without_suffixes(#[case] text: &str, #[case] mark: &str) {
    assert!(text.contains(mark));
    let options = OtelOptions { info_labels: vec!["weir.table.hash".into()], ..OtelOptions::default() };
    let mut bench = Bench::new(Profile::otel_collector(&options, &[]).unwrap(), IntakeOptions::default());
    bench.tick(&[("p", Body(text))]);
    let pod = bench.intake.pod("p").unwrap();
    assert_eq!((pod.queue, pod.queue_capacity, pod.accepted_total), (3.0, 50.0, 9.0));
    assert!(pod.memory > 1e7 && pod.sent_total == 0.0);
    assert_eq!(pod.info, [Some("abc123".into())]);
    // the exporter tells its requests' sizes at level detailed only
    assert_eq!(pod.backlog.is_nan(), mark == "5.092249924", "{}", pod.backlog);
    if !pod.backlog.is_nan() {
        assert_eq!(pod.backlog, 9.0);
    }
    let later = text.replace(" 9\n", " 99\n");
    assert!(bench.tick(&[("p", Body(&later))]).is_ready());
    assert_eq!(bench.latest("offered"), Some(90.0));
    assert!(bench.latest("cpu").is_some());
}

#[test]
fn failed_is_what_was_given_up_and_what_found_the_queue_full() {
    let mut bench = Bench::otel();
    let text = |n: u64| {
        format!(
            "otelcol_process_uptime 9e9\notelcol_exporter_send_failed_log_records_total{{exporter=\"a\",error_type=\"Unavailable\"}} {n}\notelcol_exporter_enqueue_failed_log_records_total{{exporter=\"a\"}} {}\n",
            n * 2
        )
    };
    bench.tick(&[("p", Body(&text(0)))]);
    bench.tick(&[("p", Body(&text(10)))]);
    assert_eq!(bench.latest("failed"), Some(30.0));
}

#[test]
fn labels_of_target_info_are_kept_per_pod_in_either_spelling() {
    let options = OtelOptions { info_labels: vec!["weir.table.hash".into(), "absent".into()], ..OtelOptions::default() };
    for info in [r#"target_info{weir_table_hash="abc"} 1"#, r#"target_info{"weir.table.hash"="abc"} 1"#] {
        let mut bench = Bench::new(Profile::otel_collector(&options, &[]).unwrap(), IntakeOptions::default());
        bench.tick(&[("p", Body(&format!("otelcol_process_uptime 1\n{info}\n")))]);
        assert_eq!(bench.intake.pod("p").unwrap().info, [Some("abc".into()), None]);
    }
}

fn user(name: &str, metric: &str, labels: &[(&str, &str)], kind: Kind, aggregate: Aggregate) -> SeriesSpec {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    SeriesSpec { name: name.into(), unit: "1".into(), source: Source::Scrape { metric: metric.into(), labels, kind, aggregate } }
}

#[test]
fn a_users_series_select_by_labels_and_aggregate_over_children_and_pods() {
    let specs = [
        user("sum", "depth", &[("topic", "logs")], Kind::Gauge, Aggregate::Sum),
        user("max", "depth", &[], Kind::Gauge, Aggregate::Max),
        user("mean", "depth", &[], Kind::Gauge, Aggregate::Mean),
        user("rate", "lines", &[], Kind::Counter, Aggregate::Sum),
        user("none", "depth", &[("topic", "")], Kind::Gauge, Aggregate::Sum),
    ];
    let mut bench = Bench::new(Profile::custom(&specs).unwrap(), IntakeOptions::default());
    let text = |n: u64| format!("depth{{topic=\"logs\"}} 10\ndepth{{topic=\"other\"}} 1000000000001\nlines_total {n}\n");
    let other = "depth{topic=\"logs\"} 4\n";
    bench.tick(&[("a", Body(&text(0))), ("b", Body(other))]);
    bench.tick(&[("a", Body(&text(30))), ("b", Body(other))]);
    assert_eq!(bench.latest("sum"), Some(14.0));
    assert_eq!(bench.latest("max"), Some(1_000_000_000_001.0), "all digits of a user's series are kept");
    assert_eq!(bench.latest("mean"), Some(1_000_000_000_015.0 / 3.0));
    assert_eq!(bench.latest("rate"), Some(30.0), "with `_total` or without, and a pod that has none is no gap");
    assert_eq!(bench.intake.missing_series().collect::<Vec<_>>(), ["none"]);
    assert!(bench.intake.health_for(["sum", "max"]).is_ready());
    assert_eq!(sentence(bench.intake.health_for(["none"])), "the policy requires the series `none`, and no pod exposes it");
}

#[rstest]
#[case::no_number("t NaN\nmemory 1\n", "NotANumber", "MetricsInvalid")]
#[case::not_told_any_more("memory 1\n", "NotTold", "MetricsMissing")]
fn a_series_that_one_pod_of_five_lacks_is_held_and_one_of_six_is_estimated_never_left_out(
    #[case] bad: &str,
    #[case] word: &str,
    #[case] reason_of_all: &str,
    #[values(Aggregate::Sum, Aggregate::Max)] aggregate: Aggregate,
) {
    let names = ["a", "b", "c", "d", "e", "f"];
    let series = [user("load", "t", &[], Kind::Counter, aggregate), user("memory", "memory", &[], Kind::Gauge, Aggregate::Sum)];
    for count in [5_usize, 6] {
        let mut bench = Bench::new(Profile::custom(&series).unwrap(), IntakeOptions::default());
        let mut told = 0;
        let mut tick = |bench: &mut Bench, lacking: usize| {
            told += 1;
            // the pod that will be silent is the busiest
            let bodies: Vec<String> = (0..count).map(|pod| format!("t {}\nmemory 1\n", told * if pod == 0 { 300 } else { 100 })).collect();
            let answers: Vec<_> = bodies.iter().enumerate().map(|(pod, body)| (names[pod], Body(if pod < lacking { bad } else { body.as_str() }))).collect();
            bench.tick(&answers)
        };
        for _ in 0..3 {
            tick(&mut bench, 0);
        }
        let whole = bench.latest("load").unwrap();
        let health = tick(&mut bench, 1);
        if count == 5 {
            assert_eq!(reason(&health), "MetricsPartial");
            let sentence = sentence(health);
            assert!(sentence.starts_with("1 of 5 ready pods gave no usable value of the series `load`") && sentence.contains(word), "{sentence}");
            assert!(bench.intake.window().get("load").unwrap().values.last().unwrap().is_nan());
        } else {
            assert!(health.is_ready());
            assert_eq!(bench.latest("load"), Some(whole));
        }
        assert_eq!(reason(&tick(&mut bench, count)), reason_of_all);
        tick(&mut bench, 0);
        assert!(tick(&mut bench, 0).is_ready());
    }
}

#[test]
fn a_pod_that_was_read_once_counts_with_the_mean_of_a_users_counter_and_with_its_own_gauge() {
    let series = [user("load", "t", &[], Kind::Counter, Aggregate::Sum), user("memory", "memory", &[], Kind::Gauge, Aggregate::Sum)];
    let mut bench = Bench::new(Profile::custom(&series).unwrap(), IntakeOptions::default());
    for second in 1..4 {
        let body = format!("t {}\nmemory 1\n", second * 60);
        let mut pods = vec![("a", Body(&body)), ("b", Body(&body)), ("c", Body("memory 1\n"))];
        if second == 3 {
            pods.extend([("d", Body("t 60\nmemory 5\n")), ("e", Body("t 0\nmemory 1\n"))]);
        }
        bench.tick(&pods);
    }
    assert_eq!(bench.latest("load"), Some(180.0), "d has counted and takes part, e has not");
    assert_eq!(bench.latest("memory"), Some(9.0));
}

#[test]
fn a_series_that_a_pod_never_had_is_none_of_its_business() {
    let series = [user("load", "t", &[], Kind::Counter, Aggregate::Sum), user("memory", "memory", &[], Kind::Gauge, Aggregate::Sum)];
    let mut bench = Bench::new(Profile::custom(&series).unwrap(), IntakeOptions::default());
    for second in 1..4 {
        let body = format!("t {}\nmemory 1\n", second * 100);
        let health = bench.tick(&[("a", Body(&body)), ("b", Body("memory 1\n"))]);
        assert!(second < 2 || health.is_ready(), "{health:?}");
    }
    assert_eq!(bench.latest("load"), Some(100.0));
}

#[test]
fn a_query_counts_until_it_is_stale_and_an_empty_one_is_missing_at_once() {
    let spec = SeriesSpec { name: "lag".into(), unit: "1".into(), source: Source::PromQl { query: "sum(lag)".into() } };
    let profile = Arc::new(Profile::custom(&[spec]).unwrap());
    assert_eq!(profile.queries().collect::<Vec<_>>(), [(0, "sum(lag)")]);
    let mut intake = Intake::new(profile, IntakeOptions::default()).unwrap();
    let error = PromError::Timeout(900);
    let mut tick = |second: i64, outcome: Result<Option<f64>, &PromError>| {
        let queries = [QueryReport { column: 0, outcome }];
        let mono = Mono(u64::try_from(second).unwrap() * 1_000_000);
        let health = intake.observe(&Observation { now: UnixMs(START + second * 1_000), mono, pods: &[], queries: &queries }).clone();
        (reason(&health), intake.window().latest("lag"))
    };
    assert_eq!(tick(1, Ok(Some(42.0))), ("Ready", Some(42.0)));
    assert_eq!(tick(6, Err(&error)), ("Ready", Some(42.0)));
    assert_eq!(tick(7, Err(&error)), ("MetricsUnreachable", None));
    assert_eq!(tick(8, Ok(Some(1.0))), ("Ready", Some(1.0)));
    assert_eq!(tick(9, Ok(None)), ("MetricsMissing", None));
    assert_eq!(tick(10, Ok(Some(f64::NAN))), ("MetricsInvalid", None));
}

#[test]
fn specs_that_make_no_sense_are_refused() {
    let twice = [user("x", "a", &[], Kind::Gauge, Aggregate::Sum), user("x", "b", &[], Kind::Gauge, Aggregate::Sum)];
    assert_eq!(Profile::custom(&twice).unwrap_err(), ProfileError::Duplicate("x".into()));
    let taken = [user("offered", "a", &[], Kind::Gauge, Aggregate::Sum)];
    assert!(Profile::otel_collector(&OtelOptions::default(), &taken).is_err());
    assert_eq!(Profile::custom(&[user("x", "", &[], Kind::Gauge, Aggregate::Sum)]).unwrap_err(), ProfileError::Empty("x".into()));
    let profile = Arc::new(Profile::custom(&[]).unwrap());
    for options in [
        IntakeOptions { interval_ms: 10, ..IntakeOptions::default() },
        IntakeOptions { window_ms: 500, ..IntakeOptions::default() },
        IntakeOptions { max_missing_share: f64::NAN, ..IntakeOptions::default() },
    ] {
        assert!(Intake::new(profile.clone(), options).is_err());
    }
}
