//! `weir policy new`: a project that builds and has a test, made of files that are embedded in this
//! program, the Rust SDK included. Touches the new folder.

use super::project::Lang;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A world that policies are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum World {
    /// How many replicas?
    Scaling,
}

/// Options of `weir policy new`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the new project; its last part is the policy's name.
    name: PathBuf,
    /// What the policy decides.
    #[arg(long, default_value = "scaling")]
    world: World,
    /// Language of the policy.
    #[arg(long, default_value = "rust")]
    lang: Lang,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let World::Scaling = args.world;
    let name = args.name.file_name().and_then(|name| name.to_str()).context("the name of the policy is not text")?;
    anyhow::ensure!(
        fits(name),
        "`{name}` is no name for a policy: it has lower-case letters, digits and hyphens, begins with a letter, and has at most 63 of them"
    );
    anyhow::ensure!(!args.name.exists() || is_empty(&args.name), "there is something at {} already: choose another name, or remove it", args.name.display());
    write(&args.name, name, args.lang)?;
    let at = args.name.display();
    super::print(&format!(
        "{at} holds a scaling policy in {}: change {at}/{}, and {at}/cases.yaml with it\n  weir policy test {at}    builds it and runs its cases\n  weir policy build {at}   makes {at}/target/components/{name}.wasm\n",
        args.lang.word(),
        args.lang.source(),
    ));
    Ok(ExitCode::SUCCESS)
}

/// A name that is good in a manifest, as a package and as a file.
fn fits(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(good) && !name.ends_with('-') && name.len() <= 63
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Writes the whole project.
fn write(dir: &Path, name: &str, lang: Lang) -> anyhow::Result<()> {
    for (path, text) in files(lang).chain(support(lang)) {
        put(&dir.join(path), &filled(&text, name, lang))?;
    }
    Ok(())
}

/// Writes those files of the language's support (SDK, bindings, contract) that are missing.
///
/// # Errors
/// The folder can't be written to.
pub(crate) fn complete(dir: &Path, name: &str, lang: Lang) -> anyhow::Result<()> {
    // a Rust project may take the SDK from elsewhere, as the examples of Weir's repository do
    let manifest = || std::fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    if lang == Lang::Rust && !manifest().contains("path = \"weir-policy\"") {
        return Ok(());
    }
    for (path, text) in support(lang) {
        let path = dir.join(path);
        if !path.exists() {
            put(&path, &filled(&text, name, lang))?;
        }
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
}

/// Embedded files below `folder`, with paths relative to it.
fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(move |(path, text)| Some((path.strip_prefix(folder)?.strip_prefix('/')?, *text)))
}

/// What the author changes.
fn files(lang: Lang) -> impl Iterator<Item = (String, String)> {
    let own = format!("template/{}", lang.word());
    let own: Vec<_> =
        below("template/common").chain(FILES.iter().filter_map(move |(path, text)| Some((path.strip_prefix(&own)?.strip_prefix('/')?, *text)))).collect();
    // a dot in front would hide the file from whoever looks at the templates
    own.into_iter().map(|(path, text)| (if path == "gitignore" { ".gitignore".to_owned() } else { path.to_owned() }, text.to_owned()))
}

/// What the author leaves alone.
fn support(lang: Lang) -> impl Iterator<Item = (String, String)> {
    let own = format!("template/support/{}", lang.word());
    let mut all: Vec<(String, String)> =
        FILES.iter().filter_map(|(path, text)| Some((path.strip_prefix(&own)?.strip_prefix('/')?.to_owned(), (*text).to_owned()))).collect();
    if lang == Lang::Rust {
        // the SDK is no package of a registry: its sources live in the project
        all.extend(below("sdk/src").map(|(path, text)| (format!("weir-policy/src/{path}"), text.replace("path: \"../../wit\"", "path: \"wit\""))));
        all.extend(below("wit").map(|(path, text)| (format!("weir-policy/wit/{path}"), text.to_owned())));
    } else {
        all.extend(below("wit").map(|(path, text)| (format!("wit/{path}"), text.to_owned())));
    }
    all.into_iter()
}

fn filled(text: &str, name: &str, lang: Lang) -> String {
    let limits = match lang {
        Lang::Rust | Lang::C => "",
        Lang::Js => LIMITS_JS,
        Lang::Python => LIMITS_PYTHON,
        Lang::Go => LIMITS_GO,
    };
    text.replace("@NAME@", name).replace("@LANG@", lang.word()).replace("@SOURCE@", lang.source()).replace("@LIMITS@", limits)
}

/// Limits beyond the defaults that each language's runtime needs.
const LIMITS_JS: &str = "memory: 32Mi";
const LIMITS_PYTHON: &str = "memory: 64Mi";
const LIMITS_GO: &str = "memory: 32Mi";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_in_a_manifest_and_as_a_package() {
        assert!(fits("my-policy") && fits("a1"));
        for name in ["", "-a", "a-", "A", "a_b", "1a", "a.b", &"a".repeat(64)] {
            assert!(!fits(name), "{name}");
        }
    }

    #[test]
    fn every_language_has_its_files_and_nothing_is_left_to_fill_in() {
        for lang in Lang::ALL {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "calm", lang).unwrap();
            for file in [lang.marker(), lang.source(), "cases.yaml", ".gitignore", "README.md", "policy.yaml"] {
                let text = std::fs::read_to_string(dir.path().join(file)).unwrap_or_else(|_| panic!("{lang:?} has no {file}"));
                for placeholder in ["@NAME@", "@LANG@", "@SOURCE@", "@LIMITS@"] {
                    assert!(!text.contains(placeholder), "{lang:?}: {file} has {placeholder}");
                }
            }
        }
    }

    #[test]
    fn the_vendored_sdk_asks_for_what_the_sdk_asks_for() {
        let workspace = include_str!("../../../../policies/Cargo.toml");
        let (_, manifest) = support(Lang::Rust).find(|(path, _)| path == "weir-policy/Cargo.toml").unwrap();
        let asked: Vec<&str> = manifest.lines().filter(|line| line.contains("{ version = ")).collect();
        for line in &asked {
            assert!(workspace.lines().any(|known| known == *line), "policies/Cargo.toml has no line `{line}`");
        }
        let sdk = include_str!("../../../../policies/sdk/Cargo.toml");
        let (_, dependencies) = sdk.split_once("[dependencies]").unwrap();
        let (dependencies, _) = dependencies.split_once("[dev-dependencies]").unwrap();
        for line in dependencies.lines().filter(|line| line.ends_with(".workspace = true")) {
            let name = line.split('.').next().unwrap();
            assert!(asked.iter().any(|asked| asked.starts_with(&format!("{name} = "))), "the vendored SDK does not ask for `{name}`");
        }
        let (_, bindings) = support(Lang::Rust).find(|(path, _)| path == "weir-policy/src/bindings.rs").unwrap();
        assert!(bindings.contains("path: \"wit\""), "where the vendored SDK looks for the contract");
    }
}
