//! Typed params and their JSON Schema, from one declaration. Touches nothing.
//!
//! [`params!`](crate::params) makes a struct whose fields each have a type, a default, a doc comment
//! and, if given, a range; the schema that the host checks manifests against is written from the
//! same lines, so the two can't differ. For shapes beyond a flat object, implement [`Params`] by
//! hand for any `Deserialize` type.

use crate::proposal::Refusal;
use serde::de::DeserializeOwned;

/// The params of a policy.
pub trait Params: DeserializeOwned + Default {
    /// JSON Schema (2020-12) of the params; empty when there are none.
    fn schema() -> String;

    /// The params in `json`, a whole object. Reads what `Deserialize` can read that needs no
    /// `deserialize_any` (so no `flatten`, no untagged enum); for those, parse with another library here.
    ///
    /// # Errors
    /// Refusal `InvalidParams`.
    fn parse(json: &str) -> Result<Self, Refusal> {
        let mut unescaped = vec![0; json.len()];
        match serde_json_core::from_str_escaped(json, &mut unescaped) {
            Ok((params, read)) if read == json.len() => Ok(params),
            _ => Err(Refusal::new("InvalidParams", "The params do not fit the types of the policy, though they fit its schema.")),
        }
    }
}

/// A policy without params.
impl Params for () {
    fn schema() -> String {
        String::new()
    }
}

/// The params in `json`; an empty text means all defaults.
///
/// # Errors
/// Refusal `InvalidParams`. The host checks params against the schema beforehand and says what is wrong
/// where, so this fires only where a schema allows more than the type.
pub fn parse<P: Params>(json: &str) -> Result<P, Refusal> {
    let json = json.trim();
    if json.is_empty() || json == "{}" {
        return Ok(P::default());
    }
    P::parse(json)
}

/// A type that a field of [`params!`](crate::params) can have.
pub trait Field {
    /// What the default is written as.
    type Literal;
    /// The type's name in JSON Schema.
    const JSON_TYPE: &'static str;
    /// The value of a literal.
    fn of(literal: Self::Literal) -> Self;
}

macro_rules! field {
    ($type:ty, $literal:ty, $json:literal) => {
        impl Field for $type {
            type Literal = $literal;
            const JSON_TYPE: &'static str = $json;
            fn of(literal: Self::Literal) -> Self {
                literal.into()
            }
        }
    };
}
field!(f64, f64, "number");
field!(u32, u32, "integer");
field!(u64, u64, "integer");
field!(bool, bool, "boolean");
field!(String, &'static str, "string");

/// A param that may be left out; its default is `None` and is not written.
impl<T: Field> Field for Option<T> {
    type Literal = T::Literal;
    const JSON_TYPE: &'static str = T::JSON_TYPE;
    fn of(literal: Self::Literal) -> Self {
        Some(T::of(literal))
    }
}

/// One field as the macro saw it.
#[doc(hidden)]
pub struct Declared {
    /// Name in Rust.
    pub name: &'static str,
    /// Type in JSON Schema.
    pub json_type: &'static str,
    /// Lines of the doc comment.
    pub doc: &'static [&'static str],
    /// The default as it stands in the source.
    pub default: Option<&'static str>,
    /// Smallest and largest value as they stand in the source.
    pub range: Option<(&'static str, &'static str)>,
}

/// The schema of a flat object with these fields, none of them required.
#[doc(hidden)]
#[must_use]
pub fn schema_of(doc: &[&str], fields: &[Declared]) -> String {
    let mut out = String::from(r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false"#);
    description(&mut out, doc);
    out.push_str(r#","properties":{"#);
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quoted(&mut out, &camel(field.name));
        out.push_str(r#":{"type":"#);
        quoted(&mut out, field.json_type);
        description(&mut out, field.doc);
        if let Some(default) = field.default {
            out.push_str(r#","default":"#);
            literal(&mut out, default);
        }
        if let Some((least, most)) = field.range {
            out.push_str(r#","minimum":"#);
            literal(&mut out, least);
            out.push_str(r#","maximum":"#);
            literal(&mut out, most);
        }
        out.push('}');
    }
    out.push_str("}}");
    out
}

fn description(out: &mut String, doc: &[&str]) {
    if doc.is_empty() {
        return;
    }
    let mut text = String::new();
    for line in doc {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(line.trim());
    }
    out.push_str(r#","description":"#);
    quoted(out, text.trim());
}

/// A Rust literal as JSON: without digit separators and, when it is no string, without blanks.
fn literal(out: &mut String, source: &str) {
    if source.starts_with('"') {
        out.push_str(source);
    } else {
        out.extend(source.chars().filter(|c| *c != '_' && *c != ' '));
    }
}

/// `evaluation_seconds` as `evaluationSeconds`, the way serde's `camelCase` does.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            out.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    out
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::params! {
        /// All kinds of "fields".
        struct Sample {
            /// A number
            /// over two lines.
            #[range(-1.0..=1_000.0)]
            some_number: f64 = 60.5,
            /// A count.
            #[range(1..=9)]
            count: u32 = 3,
            /// A name.
            name: String = "offered",
            /// A switch.
            on: bool = true,
            /// Left out by default.
            maybe: Option<f64>,
        }
    }

    #[test]
    fn the_schema_is_json_and_says_what_the_source_says() {
        let schema: serde_json::Value = serde_json::from_str(&Sample::schema()).unwrap();
        assert_eq!(schema["description"], "All kinds of \"fields\".");
        assert_eq!(schema["additionalProperties"], false);
        let number = &schema["properties"]["someNumber"];
        assert_eq!(
            number,
            &serde_json::json!({"type": "number", "description": "A number over two lines.", "default": 60.5, "minimum": -1.0, "maximum": 1000.0})
        );
        assert_eq!(schema["properties"]["name"]["default"], "offered");
        assert_eq!(schema["properties"]["count"]["maximum"], 9);
        assert!(schema["properties"]["maybe"].get("default").is_none());
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let sample: Sample = parse(r#"{"count": 7, "maybe": 2}"#).unwrap();
        assert_eq!((sample.count, sample.maybe, sample.some_number, sample.name.as_str(), sample.on), (7, Some(2.0), 60.5, "offered", true));
        assert_eq!(parse::<Sample>("").unwrap().count, 3);
    }

    #[test]
    fn a_misspelt_or_mistyped_param_is_refused() {
        for json in [r#"{"cuont": 7}"#, r#"{"count": "7"}"#, r#"{"count": 7.5}"#, r#"{"count": 7} x"#, r#"{"count": 7"#, "[]"] {
            assert_eq!(parse::<Sample>(json).unwrap_err().code, "InvalidParams", "{json}");
        }
    }

    #[test]
    fn text_and_numbers_are_read_in_every_spelling_of_json() {
        let json = r#" { "name" : "a\"\u00e9\n/\\", "someNumber": -1.5e2, "on": false, "maybe": null } "#;
        let sample: Sample = parse(json).unwrap();
        assert_eq!((sample.name.as_str(), sample.some_number, sample.on, sample.maybe), ("a\"é\n/\\", -150.0, false, None));
    }
}
