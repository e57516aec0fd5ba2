//! Compiled code on disk: found at the next start, and never believed when anything about it is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Guest, candidate, input};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use weir_core::scaling::{Outcome, ScalingPolicy};
use weir_engine::{CacheConfig, CompiledFrom, Engine, EngineConfig};

struct Start {
    _temp: tempfile::TempDir,
    folder: PathBuf,
}

impl Start {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self { folder: temp.path().join("compiled"), _temp: temp }
    }

    /// A fresh engine, as after a restart of the operator: loads, decides, and says where the code came from.
    fn load(&self, config: EngineConfig) -> CompiledFrom {
        let cache = Some(CacheConfig { folder: self.folder.clone(), max_bytes: 16 << 20 });
        let engine = Engine::new(EngineConfig { concurrent_instances: 1, cache, ..config }).unwrap();
        let loading = engine.load_blocking(&candidate(&Guest::default().build()), &[]);
        assert!(matches!(loading.result.unwrap().decide(&input()).outcome, Outcome::Proposal(_)));
        loading.stages.compiled
    }

    fn file(&self) -> PathBuf {
        let mut files: Vec<_> = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.pop().unwrap()
    }
}

#[test]
fn a_restart_finds_the_code_and_the_folder_is_private() {
    let start = Start::new();
    assert_eq!(start.load(EngineConfig::default()), CompiledFrom::Compiler);
    assert_eq!(start.load(EngineConfig::default()), CompiledFrom::Disk);
    assert_eq!(fs::metadata(&start.folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(start.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_is_compiled_again_and_mended() {
    let start = Start::new();
    start.load(EngineConfig::default());
    let whole = fs::read(start.file()).unwrap();
    let damages: [(&str, Vec<u8>); 4] = [
        ("one bit in the code", {
            let mut bytes = whole.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            bytes
        }),
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("longer", [whole.as_slice(), &[0]].concat()),
    ];
    for (what, bytes) in damages {
        fs::write(start.file(), bytes).unwrap();
        assert_eq!(start.load(EngineConfig::default()), CompiledFrom::Compiler, "{what}");
        assert_eq!(start.load(EngineConfig::default()), CompiledFrom::Disk, "{what}");
    }
}

#[test]
fn a_link_in_place_of_the_file_is_not_followed() {
    let start = Start::new();
    start.load(EngineConfig::default());
    let (file, away) = (start.file(), start.folder.parent().unwrap().join("away"));
    fs::rename(&file, &away).unwrap();
    std::os::unix::fs::symlink(&away, &file).unwrap();
    assert_eq!(start.load(EngineConfig::default()), CompiledFrom::Compiler);
}

#[test]
fn a_folder_that_became_writable_for_others_is_used_no_more() {
    let start = Start::new();
    start.load(EngineConfig::default());
    fs::set_permissions(&start.folder, fs::Permissions::from_mode(0o770)).unwrap();
    let cache = Some(CacheConfig { folder: start.folder.clone(), max_bytes: 1 << 20 });
    let error = Engine::new(EngineConfig { concurrent_instances: 1, cache, ..EngineConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("0770"), "{error}");
}
