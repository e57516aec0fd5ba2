//! What a number is expected to be: `12`, `">= 4"`, `"4..6"`, `"> 3, < 9"`, and for replicas `up`, `down`
//! and `same`. Touches nothing. Used by [`super::expect`].

use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// How close two numbers are that count as equal: a sum in another order may differ in its last bits.
const CLOSE: f64 = 1e-9;

/// What is expected of a number: all of these.
#[derive(Clone, Debug)]
pub(crate) struct Property {
    text: String,
    tests: Vec<Test>,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Equal(f64),
    NotEqual(f64),
    Less(f64),
    AtMost(f64),
    More(f64),
    AtLeast(f64),
    Up,
    Down,
    Same,
}

impl Property {
    /// Whether `number` is as expected; `before` is what `up`, `down` and `same` compare with.
    pub(crate) fn holds(&self, number: f64, before: Option<f64>) -> bool {
        self.tests.iter().all(|test| match *test {
            Test::Equal(wanted) => close(number, wanted),
            Test::NotEqual(other) => !close(number, other),
            Test::Less(bound) => number < bound,
            Test::AtMost(bound) => number <= bound || close(number, bound),
            Test::More(bound) => number > bound,
            Test::AtLeast(bound) => number >= bound || close(number, bound),
            Test::Up => before.is_some_and(|before| number > before),
            Test::Down => before.is_some_and(|before| number < before),
            Test::Same => before.is_some_and(|before| close(number, before)),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let tests: Vec<Test> = text.split(',').map(|part| tests(part.trim())).collect::<Option<Vec<_>>>()?.concat();
        (!tests.is_empty()).then(|| Self { text: text.to_owned(), tests })
    }
}

fn close(one: f64, other: f64) -> bool {
    one == other || (one - other).abs() <= CLOSE * one.abs().max(other.abs())
}

fn tests(part: &str) -> Option<Vec<Test>> {
    match part {
        "up" => return Some(vec![Test::Up]),
        "down" => return Some(vec![Test::Down]),
        "same" => return Some(vec![Test::Same]),
        _ => {}
    }
    if let Some((from, to)) = part.split_once("..") {
        let to = to.strip_prefix('=').unwrap_or(to);
        return Some(vec![Test::AtLeast(number(from)?), Test::AtMost(number(to)?)]);
    }
    let of = |sign: &str, test: fn(f64) -> Test| part.strip_prefix(sign).and_then(number).map(test);
    // the longer sign first
    let found = of(">=", Test::AtLeast)
        .or_else(|| of("<=", Test::AtMost))
        .or_else(|| of("!=", Test::NotEqual))
        .or_else(|| of("==", Test::Equal))
        .or_else(|| of(">", Test::More))
        .or_else(|| of("<", Test::Less))
        .or_else(|| of("", Test::Equal))?;
    Some(vec![found])
}

fn number(text: &str) -> Option<f64> {
    text.trim().replace('_', "").parse().ok()
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Property;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a text such as \">= 4\", \"4..6\", \"> 3, != 5\", \"up\", \"down\", \"same\"")
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Property, E> {
                Ok(Property { text: number.to_string(), tests: vec![Test::Equal(number)] })
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Property, E> {
                self.visit_f64(number as f64)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Property, E> {
                self.visit_f64(number as f64)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Property, E> {
                Property::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_holds_for_what_it_says_and_for_nothing_else() {
        let cases: [(&str, &[f64], &[f64]); 9] = [
            ("12", &[12.0, 12.000_000_000_001], &[12.1, 11.0]),
            (">= 4", &[4.0, 5.0], &[3.9]),
            ("> 3, != 5", &[4.0, 6.0], &[3.0, 5.0]),
            ("4..6", &[4.0, 5.0, 6.0], &[3.9, 6.1]),
            ("< 1_000", &[999.0], &[1000.0, f64::NAN]),
            ("== -0.5", &[-0.5], &[0.5]),
            ("up", &[4.0], &[3.0, 2.0]),
            ("down", &[2.0], &[3.0, 4.0]),
            ("same", &[3.0], &[2.0, 4.0]),
        ];
        for (text, good, bad) in cases {
            let property = Property::parse(text).unwrap();
            assert!(good.iter().all(|number| property.holds(*number, Some(3.0))), "{text}");
            assert!(bad.iter().all(|number| !property.holds(*number, Some(3.0))), "{text}");
        }
    }

    #[test]
    fn what_is_no_property_is_refused_when_it_is_read() {
        for text in ["", "about 4", ">= ", "1..", "=> 3", "4,"] {
            assert!(Property::parse(text).is_none(), "{text}");
        }
        let error = serde_yaml_ng::from_str::<Property>("'about 4'").unwrap_err().to_string();
        assert!(error.contains(">= 4"), "{error}");
    }
}
