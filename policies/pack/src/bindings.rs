//! Bindings of other languages, generated from the contract. Touches the named folders.

use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;
use wit_bindgen_core::Files;
use wit_parser::{Resolve, SourceMap};

/// The world that policies are written for.
const WORLD: &str = "scaling-policy";

/// Writes the bindings of `lang` into `out`.
pub(crate) fn write(lang: &str, out: &Path, wit: &Path) -> Result<()> {
    for (name, text) in generate(lang, wit)? {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// Name and text of each file.
fn generate(lang: &str, wit: &Path) -> Result<Vec<(String, String)>> {
    let mut sources = SourceMap::new();
    for entry in std::fs::read_dir(wit).with_context(|| format!("can't read {}", wit.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            sources.push_str(&path.display().to_string(), std::fs::read_to_string(&path)?);
        }
    }
    let group = sources.parse().map_err(|(_, error)| anyhow!("{error:#?}"))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    let mut generator = match lang {
        "c" => wit_bindgen_c::Opts { no_object_file: true, ..Default::default() }.build(),
        "go" => wit_bindgen_go::Opts { quiet: true, ..Default::default() }.build(),
        other => bail!("there are bindings of c and go, not of {other}"),
    };
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files)?;
    // what the Go bindings stand on lies in the project, so that a build fetches nothing
    let own = |text: &[u8]| String::from_utf8_lossy(text).replace("go.bytecodealliance.org/pkg/wit/", "wit_component/wit/");
    // the project's own manifest, and files that let functions of WASI be declared without a body
    let kept = files.iter().filter(|(name, _)| *name != "go.mod" && !name.ends_with("empty.s"));
    Ok(kept.map(|(name, text)| (name.to_owned(), own(text))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_carry_the_bindings_of_the_contract() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (lang, folder) in [("c", "c/weir"), ("go", "go")] {
            for (name, text) in generate(lang, &here.join("../../wit")).unwrap() {
                let path = here.join("../template/support").join(folder).join(name);
                let known = std::fs::read_to_string(&path).unwrap_or_default();
                assert!(known == text, "{} is not of this contract: run `make generate`", path.display());
            }
        }
    }
}
