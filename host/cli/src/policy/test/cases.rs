//! A file of cases: inputs, and what is expected of the answers. Touches the file and those that it
//! names. Read by [`super`].

use super::expect::Expect;
use crate::policy::input::Input;
use anyhow::Context as _;
use serde::Deserialize;
use std::path::Path;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Limits of a call, as `spec.limits` of the WasmPolicy.
    pub(crate) limits: Option<weir_crds::wasm_policy::Limits>,
    /// Params of every case that has none of its own.
    #[serde(default)]
    pub(crate) params: serde_json::Value,
    /// What every input begins with.
    #[serde(default)]
    pub(crate) input: Input,
    /// The cases.
    pub(crate) cases: Vec<Case>,
}

/// One case: one decision, several that follow each other, or a walk along a recording.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// A sentence.
    pub(crate) name: String,
    /// Params of this case.
    pub(crate) params: Option<serde_json::Value>,
    /// The input of one decision, or what the steps begin with.
    #[serde(default)]
    pub(crate) input: Input,
    /// What is expected of the one decision; with `walk`, of each of them.
    pub(crate) expect: Option<Expect>,
    /// Decisions that follow each other: state is carried on.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// Asks at each moment of the window that `input` names, as the operator would have.
    pub(crate) walk: Option<Walk>,
}

/// One of several decisions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Seconds since the step before. One when it is left out.
    pub(crate) after: Option<f64>,
    /// What is other than in the step before.
    #[serde(default)]
    pub(crate) input: Input,
    /// What is expected.
    pub(crate) expect: Option<Expect>,
}

/// How to go along a recorded window.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Walk {
    /// Slots that each decision sees.
    #[serde(default = "slots")]
    pub(crate) window: usize,
    /// Slots from one decision to the next.
    #[serde(default = "one")]
    pub(crate) every: usize,
}

const fn slots() -> usize {
    60
}

const fn one() -> usize {
    1
}

impl File {
    /// Reads the file, and the recorded inputs that it names.
    ///
    /// # Errors
    /// A file can't be read or means nothing; a case that expects nothing.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let mut file: Self = serde_yaml_ng::from_str(&text).with_context(|| format!("{} is no file of cases", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let named = |name: &str| format!("{}: the case `{name}`", path.display());
        file.input = std::mem::take(&mut file.input).resolved(folder)?;
        for case in &mut file.cases {
            case.input = std::mem::take(&mut case.input).resolved(folder).with_context(|| named(&case.name))?;
            for step in &mut case.steps {
                step.input = std::mem::take(&mut step.input).resolved(folder).with_context(|| named(&case.name))?;
            }
            case.sound().with_context(|| named(&case.name))?;
        }
        anyhow::ensure!(!file.cases.is_empty(), "{} has no case", path.display());
        Ok(file)
    }
}

impl Case {
    /// A case that can't fail is a mistake.
    fn sound(&self) -> anyhow::Result<()> {
        if let Some(walk) = &self.walk {
            anyhow::ensure!(self.steps.is_empty(), "has `walk` and `steps`: it can be only one of them");
            anyhow::ensure!(walk.window > 0 && walk.every > 0, "walks by `window` and `every`: both are 1 or more");
        }
        if self.steps.is_empty() {
            anyhow::ensure!(self.expect.as_ref().is_some_and(Expect::says_something), "expects nothing: give it `expect:`");
        } else {
            anyhow::ensure!(self.expect.is_none(), "has `steps` and `expect`: put `expect` into the steps");
            anyhow::ensure!(
                self.steps.iter().any(|step| step.expect.as_ref().is_some_and(Expect::says_something)),
                "expects nothing: give one of its steps `expect:`"
            );
        }
        let of_walks = |expect: &Expect| expect.changes.is_some() || expect.highest.is_some() || expect.lowest.is_some();
        let stray = self.expect.iter().chain(self.steps.iter().filter_map(|step| step.expect.as_ref())).any(of_walks);
        anyhow::ensure!(self.walk.is_some() || !stray, "`changes`, `highest` and `lowest` are of a `walk`");
        Ok(())
    }
}
