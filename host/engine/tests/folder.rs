//! A watched folder, with the exchanges of links that Kubernetes does on a mounted volume.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Guest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_engine::source::SourceError;
use weir_engine::source::folder::{FolderConfig, FolderEvent, FolderSource};

/// Long enough for any machine; a test that passes does not wait for it.
const DEADLINE: Duration = Duration::from_secs(60);

fn watch(root: &Path, path: &str) -> FolderSource {
    FolderSource::watch(FolderConfig { root: root.to_owned(), path: PathBuf::from(path), max_bytes: 1 << 20 }).unwrap()
}

/// Waits until the newest event is one that fits.
async fn until(source: &FolderSource, what: &str, fits: impl FnMut(&FolderEvent) -> bool) -> FolderEvent {
    let mut events = source.events();
    match tokio::time::timeout(DEADLINE, events.wait_for(fits)).await {
        Ok(event) => event.unwrap().clone(),
        Err(_) => panic!("waited in vain for {what}; the last was {:?}", source.events().borrow().clone()),
    }
}

async fn until_bytes(source: &FolderSource, wanted: &[u8]) {
    until(source, "bytes", |event| matches!(event, FolderEvent::Bytes { bytes, .. } if bytes == wanted)).await;
}

fn component(n: u32) -> bytes::Bytes {
    Guest { replicas: n, ..Guest::default() }.build()
}

/// Writes a volume as the kubelet does: a folder with a new name, and the link `..data` exchanged by a rename.
fn publish(volume: &Path, generation: u32, files: &[(&str, &[u8])]) {
    let folder = format!("..2026_01_01_{generation}");
    fs::create_dir_all(volume.join(&folder)).unwrap();
    for (name, bytes) in files {
        fs::write(volume.join(&folder).join(name), bytes).unwrap();
        if !volume.join(name).is_symlink() {
            symlink(format!("..data/{name}"), volume.join(name)).unwrap();
        }
    }
    symlink(&folder, volume.join("..data_tmp")).unwrap();
    let old = fs::read_link(volume.join("..data")).ok();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

#[tokio::test]
async fn every_exchange_of_the_data_link_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let volume = temp.path().join("team");
    publish(&volume, 0, &[("rule.wasm", &component(0))]);
    let source = watch(temp.path(), "team/rule.wasm");
    until_bytes(&source, &component(0)).await;
    for generation in 1..=5 {
        publish(&volume, generation, &[("rule.wasm", &component(generation))]);
        until_bytes(&source, &component(generation)).await;
    }
}

#[tokio::test]
async fn a_folder_may_be_named_in_place_of_the_file() {
    let temp = tempfile::tempdir().unwrap();
    let volume = temp.path().join("team");
    publish(&volume, 0, &[("rule.wasm", &component(0)), ("README", b"text")]);
    let source = watch(temp.path(), "team");
    until_bytes(&source, &component(0)).await;
    publish(&volume, 1, &[("rule.wasm", &component(1))]);
    until_bytes(&source, &component(1)).await;
    fs::write(volume.join("second.wasm"), component(2)).unwrap();
    until(&source, "two files", |event| matches!(event, FolderEvent::Failed(SourceError::NotOne { found: 2, .. }))).await;
}

#[tokio::test]
async fn the_same_bytes_again_are_no_new_event() {
    let temp = tempfile::tempdir().unwrap();
    let volume = temp.path().join("team");
    publish(&volume, 0, &[("rule.wasm", &component(0))]);
    let source = watch(temp.path(), "team/rule.wasm");
    until_bytes(&source, &component(0)).await;
    let mut events = source.events();
    events.mark_unchanged();
    publish(&volume, 1, &[("rule.wasm", &component(0))]);
    publish(&volume, 2, &[("rule.wasm", &component(2))]);
    events.changed().await.unwrap();
    assert!(matches!(&*events.borrow(), FolderEvent::Bytes { bytes, .. } if *bytes == component(2)));
}

#[tokio::test]
async fn a_file_that_is_written_piece_by_piece_is_reported_once_and_whole() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("rule.wasm");
    let whole = component(7);
    let source = watch(temp.path(), "rule.wasm");
    until(&source, "nothing", |event| matches!(event, FolderEvent::Failed(SourceError::Missing { .. }))).await;
    let mut events = source.events();
    events.mark_unchanged();
    let mut file = fs::File::create(&path).unwrap();
    for piece in whole.chunks(whole.len() / 7) {
        std::io::Write::write_all(&mut file, piece).unwrap();
        // Lets the watcher look at what is there so far.
        tokio::time::timeout(Duration::from_millis(60), std::future::pending::<()>()).await.unwrap_err();
    }
    events.changed().await.unwrap();
    assert!(matches!(&*events.borrow_and_update(), FolderEvent::Bytes { bytes, .. } if *bytes == whole));
}

#[tokio::test]
async fn what_is_broken_for_good_is_reported_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("rule.wasm"), b"<html>").unwrap();
    let source = watch(temp.path(), "rule.wasm");
    until_bytes(&source, b"<html>").await;
}

#[tokio::test]
async fn a_deleted_file_is_missing_and_may_come_back() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("team");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("rule.wasm"), component(1)).unwrap();
    let source = watch(temp.path(), "team/rule.wasm");
    for n in [1, 2, 3] {
        until_bytes(&source, &component(n)).await;
        // Once the file alone, then the folder with it.
        if n == 1 {
            fs::remove_file(folder.join("rule.wasm")).unwrap()
        } else {
            fs::remove_dir_all(&folder).unwrap()
        }
        let event = until(&source, "missing", |event| matches!(event, FolderEvent::Failed(_))).await;
        assert!(matches!(event, FolderEvent::Failed(SourceError::Missing { .. })), "{event:?}");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("rule.wasm"), component(n + 1)).unwrap();
    }
    until_bytes(&source, &component(4)).await;
}

#[tokio::test]
async fn what_lies_outside_the_root_is_refused_at_once_or_when_it_turns_up() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(temp.path().join("other.wasm"), component(1)).unwrap();
    for path in ["../other.wasm", "/etc/passwd"] {
        let config = FolderConfig { root: root.clone(), path: PathBuf::from(path), max_bytes: 1 << 20 };
        assert_eq!(FolderSource::watch(config).unwrap_err().reason(), "SourceRefused");
    }
    symlink(temp.path().join("other.wasm"), root.join("rule.wasm")).unwrap();
    let source = watch(&root, "rule.wasm");
    until(&source, "refused", |event| matches!(event, FolderEvent::Failed(SourceError::OutsideRoot { .. }))).await;
}

#[tokio::test]
async fn a_file_above_the_ceiling_is_refused_without_being_kept() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("rule.wasm"), vec![0; (1 << 20) + 1]).unwrap();
    let source = watch(temp.path(), "rule.wasm");
    until(&source, "too large", |event| matches!(event, FolderEvent::Failed(SourceError::TooLarge { .. }))).await;
}

#[tokio::test]
async fn dropping_the_source_ends_the_watch() {
    let temp = tempfile::tempdir().unwrap();
    let source = watch(temp.path(), "rule.wasm");
    let mut events = source.events();
    drop(source);
    while events.changed().await.is_ok() {}
}
