//! One sample line after its name: labels, value, timestamp, exemplar. Pure; called by [`super::Parser`].

use super::{Format, number};
use memchr::memchr2;
use std::ops::Range;

/// Labels of one line, unescaped, in two buffers that are reused.
#[derive(Debug, Default)]
pub(super) struct Labels {
    text: String,
    spans: Vec<(Range<usize>, Range<usize>)>,
    name: Range<usize>,
}

impl Labels {
    fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
        self.name = 0..0;
    }

    fn get(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans.iter().map(|(name, value)| (self.get(name), self.get(value)))
    }

    /// The metric's name when it was written between the braces.
    pub(super) fn quoted_name(&self) -> &str {
        self.get(&self.name)
    }
}

#[derive(Debug)]
pub(super) enum Fault {
    Malformed(&'static str),
    TooManyLabels,
}

/// What follows the labels.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
}

/// Reads `rest`, the line after the metric's name. With `name_inside` the name is a quoted string
/// between the braces (`{"a.b", x="y"} 1`), the form of Prometheus 3 for names beyond `[a-zA-Z0-9_:]`.
pub(super) fn read(rest: &[u8], name_inside: bool, format: Format, most: usize, labels: &mut Labels) -> Result<Tail, Fault> {
    labels.clear();
    let mut rest = rest.trim_ascii_start();
    if let Some(inside) = rest.strip_prefix(b"{") {
        rest = read_labels(inside, name_inside, most, labels)?;
    }
    if name_inside && labels.name.is_empty() {
        return Err(Fault::Malformed("it has no name"));
    }
    let (text, after) = token(rest);
    let value = number::value(text).ok_or(Fault::Malformed("its value is no number"))?;
    let (text, after) = token(after);
    let (timestamp_ms, after) = match text.first() {
        None => (None, after),
        Some(b'#') if format == Format::OpenMetrics => return exemplar(text, after).map(|()| Tail { value, timestamp_ms: None }),
        Some(_) => {
            let read = match format {
                Format::Text => number::millis(text),
                Format::OpenMetrics => number::seconds(text),
            };
            (Some(read.ok_or(Fault::Malformed("its timestamp is no number"))?), after)
        }
    };
    let (text, after) = token(after);
    match text.first() {
        None => Ok(Tail { value, timestamp_ms }),
        Some(b'#') if format == Format::OpenMetrics => exemplar(text, after).map(|()| Tail { value, timestamp_ms }),
        Some(_) => Err(Fault::Malformed("there is more after the value and the timestamp")),
    }
}

/// An exemplar is not needed; it only has to look like one.
fn exemplar(mark: &[u8], after: &[u8]) -> Result<(), Fault> {
    let after = after.trim_ascii();
    if mark == b"#" && after.starts_with(b"{") && after.last().is_some_and(|&byte| byte != b'}') {
        Ok(())
    } else {
        Err(Fault::Malformed("what follows `#` is no exemplar"))
    }
}

/// The bytes up to the next blank, and what follows it.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = memchr2(b' ', b'\t', text).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// Reads up to and with the closing brace, and returns what follows it.
fn read_labels<'a>(mut rest: &'a [u8], name_inside: bool, most: usize, labels: &mut Labels) -> Result<&'a [u8], Fault> {
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b"}") {
            return Ok(after);
        }
        let start = labels.text.len();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = unescape(quoted, &mut labels.text)?;
        } else {
            let length = rest.iter().take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'_').count();
            let (name, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            if name.first().is_none_or(u8::is_ascii_digit) {
                return Err(Fault::Malformed("a label has no valid name"));
            }
            labels.text.push_str(std::str::from_utf8(name).unwrap_or_default());
            rest = after;
        }
        let name = start..labels.text.len();
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b"=") {
            let Some(quoted) = after.trim_ascii_start().strip_prefix(b"\"") else {
                return Err(Fault::Malformed("a label's value is not quoted"));
            };
            let start = labels.text.len();
            rest = unescape(quoted, &mut labels.text)?;
            if labels.spans.len() >= most {
                return Err(Fault::TooManyLabels);
            }
            let new = labels.get(&name);
            if labels.iter().any(|(known, _)| known == new) {
                return Err(Fault::Malformed("a label comes twice"));
            }
            labels.spans.push((name, start..labels.text.len()));
        } else if name_inside && labels.name.is_empty() && labels.spans.is_empty() && !name.is_empty() {
            labels.name = name;
        } else {
            return Err(Fault::Malformed("a label has no value"));
        }
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            Some((b',', after)) => rest = after,
            Some((b'}', _)) => {}
            _ => return Err(Fault::Malformed("its labels do not end")),
        }
    }
}

/// Appends a quoted string (`rest` begins after its first quote) and returns what follows its last quote.
fn unescape<'a>(mut rest: &'a [u8], into: &mut String) -> Result<&'a [u8], Fault> {
    const OPEN: Fault = Fault::Malformed("a quoted text does not end");
    loop {
        let at = memchr2(b'"', b'\\', rest).ok_or(OPEN)?;
        let (plain, special) = rest.split_at_checked(at).ok_or(OPEN)?;
        into.push_str(std::str::from_utf8(plain).map_err(|_| Fault::Malformed("a quoted text is not UTF-8"))?);
        rest = match special {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'n', after @ ..] => {
                into.push('\n');
                after
            }
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                into.push(char::from(*escaped));
                after
            }
            // not an escape of the format: both characters stay
            [b'\\', after @ ..] => {
                into.push('\\');
                after
            }
            _ => return Err(OPEN),
        };
    }
}
