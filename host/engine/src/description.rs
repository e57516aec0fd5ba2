//! What a policy says about itself, checked. Touches nothing. Made at load from `describe`.

use crate::abi::{DescriptionOut, StateVersionsOut};
use crate::error::LoadError;
use crate::schema::ParamsSchema;
use serde_json::Value;
use weir_core::state::StateVersions;

/// Series that one policy may ask for.
const MAX_SERIES: usize = 64;

/// Older versions of state that one policy may read.
const MAX_READS: usize = 16;

/// Answer of `describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Short name of the rule.
    pub name: String,
    /// Version of the rule.
    pub version: String,
    /// What the rule does, for people.
    pub summary: String,
    /// JSON Schema of params; none when the policy takes none.
    pub params_schema: Option<Value>,
    /// The series that the policy reads.
    pub series: Vec<SeriesNeed>,
    /// Which state it writes and can read.
    pub state: StateVersions,
}

/// A series that a policy reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesNeed {
    /// Name, as in `spec.metrics.series[].name` or one that the engine gives.
    pub name: String,
    /// True: without this series the policy is not asked, and the replicas are held.
    pub required: bool,
}

impl Description {
    /// Checks lengths and names, and reads the schema.
    pub(crate) fn read(out: DescriptionOut) -> Result<(Self, ParamsSchema), LoadError> {
        word("name", &out.name, 63)?;
        word("version", &out.version, 63)?;
        text("summary", &out.summary, 1024)?;
        if out.series.len() > MAX_SERIES {
            return Err(invalid(format!("asks for {} series, at most {MAX_SERIES} are allowed", out.series.len())));
        }
        let mut series: Vec<SeriesNeed> = Vec::with_capacity(out.series.len());
        for need in out.series {
            word("series name", &need.name, 63)?;
            if series.iter().any(|known| known.name == need.name) {
                return Err(invalid(format!("names the series `{}` twice", need.name)));
            }
            series.push(SeriesNeed { name: need.name, required: need.required });
        }
        let state = state_versions(out.state)?;
        let schema = ParamsSchema::parse(&out.params_schema)?;
        let params_schema = schema.document().cloned();
        Ok((Self { name: out.name, version: out.version, summary: out.summary, params_schema, series, state }, schema))
    }
}

/// What is told of the state; nothing told is version 0, which reads what the same bytes wrote.
fn state_versions(out: Option<StateVersionsOut>) -> Result<StateVersions, LoadError> {
    let Some(StateVersionsOut { version, reads }) = out else { return Ok(StateVersions::default()) };
    if version == 0 {
        return Err(invalid("tells state version 0, which is what a policy without versions writes: begin with 1, or tell none".to_owned()));
    }
    if reads.len() > MAX_READS {
        return Err(invalid(format!("reads {} versions of state, at most {MAX_READS} are allowed", reads.len())));
    }
    if let Some(newer) = reads.iter().find(|read| **read > version) {
        return Err(invalid(format!("reads state version {newer}, which is newer than the {version} that it writes: raise its own")));
    }
    Ok(StateVersions::new(version, reads))
}

fn invalid(problem: String) -> LoadError {
    LoadError::InvalidDescription(problem)
}

/// One to `most` visible characters: these words become labels of metrics and columns of tables.
fn word(what: &str, word: &str, most: usize) -> Result<(), LoadError> {
    let shown = crate::call::shorten(word, 80);
    if word.is_empty() {
        Err(invalid(format!("the {what} is empty")))
    } else if word.chars().count() > most {
        Err(invalid(format!("the {what} `{shown}` has more than {most} characters")))
    } else if !word.chars().all(|c| c.is_ascii_graphic()) {
        Err(invalid(format!("the {what} `{}` has other characters than visible ASCII", shown.escape_debug())))
    } else {
        Ok(())
    }
}

fn text(what: &str, text: &str, most: usize) -> Result<(), LoadError> {
    let length = text.chars().count();
    if length <= most { Ok(()) } else { Err(invalid(format!("the {what} has {length} characters, at most {most} are allowed"))) }
}
