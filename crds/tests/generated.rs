//! `crds/yaml` is what the types generate. `WEIR_UPDATE=1 cargo test -p weir-crds` writes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_yaml_files_are_those_that_the_types_generate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let generated = weir_crds::yaml_files().unwrap();
    if std::env::var_os("WEIR_UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &generated {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &generated {
        let written = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(written == *text, "crds/yaml/{name} is not what the types generate: run WEIR_UPDATE=1 cargo test -p weir-crds");
    }
    let there: BTreeSet<String> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let wanted: BTreeSet<String> = generated.into_iter().map(|(name, _)| name).collect();
    assert_eq!(there, wanted, "crds/yaml holds files that no kind generates");
}

#[test]
fn one_stream_holds_every_definition() {
    let stream = weir_crds::yaml().unwrap();
    assert_eq!(stream.matches("\nkind: CustomResourceDefinition\n").count(), weir_crds::crds().len());
}
