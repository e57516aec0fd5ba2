//! A folder with a policy in it. Touches the folder, to look. Used by `new`, `build`, `test` and
//! whatever takes a folder in place of a component.

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// A language that policies are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    /// Rust.
    Rust,
    /// JavaScript (an ES module).
    Js,
    /// Python 3.
    Python,
    /// C.
    C,
    /// Go.
    Go,
}

impl Lang {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Rust, Self::Js, Self::Python, Self::C, Self::Go];

    /// The file whose presence says that a project is in this language.
    pub(crate) const fn marker(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Js => "policy.js",
            Self::Python => "policy.py",
            Self::C => "policy.c",
            Self::Go => "go.mod",
        }
    }

    /// The file that holds the rule.
    pub(crate) const fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Go => "policy/policy.go",
            other => other.marker(),
        }
    }

    /// The word of `--lang`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Python => "python",
            Self::C => "c",
            Self::Go => "go",
        }
    }
}

/// A policy's project.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// Its folder, absolute.
    pub(crate) dir: PathBuf,
    /// Its language.
    pub(crate) lang: Lang,
    /// Its name: of the package in Rust, else of the folder.
    pub(crate) name: String,
}

impl Project {
    /// Looks at a folder.
    ///
    /// # Errors
    /// There is no policy in it; the message says what would make one.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("there is no folder {}", dir.display()))?;
        let lang = Lang::ALL.into_iter().find(|lang| dir.join(lang.marker()).is_file()).with_context(|| {
            let markers: Vec<&str> = Lang::ALL.map(Lang::marker).to_vec();
            format!("{} holds no policy (none of {}): make one with `weir policy new NAME --lang LANGUAGE`", dir.display(), markers.join(", "))
        })?;
        let name = match lang {
            Lang::Rust => crate_name(&dir)?,
            _ => dir.file_name().map(|name| name.to_string_lossy().into_owned()).context("the root folder is no project")?,
        };
        Ok(Self { dir, lang, name })
    }

    /// Where its component is, or will be.
    pub(crate) fn component(&self) -> PathBuf {
        self.dir.join("target/components").join(format!("{}.wasm", self.name))
    }

    /// Where its cases are.
    pub(crate) fn cases(&self) -> PathBuf {
        self.dir.join("cases.yaml")
    }

    /// The folder of what a build leaves behind.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join("target/build")
    }
}

/// The name in the section `[package]`.
fn crate_name(dir: &Path) -> anyhow::Result<String> {
    let file = dir.join("Cargo.toml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?;
    let section = text.lines().skip_while(|line| line.trim() != "[package]").skip(1).take_while(|line| !line.trim_start().starts_with('['));
    let value = section.filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "name").map(|(_, value)| value.trim());
    let name = value.and_then(|value| value.split('"').nth(1)).map(str::to_owned);
    name.with_context(|| format!("{} has no [package] with a name", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_its_language_and_name() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("calm");
        std::fs::create_dir(&here).unwrap();
        let error = Project::open(&here).unwrap_err().to_string();
        assert!(error.contains("weir policy new"), "{error}");
        std::fs::write(here.join("policy.c"), "").unwrap();
        let project = Project::open(&here).unwrap();
        assert_eq!((project.lang, project.name.as_str()), (Lang::C, "calm"));
        assert!(project.component().ends_with("calm/target/components/calm.wasm"));
        std::fs::write(here.join("Cargo.toml"), "[workspace]\n[lib]\nname = \"no\"\n[package]\nversion=\"1\"\nname = \"yes\" # here\n").unwrap();
        assert_eq!(Project::open(&here).unwrap().name, "yes");
    }
}
