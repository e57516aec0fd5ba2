//! Reads the Prometheus text format (0.0.4 and 1.0.0) and OpenMetrics 1.0, chunk by chunk.
//!
//! Pure: touches nothing. Called by [`crate::reading::Readings`], which the scraper feeds with the
//! chunks of a body as they arrive. A body is never held as a whole: one unfinished line is, and
//! lines of families that nobody wants are skipped after a look at their name.
//!
//! Why no crate: `prometheus-parse` 0.2.5 splits labels at `,` and `}` inside quoted values, reads no
//! escapes, no OpenMetrics and no quoted names, skips what it cannot read (half a body looks
//! whole), and runs a regular expression and fills hash maps for each line;
//! `openmetrics-parser` 0.5.1 builds a tree of the whole body and is LGPL.
//! `examples/intake_bench.rs` compares speed and results with the former in one run.
//!
//! How strict: what Prometheus itself refuses is refused in wanted lines (hexadecimal floats and `_`
//! in numbers, duplicate label names, unknown text after a sample). Beyond that a body must end
//! with a line feed, because half a number is a number; and OpenMetrics must end with `# EOF`.
//! Tolerated: any run of blanks between tokens, empty lines, `\r\n` in the text format, families
//! that come twice, unknown escapes (kept as they are, as Prometheus does).

mod line;
mod number;

use memchr::memchr;

/// In which format a body is written; from its `Content-Type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format; timestamps are milliseconds.
    #[default]
    Text,
    /// OpenMetrics text; timestamps are seconds, `# EOF` is required.
    OpenMetrics,
}

/// Bounds on one body. What exceeds them is an error, never cut off silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole body after decompression.
    pub max_body: usize,
    /// Bytes of one line.
    pub max_line: usize,
    /// Wanted samples in one body.
    pub max_samples: usize,
    /// Labels of one wanted sample.
    pub max_labels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 8 << 20, max_line: 64 << 10, max_samples: 1_000, max_labels: 64 }
    }
}

/// Why a body is not an exposition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is larger than [`Limits::max_body`].
    #[error("the body is larger than the limit of {0} bytes")]
    BodyTooLarge(usize),
    /// A line is longer than [`Limits::max_line`].
    #[error("line {line} is longer than the limit of {limit} bytes")]
    LineTooLong {
        /// Number of the line, from 1.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// More wanted samples than [`Limits::max_samples`].
    #[error("more than {0} samples of the wanted metrics; select fewer by labels")]
    TooManySamples(usize),
    /// A wanted sample has more labels than [`Limits::max_labels`].
    #[error("line {line} has more than {limit} labels")]
    TooManyLabels {
        /// Number of the line, from 1.
        line: u64,
        /// The limit.
        limit: usize,
    },
    /// A line that is no exposition format.
    #[error("line {line} is no metric: {why}")]
    Malformed {
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The last line has no line feed: the body was cut.
    #[error("the body ends in the middle of line {0}")]
    Truncated(u64),
    /// An OpenMetrics body without its last line.
    #[error("the OpenMetrics body ends without `# EOF`: it was cut")]
    MissingEof,
}

/// One wanted sample. Borrowed from the parser's buffers, valid during the call of the sink.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Name of the metric, with suffixes such as `_total` as written.
    pub name: &'a str,
    /// May be NaN or infinite.
    pub value: f64,
    /// The exposer's own timestamp in Unix milliseconds, when it sends one.
    pub timestamp_ms: Option<i64>,
    labels: &'a line::Labels,
}

impl<'a> Sample<'a> {
    /// Names and values of the labels, unescaped, in the order of the line.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.labels.iter()
    }

    /// The value of one label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&'a str> {
        self.labels().find_map(|(n, value)| (n == name).then_some(value))
    }
}

/// A parser that is fed chunks of one body after another. Its buffers are kept between bodies.
#[derive(Debug, Default)]
pub struct Parser {
    format: Format,
    limits: Limits,
    /// The unfinished line at the end of the last chunk.
    carry: Vec<u8>,
    /// Name of the last line and whether it is wanted: families come in runs.
    last_name: Vec<u8>,
    last_wanted: Option<u32>,
    labels: line::Labels,
    bytes: usize,
    lines: u64,
    samples: usize,
    eof: bool,
}

impl Parser {
    /// A parser for one body; [`Self::start`] makes it ready for the next.
    #[must_use]
    pub fn new(format: Format, limits: Limits) -> Self {
        let mut parser = Self::default();
        parser.start(format, limits);
        parser
    }

    /// Forgets the last body and keeps the buffers.
    pub fn start(&mut self, format: Format, limits: Limits) {
        self.format = format;
        self.limits = limits;
        self.carry.clear();
        self.last_name.clear();
        self.last_wanted = None;
        (self.bytes, self.lines, self.samples, self.eof) = (0, 0, 0, false);
    }

    /// Reads the next chunk. `wanted` gives a number for the names that are wanted (asked once per
    /// run of lines with one name); `sink` gets that number and the sample.
    ///
    /// # Errors
    /// The first [`ParseError`]; the parser is then of no use until [`Self::start`].
    pub fn feed(&mut self, chunk: &[u8], wanted: &impl Fn(&str) -> Option<u32>, sink: &mut impl FnMut(u32, &Sample<'_>)) -> Result<(), ParseError> {
        self.bytes = self.bytes.saturating_add(chunk.len());
        if self.bytes > self.limits.max_body {
            return Err(ParseError::BodyTooLarge(self.limits.max_body));
        }
        let mut rest = chunk;
        while let Some((line, after)) = memchr(b'\n', rest).and_then(|at| Some((rest.get(..at)?, rest.get(at + 1..)?))) {
            rest = after;
            if self.carry.is_empty() {
                self.line(line, wanted, sink)?;
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.carry);
                self.line(&whole, wanted, sink)?;
                self.carry = whole;
                self.carry.clear();
            }
        }
        self.keep(rest)
    }

    /// Checks that the body was complete.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] or [`ParseError::MissingEof`].
    pub fn finish(&mut self) -> Result<(), ParseError> {
        if !self.carry.is_empty() {
            // OpenMetrics lets the last line feed be absent after EOF
            if self.format == Format::OpenMetrics && !self.eof && self.carry == b"# EOF" {
                return Ok(());
            }
            return Err(ParseError::Truncated(self.lines + 1));
        }
        if self.format == Format::OpenMetrics && !self.eof { Err(ParseError::MissingEof) } else { Ok(()) }
    }

    /// Bytes read since [`Self::start`].
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), ParseError> {
        if self.carry.len() + part.len() > self.limits.max_line {
            return Err(ParseError::LineTooLong { line: self.lines + 1, limit: self.limits.max_line });
        }
        self.carry.extend_from_slice(part);
        Ok(())
    }

    /// Reads one line without its line feed.
    fn line(&mut self, line: &[u8], wanted: &impl Fn(&str) -> Option<u32>, sink: &mut impl FnMut(u32, &Sample<'_>)) -> Result<(), ParseError> {
        self.lines += 1;
        let malformed = |why| ParseError::Malformed { line: self.lines, why };
        if line.len() > self.limits.max_line {
            return Err(ParseError::LineTooLong { line: self.lines, limit: self.limits.max_line });
        }
        let line = match (self.format, line) {
            (Format::Text, [head @ .., b'\r']) => head,
            _ => line,
        };
        if self.eof {
            return Err(malformed("there is more after `# EOF`"));
        }
        let line = line.trim_ascii_start();
        match line.first() {
            None => return Ok(()),
            Some(b'#') => {
                self.eof = self.format == Format::OpenMetrics && line == b"# EOF";
                return Ok(());
            }
            Some(b'{') => return self.sample(None, line, wanted, sink),
            Some(_) => {}
        }
        // the same name as on the line before: no look-up
        if let Some((name, rest)) = line.split_at_checked(self.last_name.len())
            && name == self.last_name
            && matches!(rest.first(), Some(b'{' | b' ' | b'\t'))
        {
            return if self.last_wanted.is_some() { self.sample(Some(name), rest, wanted, sink) } else { Ok(()) };
        }
        let length = line.iter().take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':').count();
        let (name, rest) = line.split_at_checked(length).unwrap_or((line, &[]));
        if name.first().is_none_or(u8::is_ascii_digit) || !matches!(rest.first(), Some(b'{' | b' ' | b'\t')) {
            return Err(malformed(if line.starts_with(b"<") { "it looks like a web page" } else { "it does not begin with the name of a metric" }));
        }
        self.last_name.clear();
        self.last_name.extend_from_slice(name);
        self.last_wanted = std::str::from_utf8(name).ok().and_then(wanted);
        if self.last_wanted.is_some() { self.sample(Some(name), rest, wanted, sink) } else { Ok(()) }
    }

    /// Reads labels, value and timestamp of a wanted sample, or of one whose name is among the labels.
    fn sample(
        &mut self,
        name: Option<&[u8]>,
        rest: &[u8],
        wanted: &impl Fn(&str) -> Option<u32>,
        sink: &mut impl FnMut(u32, &Sample<'_>),
    ) -> Result<(), ParseError> {
        let number = self.lines;
        let tail = line::read(rest, name.is_none(), self.format, self.limits.max_labels, &mut self.labels).map_err(|fault| match fault {
            line::Fault::Malformed(why) => ParseError::Malformed { line: number, why },
            line::Fault::TooManyLabels => ParseError::TooManyLabels { line: number, limit: self.limits.max_labels },
        })?;
        let (name, id) = match name {
            Some(name) => (std::str::from_utf8(name).unwrap_or_default(), self.last_wanted),
            None => (self.labels.quoted_name(), wanted(self.labels.quoted_name())),
        };
        let Some(id) = id else { return Ok(()) };
        self.samples += 1;
        if self.samples > self.limits.max_samples {
            return Err(ParseError::TooManySamples(self.limits.max_samples));
        }
        sink(id, &Sample { name, value: tail.value, timestamp_ms: tail.timestamp_ms, labels: &self.labels });
        Ok(())
    }
}
