//! A run against collectors that refuse, lie, hang and hang up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
mod support;

use std::time::Duration;
use support::{Answer, Collector, config, run_until, wait};
use tonic::Code;
use tonic::transport::Server;
use weir_loadgen::{Sender, State};

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_once_at_a_collector_that_takes_all() {
    let collector = Collector::start(|_| Answer::Take).await;
    let report = run_until(config(&collector), |r| r.records.acked > 1_000).await;
    assert!(report.all_acked());
    assert_eq!(report.state, State::Finished);
    assert_eq!((report.batches.retries, report.batches.pending), (0, 0));
    assert_eq!(collector.duplicates(), 0);
    let kept = collector.kept.lock().unwrap().len() as u64;
    assert_eq!(kept, report.records.numbered);
    collector.assert_holds_all_acked(&report);
    let heaviest = report.streams.first().unwrap().numbered;
    assert!(heaviest > report.streams.last().unwrap().numbered);
    assert_eq!(report.connections_opened, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_batches_are_retried_until_they_are_acknowledged() {
    let collector = Collector::start(|n| match n % 3 {
        0 => Answer::Refuse(Code::Unavailable),
        1 => Answer::Refuse(Code::ResourceExhausted),
        _ => Answer::Take,
    })
    .await;
    let report = run_until(config(&collector), |r| r.records.acked > 500).await;
    assert!(report.all_acked());
    assert_eq!(report.batches.refused, report.batches.retries);
    assert!(report.failures["Unavailable"] > 0 && report.failures["ResourceExhausted"] > 0);
    assert_eq!(collector.duplicates(), 0);
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_success_is_no_acknowledgement_and_the_batch_is_sent_again() {
    let collector = Collector::start(|n| match n % 4 {
        0 => Answer::Partially,
        _ => Answer::Take,
    })
    .await;
    let report = run_until(config(&collector), |r| r.batches.partial > 3).await;
    assert!(report.all_acked());
    assert!(collector.duplicates() > 0);
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_whose_answer_was_lost_are_sent_again_over_a_new_connection() {
    let collector = Collector::start(|n| match n % 10 {
        7 => Answer::TakeAndCut,
        _ => Answer::Take,
    })
    .await;
    let report = run_until(config(&collector), |r| r.batches.lost > 5).await;
    assert!(report.all_acked());
    assert!(report.connections_opened > 4);
    assert!(collector.duplicates() > 0);
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_hangs_is_given_up_after_its_timeout_and_sent_again() {
    let collector = Collector::start(|n| match n {
        5 => Answer::TakeAndHang,
        _ => Answer::Take,
    })
    .await;
    let mut config = config(&collector);
    config.timeout = Duration::from_millis(300);
    let report = run_until(config, |r| r.failures.contains_key("lost:timeout")).await;
    assert!(report.all_acked());
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ages_out_are_opened_again_and_nothing_is_lost() {
    let server = Server::builder().max_connection_age(Duration::from_millis(40));
    let collector = Collector::start_with(server, |_| Answer::Take).await;
    let report = run_until(config(&collector), |r| r.connections_opened > 20).await;
    assert!(report.all_acked());
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_rejected_for_good_is_neither_retried_nor_expected() {
    let collector = Collector::start(|n| match n {
        3 => Answer::Refuse(Code::InvalidArgument),
        _ => Answer::Take,
    })
    .await;
    let report = run_until(config(&collector), |r| r.batches.acked > 20).await;
    assert_eq!((report.batches.rejected, report.batches.retries), (1, 0));
    assert_eq!(report.records.unacknowledged, 0);
    let rejected: u64 = report.streams.iter().map(|s| s.rejected.len()).sum();
    assert_eq!(rejected, report.records.rejected);
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saturated_target_does_not_slow_the_offer_until_the_backlog_is_full_and_then_load_is_shed() {
    let collector = Collector::start(|_| Answer::Refuse(Code::Unavailable)).await;
    let mut config = config(&collector);
    config.max_pending = 50;
    config.drain = Duration::from_millis(200);
    let report = run_until(config, |r| r.records.shed > 2_000).await;
    assert_eq!(report.batches.pending_peak, 50);
    assert_eq!(report.records.acked, 0);
    assert_eq!(report.records.offered, report.records.numbered + report.records.shed);
    assert_eq!(report.records.unacknowledged, report.records.numbered);
    assert!(!report.all_acked());
    // Sent and refused: in doubt. Never sent: not even that.
    let in_doubt: u64 = report.streams.iter().map(|s| s.in_doubt.len()).sum();
    assert!(in_doubt > 0 && in_doubt <= report.records.numbered);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_follows_what_it_is_set_to() {
    let collector = Collector::start(|_| Answer::Take).await;
    let mut config = config(&collector);
    config.profile = "0".parse().unwrap();
    let handle = Sender::start(config).unwrap();
    wait(&handle, |r| r.elapsed_seconds > 0.1).await;
    assert_eq!(handle.snapshot().records.offered, 0);
    handle.set_rate(5_000.0);
    wait(&handle, |r| r.records.acked > 1_000).await;
    assert!((handle.snapshot().target_records_per_second - 5_000.0).abs() < 1e-9);
    handle.set_rate(0.0);
    let report = handle.stop().await;
    assert!(report.all_acked());
    assert_eq!(handle.stop().await, report, "stopping twice changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_yet_gets_everything_once_it_is() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = reserved.local_addr().unwrap();
    drop(reserved);
    let collector = Collector::start(|_| Answer::Take).await;
    let mut config = config(&collector);
    // Connections alternate between a closed port and the collector.
    config.endpoints = vec![nobody.to_string().parse().unwrap(), collector.endpoint()];
    let report = run_until(config, |r| r.records.acked > 500 && r.batches.lost > 0).await;
    assert!(report.all_acked());
    collector.assert_holds_all_acked(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_a_duration_offers_what_its_profile_says_and_ends_by_itself() {
    let collector = Collector::start(|_| Answer::Take).await;
    let mut config = config(&collector);
    config.duration = Some(Duration::from_millis(500));
    config.profile = "ramp:from=0,to=4000,over=0.5".parse().unwrap();
    let handle = Sender::start(config).unwrap();
    let report = handle.finished().await;
    assert!(report.all_acked());
    // The integral of the ramp, less a fraction of a record a stream: the clock has no part in it.
    assert!((990..=1_000).contains(&report.records.offered), "{}", report.records.offered);
}
